"""The Hugging Face hub, or any server that speaks its API (HF_ENDPOINT). Found by ``sources``.

Tried with huggingface_hub 2.4: its ``hf_hub_download`` gives every download a random temporary name and drops
it on failure, so nothing resumes after a kill. Its own ``http_get`` does resume, and is what
``hf_hub_download`` calls too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from slipway_runtime.allowed_hosts import guard
from slipway_runtime.errors import (
    DataError,
    DeniedError,
    NotFoundError,
    RequestError,
    StageError,
    ToolError,
    TransientError,
)
from slipway_runtime.job import Job
from slipway_runtime.log import LOGGER, plain
from slipway_runtime.progress import format_bytes
from slipway_runtime.sources import Listing, RemoteFile
from slipway_runtime.web import (
    FORBIDDEN,
    NOT_FOUND,
    REQUEST_SECONDS,
    UNAUTHORIZED,
    begins,
    is_passing,
    unanswered,
)

if TYPE_CHECKING:
    import httpx2
    from huggingface_hub import DatasetInfo, HfApi, ModelInfo
    from huggingface_hub.errors import HfHubHTTPError

EXAMPLE = "hf://Qwen/Qwen2.5-7B-Instruct"
REPOSITORY = re.compile(r"hf://(datasets/)?([A-Za-z0-9][\w.-]*/[\w.-]+|[A-Za-z0-9][\w.-]*)/?")
"""Of a model, or behind ``datasets/`` of a data set, as the hub's own addresses have it."""
PUBLIC_ENDPOINT = "https://huggingface.co"
DATASET = "dataset"
"""The hub's own name of the kind."""


def connect(job: Job) -> HubRepository:
    """Return a connection to ``hf://ORG/NAME``; RequestError when the URI is malformed."""
    match = REPOSITORY.fullmatch(job.source)
    if match is None:
        raise RequestError(
            "UnknownScheme", f"{plain(job.source)!r} is no address of the form hf://ORG/NAME, as in {EXAMPLE}"
        )
    _guard_requests(job)
    kind = DATASET if match[1] else "model"
    return HubRepository(match[2], (job.endpoint or PUBLIC_ENDPOINT).rstrip("/"), job.token(), kind)


def _guard_requests(job: Job) -> None:
    """Have huggingface_hub's client ask before every request whether its host is allowed.

    The hub sends downloads on to other hosts; the client calls its hooks for each of them.
    """
    from huggingface_hub import set_client_factory
    from huggingface_hub.utils._http import default_client_factory

    def make() -> httpx2.Client:
        client = default_client_factory()
        hooks = client.event_hooks
        client.event_hooks = hooks | {"request": [*hooks["request"], guard(job.environment)]}
        return client

    set_client_factory(make)


