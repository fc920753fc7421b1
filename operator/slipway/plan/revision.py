"""Which revision counts, which number is next, which old ones go.

Pure, called by the ModelDeployment's pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

KEPT: Final = 5
"""Revisions kept for history and rollback, the current one included."""


@dataclass(frozen=True)
class Revision:
    """One ControllerRevision.

    Attributes:
        number: its ``.revision``, counting up.
        spec_hash: hash of the spec's planning part that it was made for.
        asked: the wish to plan anew that it answers, empty for none.
    """

    name: str
    number: int
    spec_hash: str
    asked: str = ""


def current(revisions: Sequence[Revision], spec_hash: str, asked: str = "") -> Revision | None:
    """The newest revision for this spec; None when it has to be planned first.

    A wish that was answered once, or is taken back, asks for nothing: what was planned last stays.
    """
    matching = [revision for revision in revisions if revision.spec_hash == spec_hash]
    if asked and all(revision.asked != asked for revision in matching):
        return None
    return max(matching, key=lambda revision: revision.number, default=None)


def next_number(revisions: Sequence[Revision]) -> int:
    """One more than the newest, from 1."""
    return 1 + max((revision.number for revision in revisions), default=0)


def outdated(revisions: Sequence[Revision], chosen: str, serving: str) -> tuple[str, ...]:
    """Names of revisions to delete.

    A kept revision is a record: commit, facts and plan to return to. Volumes are kept by the current and the
    serving one alone.

    Args:
        revisions: all that exist.
        chosen: name of the current one, never deleted.
        serving: name of the one whose children run now, never deleted.
    """
    others = sorted(
        (one for one in revisions if one.name not in (chosen, serving)), key=lambda one: -one.number
    )
    return tuple(sorted(one.name for one in others[KEPT - 1 :]))
