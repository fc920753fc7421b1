"""What one Job was asked to do, read once from the environment. Made by stage.py, taken by every stage."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from slipway_runtime import contract, docker_config
from slipway_runtime.errors import RequestError
from slipway_runtime.progress import Progress


@dataclass(frozen=True)
class Job:
    """The inputs of a stage; empty strings and zeros where the environment says nothing.

    Attributes:
        source: URI of the model, ``hf://ORG/NAME``.
        revision: branch, tag or commit; fetch wants the commit.
        store: this artifact's claim, read-write.
        parent: the parent artifact's claim, read-only.
        inputs: folder with the claims of further artifacts, read-only.
        token_file: exists only when a credential was named.
        expected_bytes: what the planner thinks this stage writes; 0 when it doesn't say.
        environment: everything else, for what only one stage needs.
    """

    stage: str
    source: str
    revision: str
    method: str
    level: str
    model_name: str
    endpoint: str
    expected_bytes: int
    store: Path
    parent: Path
    inputs: Path
    token_file: Path
    environment: Mapping[str, str]
    progress: Progress

    @property
    def work(self) -> Path:
        """Folder of the store where stages leave what the next one takes."""
        return self.store / "work"

    @property
    def published(self) -> Path:
        """Folder of the store that only ever holds a whole artifact."""
        return self.store / contract.PUBLISHED

    @property
    def parent_published(self) -> Path:
        """The parent artifact, whole."""
        return self.parent / contract.PUBLISHED

    def input_published(self, name: str) -> Path:
        """The further artifact of that name, whole."""
        return self.inputs / name / contract.PUBLISHED

    def options(self) -> Mapping[str, str]:
        """Return the recipe's options, name to value; RequestError when they are no map of strings."""
        text = self.environment.get("SLIPWAY_OPTIONS") or "{}"
        try:
            found = json.loads(text)
        except ValueError:
            found = None
        if not isinstance(found, dict) or not all(isinstance(one, str) for one in found.values()):
            raise RequestError(
                "MissingInput", f"SLIPWAY_OPTIONS must be a JSON map of strings, and is {text!r}"
            )
        return found

    def credential(self, key: str) -> str | None:
        """Return one key of the source's Secret, of ``contract.CREDENTIAL_KEYS``; None when it lacks it."""
        try:
            return self.token_file.with_name(key).read_text(encoding="utf-8").strip() or None
        except FileNotFoundError:
            return None

    def token(self) -> str | None:
        """Return the credential of a hub, or None when there is none or it is empty."""
        try:
            return self.token_file.read_text(encoding="utf-8").strip() or None
        except FileNotFoundError:
            return None

    def secrets(self) -> tuple[str, ...]:
        """Return everything that no log may show."""
        hidden = [key for key in contract.CREDENTIAL_KEYS if key not in contract.OPEN_KEYS]
        found = {self.token(), *(self.credential(key) for key in hidden)}
        password, configuration = self.credential("password"), self.credential(docker_config.KEY)
        if password:
            found.add(docker_config.Credential(self.credential("username") or "", password).basic)
        if configuration:
            found |= docker_config.hidden(configuration)
        return tuple(sorted((one for one in found if one), key=len, reverse=True))

    def endpoint_of(self, scheme: str) -> str:
        """Return where a scheme's public service is replaced by another; empty when nothing was said.

        ``SLIPWAY_ENDPOINT_<SCHEME>``, a URL; that of hf is ``HF_ENDPOINT``.
        """
        return self.environment.get(f"SLIPWAY_ENDPOINT_{scheme.upper()}", "").rstrip("/")

    @property
    def trusts_code(self) -> bool:
        """Whether Python files of the repository are read, too (``spec.model.trustRemoteCode``)."""
        return self.environment.get("SLIPWAY_TRUST_REMOTE_CODE") == "true"

    def require(self, name: str) -> str:
        """Return an environment variable; RequestError when it is missing or empty."""
        value = self.environment.get(name, "")
        if not value:
            raise RequestError("MissingInput", f"stage {self.stage} needs the environment variable {name}")
        return value

    def number(self, name: str, default: int) -> int:
        """Return an environment variable as a whole number of at least 0; RequestError when it is none."""
        return parse_number(self.environment, name, default)


def parse_number(environment: Mapping[str, str], name: str, default: int) -> int:
    """Return ``environment[name]`` as a number, or the default when it is missing or empty."""
    text = environment.get(name) or str(default)
    if not text.isdecimal():
        raise RequestError("MissingInput", f"{name} must be a whole number, and is {text!r}")
    return int(text)


def read_job(stage: str, environment: Mapping[str, str], progress: Callable[[str], Progress]) -> Job:
    """Build the Job of a stage; SLIPWAY_STORE, _PARENT, _INPUTS, _TOKEN_FILE move mounts in runs by hand."""
    get = environment.get
    return Job(
        stage=stage,
        source=get("SLIPWAY_SOURCE", ""),
        revision=get("SLIPWAY_REVISION", "") or "main",
        method=get("SLIPWAY_METHOD", "") or "gguf",
        level=get("SLIPWAY_LEVEL", "").upper(),
        model_name=get("SLIPWAY_MODEL_NAME", ""),
        endpoint=get("HF_ENDPOINT", ""),
        expected_bytes=parse_number(environment, "SLIPWAY_EXPECTED_BYTES", 0),
        store=Path(get("SLIPWAY_STORE") or contract.STORE),
        parent=Path(get("SLIPWAY_PARENT") or contract.PARENT),
        inputs=Path(get("SLIPWAY_INPUTS") or contract.INPUTS),
        token_file=Path(get("SLIPWAY_TOKEN_FILE") or contract.TOKEN_FILE),
        environment=environment,
        progress=progress(stage),
    )
