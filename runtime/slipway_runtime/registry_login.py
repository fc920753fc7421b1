"""How a registry is logged in to: its challenge answered by a token or a password. Called by registry.py.

The distribution project's token flow: a refused request names a realm; that gives a token for one repository.
A credential goes to the registry's own host, and to a realm that is the same host or speaks HTTPS.
"""

from __future__ import annotations

import json
from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import parse_http_list, parse_keqv_list

from slipway_runtime.docker_config import KEY, Credential, find_credential
from slipway_runtime.errors import DeniedError, RequestError, TransientError
from slipway_runtime.job import Job
from slipway_runtime.registry_reference import Place
from slipway_runtime.web import UNAUTHORIZED, is_passing, read_whole

if TYPE_CHECKING:
    import httpx2

BEARER, BASIC = "bearer", "basic"


@dataclass(frozen=True)
class Challenge:
    """What a registry wants: ``bearer`` with a realm that gives tokens, or ``basic``."""

    scheme: str
    parameters: dict[str, str]


def read_challenge(header: str) -> Challenge | None:
    """Return what a WWW-Authenticate header asks for; None for schemes that are not known here."""
    scheme, _, rest = header.strip().partition(" ")
    if scheme.lower() not in {BEARER, BASIC}:
        return None
    parts = [part for part in parse_http_list(rest) if "=" in part]
    return Challenge(scheme.lower(), parse_keqv_list(parts))


def credential_of(job: Job, place: Place) -> Credential | None:
    """Return who logs in: the Secret's username and password, else its entry for this host; None for nobody.

    Raises:
        RequestError: MissingInput, the Secret's ``.dockerconfigjson`` is none.
    """
    password = job.credential("password")
    if password:
        return Credential(job.credential("username") or "", password)
    text = job.credential(KEY)
    if text is None:
        return None
    try:
        return find_credential(text, place.host, place.repository)
    except ValueError as error:
        raise RequestError(
            "MissingInput",
            f"the Secret's {KEY} is no configuration of docker login: {error}. Make it by kubectl create "
            "secret docker-registry",
        ) from error


def realm_may_know(registry: str, realm: str) -> bool:
    """Whether a credential for the registry (a URL) may be sent to the realm (a URL)."""
    own, other = urlsplit(registry), urlsplit(realm)
    return other.scheme == "https" or (
        other.scheme == own.scheme == "http" and other.hostname == own.hostname
    )


class Login:
    """Answers challenges of one registry; an ``httpx2`` authentication by ``build``."""

    def __init__(self, place: Place, credential: Credential | None) -> None:
        self.place = place
        self.credential = credential
        self._header = ""

    def build(self) -> httpx2.Auth:
        """Return what httpx2 calls around every request."""
        import httpx2

        login = self

        class Flow(httpx2.Auth):
            def sync_auth_flow(
                self, request: httpx2.Request
            ) -> Generator[httpx2.Request, httpx2.Response, None]:
                return login.flow(request)

        return Flow()

    def flow(self, request: httpx2.Request) -> Generator[Any, Any, None]:
        """Send the request with what is known; when the registry refuses, answer its challenge once."""
        if not self._is_ours(request):
            yield request  # storage elsewhere, which an upload was sent to
            return
        if self._header:
            request.headers["Authorization"] = self._header
        response = yield request
        if response.status_code != UNAUTHORIZED or not self._is_ours(response.request):
            return
        challenge = read_challenge(response.headers.get("WWW-Authenticate", ""))
        if challenge is None:
            return
        if challenge.scheme == BASIC:
            if self.credential is None:
                return
            self._header = f"Basic {self.credential.basic}"
        else:
            answer = yield self._token_request(challenge)
            self._header = f"Bearer {self._token(answer)}"
        request.headers["Authorization"] = self._header
        yield request

    def _is_ours(self, request: httpx2.Request) -> bool:
        import httpx2

        # Origins: the port of a scheme and the case of a host are left out of requests' URLs.
        return request.url.origin == httpx2.URL(self.place.url).origin

    def _token_request(self, challenge: Challenge) -> httpx2.Request:
        import httpx2

        realm = challenge.parameters.get("realm", "")
        if urlsplit(realm).scheme not in {"http", "https"}:
            raise TransientError("HubUnavailable", f"{self.place.url} names no realm to log in at: {realm!r}")
        headers = {}
        if self.credential is not None:
            if not realm_may_know(self.place.url, realm):
                raise DeniedError(
                    "AccessDenied",
                    f"{self.place.url} asks to log in at {realm}, by plain HTTP on another host: no password "
                    "is sent there. Have the registry name a realm by HTTPS",
                )
            headers["Authorization"] = f"Basic {self.credential.basic}"
        wanted = {key: value for key, value in challenge.parameters.items() if key in {"service", "scope"}}
        return httpx2.Request("GET", httpx2.URL(realm).copy_merge_params(wanted), headers=headers)

    def _token(self, answer: httpx2.Response) -> str:
        status, realm = answer.status_code, answer.url.host
        if is_passing(status):
            raise TransientError(
                "HubUnavailable", f"{realm} answered {status} instead of a token; it is tried again by itself"
            )
        if answer.is_error:
            raise DeniedError(
                "TokenRejected", f"{realm} answered {status} instead of a token: {self.advice()}"
            )
        try:
            document = json.loads(read_whole(answer))
            return str(document.get("token") or document["access_token"])
        except (ValueError, KeyError, AttributeError) as error:
            raise TransientError("HubUnavailable", f"{realm} answered without a token: {error}") from error

    @property
    def is_basic(self) -> bool:
        """Whether the registry was sent the password itself, no token."""
        return self._header.startswith("Basic ")

    def advice(self) -> str:
        """Return what to put into the Secret, for whom the registry refuses."""
        keys = f"username and password, or a {KEY} with an entry for {self.place.host}"
        if self.credential is None:
            return f"no credential for it is known. Name a Secret with {keys} in spec.model.secretRef"
        return f"it refuses user {self.credential.username!r}: put a valid {keys} into the Secret"