class HubRepository:
    """One repository of one hub, read with one token or none, never with one that the machine has."""

    def __init__(self, name: str, endpoint: str, token: str | None, kind: str = "model") -> None:
        from huggingface_hub import HfApi
        from huggingface_hub.utils.tqdm import disable_progress_bars

        disable_progress_bars()
        self.name = name
        self.kind = kind
        self.endpoint = endpoint
        self.token: str | bool = token or False
        self.api: HfApi = HfApi(endpoint=endpoint, token=self.token, library_name="slipway")

    def list_files(self, revision: str) -> Listing:
        """Resolve the revision through the hub's information; sizes and digests come with it."""
        with self._translated(f"revision {revision}"):
            ask = self.api.dataset_info if self.kind == DATASET else self.api.model_info
            info = ask(self.name, revision=revision, files_metadata=True, timeout=REQUEST_SECONDS)
        if not info.sha:
            raise TransientError(
                "HubUnavailable", f"{self.endpoint} named no commit for {self.name}@{revision}"
            )
        return Listing(info.sha, tuple(_remote_files(info)), _license(info))

    def read_range(self, commit: str, file: RemoteFile, start: int, length: int) -> bytes:
        """Read part of a file; a server that ignores Range costs the bytes before, no more."""
        from huggingface_hub.utils._http import get_session, hf_raise_for_status

        headers = self._headers() | {"Range": f"bytes={start}-{start + length - 1}"}
        wanted = bytearray()
        with (
            self._translated(file.path),
            get_session().stream(
                "GET", self._url(commit, file), headers=headers, timeout=REQUEST_SECONDS
            ) as response,
        ):
            if response.is_error:
                response.read()
            hf_raise_for_status(response)
            skip = start - begins(response, start)
            for block in response.iter_bytes():
                wanted += block
                if len(wanted) >= skip + length:
                    break
        return bytes(wanted[skip : skip + length])

    def download(self, commit: str, file: RemoteFile, target: Path) -> None:
        """Append what is missing to ``target``; huggingface_hub itself repeats cut connections."""
        from huggingface_hub.constants import MAX_HTTP_DOWNLOAD_SIZE
        from huggingface_hub.file_download import http_get

        if file.size > MAX_HTTP_DOWNLOAD_SIZE:
            raise DataError(
                "FileTooLarge",
                f"{file.path} has {format_bytes(file.size)}, more than the hub sends by plain HTTP: "
                "choose a repository whose weights are split into shards",
            )
        have = target.stat().st_size if target.exists() else 0
        if have > file.size:
            target.unlink()
            have = 0
        if have:
            LOGGER.info("%s: going on behind %d of %d bytes", file.path, have, file.size)
        with self._translated(file.path), target.open("ab") as out:
            http_get(
                self._url(commit, file),
                out,
                resume_size=have,
                headers=self._headers(),
                expected_size=file.size,
                displayed_filename=file.path,
            )

    def _url(self, commit: str, file: RemoteFile) -> str:
        from huggingface_hub import hf_hub_url

        return hf_hub_url(self.name, file.path, revision=commit, repo_type=self.kind, endpoint=self.endpoint)

    def _headers(self) -> dict[str, str]:
        from huggingface_hub.utils._headers import build_hf_headers

        # Compressed text would have another length than the listing says, and can't be resumed.
        return {**build_hf_headers(token=self.token, library_name="slipway"), "Accept-Encoding": "identity"}

    @contextmanager
    def _translated(self, what: str) -> Iterator[None]:
        """Turn the hub's and the network's errors into ours."""
        import httpx2
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError

        try:
            yield
        except HfHubHTTPError as error:
            raise self._from_answer(error, what) from error
        except HFValidationError as error:
            raise RequestError(
                "RepositoryNotFound", f"{self.name!r} is no name of a repository: {error}"
            ) from error
        except httpx2.HTTPError as error:
            raise unanswered(self.endpoint, f"{self.name} ({what})", error) from error
        except ValueError as error:
            # A login page or a proxy's notice instead of JSON; it may be gone soon, so a few tries are made.
            raise ToolError(
                "NotAHub",
                f"{self.endpoint} answers, but not as a Hugging Face hub does ({what}): {error}. "
                "Correct hub.endpoint of the chart, or let the proxy pass this host",
            ) from error
        except OSError as error:
            if error.errno is not None:
                raise  # the local disk
            # http_get's consistency check: the connection ended early, and what came is kept.
            raise TransientError("HubUnavailable", f"download of {what} was cut: {error}") from error

    def _from_answer(self, error: HfHubHTTPError, what: str) -> StageError:
        """Return our error for an answer of the hub; what it named itself comes before the bare status."""
        from huggingface_hub import errors

        place = f"{self.name} at {self.endpoint}"
        if isinstance(error, errors.GatedRepoError):
            return DeniedError("GatedRepository", self._gated(place))
        if isinstance(error, errors.RevisionNotFoundError):
            return NotFoundError(
                "RevisionNotFound", f"{place} has no {what}: name a branch, tag or commit of it"
            )
        if isinstance(error, errors.RemoteEntryNotFoundError):
            return NotFoundError("FileNotFound", f"{place} no longer has {what}")
        if isinstance(error, errors.DisabledRepoError):
            return DeniedError("AccessDenied", f"{place} was disabled by the hub")
        # Where the answer came from: after a redirect it is another host than the hub's.
        host = error.response.url.host
        return self._from_status(error.response.status_code, place, what, host)

    def _from_status(self, status: int, place: str, what: str, host: str) -> StageError:
        if status == UNAUTHORIZED and self.token:
            return DeniedError(
                "TokenRejected", f"{place} refuses the token: put a valid one into the Secret's key token"
            )
        if status in {UNAUTHORIZED, NOT_FOUND}:
            return NotFoundError("RepositoryNotFound", self._missing(place))
        if status == FORBIDDEN:
            advice = "name a token in spec.model.secretRef"
            if self.token:
                advice = "give the token's account access"
            message = f"{host} forbids {what} of {place} (403): {advice}, or let the proxy pass {host}"
            return DeniedError("AccessDenied", message)
        if not is_passing(status):
            message = f"{host} refuses {what} of {place} for good: it answered {status}"
            return RequestError("HubRefused", message)
        return TransientError(
            "HubUnavailable", f"{host} answered {status} about {what}; it is tried again by itself"
        )

    def _gated(self, place: str) -> str:
        if self.token:
            return (
                f"{place} is gated and the token's account has no access: accept the terms on its page first"
            )
        return (
            f"{place} is gated: accept the terms on its page, put a token into a Secret (key token), "
            "and name it in spec.model.secretRef"
        )

    def _missing(self, place: str) -> str:
        if self.token:
            return f"{place} does not exist, or the token's account may not see it: check the name"
        return (
            f"{place} does not exist, or is private: check the name, or name a token in spec.model.secretRef"
        )


def _remote_files(info: ModelInfo | DatasetInfo) -> Iterator[RemoteFile]:
    for sibling in info.siblings or ():
        if sibling.size is None:
            raise DataError("FileNotFound", f"the hub names no size for {sibling.rfilename}")
        sha256 = sibling.lfs.sha256 if sibling.lfs else ""
        yield RemoteFile(sibling.rfilename, sibling.size, sha256, "" if sha256 else sibling.blob_id or "")


def _license(info: ModelInfo | DatasetInfo) -> str:
    """Return the licence id from the model card, else from the hub's tags."""
    card = info.card_data
    if card is not None and isinstance(card.license, str):
        return card.license
    tags = (tag.partition(":")[2] for tag in info.tags or () if tag.startswith("license:"))
    return next(tags, "")
