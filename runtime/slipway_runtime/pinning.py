"""What a source without commits is pinned to: the digest of everything that it lists. For sources.

The same listing has the same pin. Fetch lists again and refuses what no longer is what was planned for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from slipway_runtime.errors import DataError

PREFIX = "sha256:"
REPLAN = "set the annotation slipway.dev/replan of the ModelDeployment to take what it holds now"


def listing_pin(files: Iterable[tuple[str, int, str]]) -> str:
    """Return ``sha256:HEX`` over (path, size in bytes, the source's own mark of the content), in any order.

    The mark is the strongest that the source names: a digest, a version id, an ETag, a time of change.
    """
    digest = hashlib.sha256()
    for path, size, mark in sorted(files):
        digest.update(f"{path}\0{size}\0{mark}\n".encode())
    return PREFIX + digest.hexdigest()


def require_pin(place: str, asked: str, found: str) -> None:
    """Raise DataError when a pin was asked for and the source no longer is what it stands for.

    Args:
        place: what is read, for the message.
        asked: the revision: a pin, or a word such as main, that asks for what is there now.
        found: pin of what is there now.
    """
    if asked.startswith(PREFIX) and asked != found:
        raise DataError(
            "SourceChanged",
            f"{place} has changed since it was pinned ({asked[:19]}, now {found[:19]}): {REPLAN}",
        )


def changed_meanwhile(what: str) -> DataError:
    """Return the error for what was replaced between two requests of one try."""
    return DataError("SourceChanged", f"{what} was replaced while it was read: {REPLAN}")
