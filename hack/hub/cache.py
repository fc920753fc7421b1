"""The cache outside the checkout: where it lies, and how an entry appears whole or not at all.

Called by hack/hub and hack/images. Standard library only: it runs before anything is installed.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def cache_root() -> Path:
    """Return the cache's root: SLIPWAY_CACHE, else slipway/ under XDG_CACHE_HOME, else under ~/.cache."""
    named = os.environ.get("SLIPWAY_CACHE")
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "slipway"


def key_of(parts: Iterable[str | bytes | Path]) -> str:
    """Return 16 hex digits over the inputs; a Path stands for the bytes of its file."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, Path):
            data = part.read_bytes()
        else:
            data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "big"))
        digest.update(data)
    return digest.hexdigest()[:16]


@contextmanager
def new_entry(target: Path) -> Iterator[Path]:
    """Yield a temporary folder that becomes `target` on success and vanishes on failure.

    Two builders of one entry may race: both make the same bytes, so the loser drops its copy.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    staging.chmod(0o755)
    try:
        yield staging
        try:
            staging.rename(target)
        except OSError:
            if not target.is_dir():
                raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)
