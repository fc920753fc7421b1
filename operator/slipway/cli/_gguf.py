"""A folder of GGUF files as a model, for ``--model DIR``. Called by _inputs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from slipway.cli import UsageError

if TYPE_CHECKING:
    from slipway.plan.facts import ModelFacts
    from slipway_runtime.sources import RemoteFile

PLACES = ("*", "*/*")
"""Where files are looked for: in the folder, and in folders of its levels."""


def read_gguf(folder: Path) -> ModelFacts | None:
    """Facts of the model that a folder holds as GGUF, at whatever levels; None when it holds no such model.

    Raises:
        UsageError: a file can't be read, or is no language model's.
    """
    from slipway.plan.model_config import facts_from_wire
    from slipway_runtime.errors import StageError
    from slipway_runtime.gguf_facts import gguf_facts
    from slipway_runtime.gguf_files import holds_gguf
    from slipway_runtime.sources import RemoteFile

    paths = sorted(path for place in PLACES for path in folder.glob(place) if path.is_file())
    files = [RemoteFile(path.relative_to(folder).as_posix(), path.stat().st_size) for path in paths]
    if not holds_gguf(files):
        return None

    def read(file: RemoteFile, start: int, length: int) -> bytes:
        with (folder / file.path).open("rb") as opened:
            opened.seek(start)
            return opened.read(length)

    try:
        facts, _ = gguf_facts(files, folder.resolve().as_posix(), "", read)
        return facts_from_wire(facts)
    except (StageError, OSError) as error:
        raise UsageError(f"--model {folder}: {error}") from error
