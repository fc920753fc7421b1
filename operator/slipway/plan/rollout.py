"""Whether an update can go on beside what serves, or an old pod makes room; pure, called by the pass."""

from __future__ import annotations

from typing import Final

from slipway.plan.failures import CREATING
from slipway.plan.symptoms import Symptoms

ROOM_SECONDS: Final = 120.0
"""A pod of an update that waits longer for volume or room gets them from an old one. To move a free disk from
one node to another takes about a minute."""
_NO_ROOM: Final = "Insufficient "
"""The scheduler's words for CPU, memory and the like that others have."""


def needs_room(seen: Symptoms) -> bool:
    """Whether a new pod waits for what an old one of its model has: the volume, or its part of the node.

    One that waits for anything else (an image, a node that is not there) would not start without the old ones
    either: they go on serving.
    """
    no_room = _NO_ROOM in seen.unschedulable and seen.unschedulable_seconds > ROOM_SECONDS
    return no_room or lacks_volume(seen, ROOM_SECONDS)


def lacks_volume(seen: Symptoms, seconds: float) -> bool:
    """Whether a pod has waited so long on its node for its volumes."""
    return seen.waiting in CREATING and not seen.sandboxed and seen.scheduled_seconds > seconds
