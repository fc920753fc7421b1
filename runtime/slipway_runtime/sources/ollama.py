"""A model of Ollama's registry, ``ollama://NAME[:TAG]``. Found by ``sources``.

The protocol is that of OCI registries, with a manifest of Docker's kind whose layers say by their type what
they are. The pin is the manifest's digest. Taken are the GGUF file and the licences: the template is written
in Go's language, and engines use the one inside the GGUF file.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slipway_runtime.errors import DataError, NotFoundError
from slipway_runtime.job import Job
from slipway_runtime.log import LOGGER
from slipway_runtime.oci_layout import SUPPORTED, descriptors
from slipway_runtime.pinning import PREFIX, require_pin
from slipway_runtime.registry import Manifest, Registry
from slipway_runtime.registry_reference import Reference, parse_reference, place_of
from slipway_runtime.sources import Listing, RemoteFile

EXAMPLE = "ollama://qwen2.5:7b"
REGISTRY = "registry.ollama.ai"
LIBRARY = "library"
TYPE = "application/vnd.ollama.image."
MODEL, LICENSE, ADAPTER = f"{TYPE}model", f"{TYPE}license", f"{TYPE}adapter"
LEFT_OUT = {
    f"{TYPE}template": "its template, as engines use the one inside the GGUF file",
    f"{TYPE}system": "its system prompt, which a caller sends",
    f"{TYPE}params": "its parameters, which a caller sends",
    f"{TYPE}messages": "its first messages, which a caller sends",
    f"{TYPE}projector": "its projector: text alone is served",
}
REGISTRY_PARTS = 3
"""Of HOST/NAMESPACE/NAME: fewer parts are of Ollama's own registry."""


def connect(job: Job) -> OllamaRepository:
    """Return a connection to the model's repository; RequestError when the address is malformed."""
    reference = parse_reference(full_name(job.source.removeprefix("ollama://")), EXAMPLE)
    return OllamaRepository(Registry(job, place_of(reference, job.endpoint_of("ollama"))), reference)


def full_name(name: str) -> str:
    """Return the name with what Ollama adds to it: its registry, and ``library`` for a name alone."""
    parts = name.count("/") + 1
    if parts >= REGISTRY_PARTS:
        return name
    return f"{REGISTRY}/{LIBRARY}/{name}" if parts == 1 else f"{REGISTRY}/{name}"


class OllamaRepository:
    """One model of one registry.

    Attributes:
        endpoint: URL of the server that is asked.
    """

    def __init__(self, registry: Registry, reference: Reference) -> None:
        self.registry = registry
        self.endpoint = registry.endpoint
        self.reference = reference

    def list_files(self, revision: str) -> Listing:
        """Resolve the tag to its manifest and list the GGUF file and the licences."""
        manifest = self._manifest(revision)
        layers = descriptors(manifest.document, "layers", self.reference.name)
        types = [str(layer.get("mediaType", "")) for layer in layers]
        self._check(types)
        for one in types:
            if one in LEFT_OUT:
                LOGGER.info("%s: left out is %s", self.reference.name, LEFT_OUT[one])
        models = [layer for layer, one in zip(layers, types, strict=True) if one == MODEL]
        licenses = [layer for layer, one in zip(layers, types, strict=True) if one == LICENSE]
        named = [("model.gguf", models[0])]
        named += [
            (f"LICENSE-{number}" if number else "LICENSE", layer) for number, layer in enumerate(licenses)
        ]
        return Listing(manifest.digest, tuple(_file(path, layer) for path, layer in named))

    def read_range(self, commit: str, file: RemoteFile, start: int, length: int) -> bytes:
        """Read part of a file."""
        del commit
        return self.registry.read(PREFIX + file.sha256, start, max(0, min(length, file.size - start)))

    def download(self, commit: str, file: RemoteFile, target: Path) -> None:
        """Append what is missing to ``target``; cut connections are taken up again."""
        del commit
        self.registry.download(file, PREFIX + file.sha256, 0, target)

    def _manifest(self, revision: str) -> Manifest:
        """Return what was asked for; by the tag again where the registry does not know a pin."""
        asked = self.reference.asked(revision)
        try:
            return self.registry.manifest(asked)
        except NotFoundError:
            if not asked.startswith(PREFIX):
                raise
        now = self.registry.manifest(self.reference.tag or "latest")
        require_pin(self.reference.name, asked, now.digest)
        return now

    def _check(self, types: list[str]) -> None:
        """Refuse what would be served as something else than it is, such as an adapter's model alone."""
        if ADAPTER in types:
            raise DataError(
                "UnsupportedLayout",
                f"{self.reference.name} is an adapter on top of a model, and the model alone would be "
                "served: name the model as source, and the adapter's own repository in spec.model.adapters",
            )
        if types.count(MODEL) != 1:
            found = ", ".join(sorted(set(types))[:5]) or "nothing"
            raise DataError(
                "UnsupportedLayout",
                f"{self.reference.name} has not one layer with a GGUF file ({MODEL}), but {found}. What "
                f"other tools pushed is read by oci://: {SUPPORTED}",
            )


def _file(path: str, layer: Mapping[str, Any]) -> RemoteFile:
    return RemoteFile(path, int(layer["size"]), str(layer["digest"]).removeprefix(PREFIX))
