"""What every tool's builder is given, and what it gives back. Called by the rooms of this folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from slipway.api.modeldeployment import Generation, ModelDeploymentSpec

GGUF = "model.gguf"
CHAT_TEMPLATE = "chat_template.jinja"


@dataclass(frozen=True)
class Served:
    """One ModelDeployment as it serves.

    Attributes:
        name: of the ModelDeployment.
        namespace: its namespace.
        level: of the artifact, such as Q4_K_M.
        digest: of the artifact, ``sha256:…``.
        context_length: planned tokens of context for one request.
        spec: as the user wrote it.
        files: the GGUF file, or its parts in order.
        chat_template: the model's own, in Jinja; empty when it has none.
    """

    name: str
    namespace: str
    level: str
    digest: str
    context_length: int
    spec: ModelDeploymentSpec
    chat_template: str = ""
    files: tuple[str, ...] = (GGUF,)

    @property
    def generation(self) -> Generation:
        """Defaults of a request; empty where the spec says nothing."""
        return (self.spec.engine.generation if self.spec.engine else None) or Generation()

    @property
    def title(self) -> str:
        """Who this is, for the first line of a written file."""
        return f"{self.name} of namespace {self.namespace}, {self.level}, {self.digest}"


@dataclass(frozen=True)
class Text:
    """A small file that is written beside the copied ones.

    Attributes:
        path: relative to the folder, with forward slashes.
        content: its bytes.
        executable: whether it is a program.
    """

    path: str
    content: bytes
    executable: bool = False


@dataclass(frozen=True)
class Package:
    """What one tool gets.

    Attributes:
        copies: file of the artifact to its place in the folder.
        texts: small files beside them.
        commands: what to type next, in the folder.
        notes: what differs from the served model, or can't be told; whole sentences.
    """

    copies: Mapping[str, str]
    texts: tuple[Text, ...]
    commands: tuple[str, ...]
    notes: tuple[str, ...]
