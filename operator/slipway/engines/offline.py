"""The environment of a PyTorch engine that asks nobody and tells nobody. For engine files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

OFFLINE: Final[Mapping[str, str]] = {
    "HOME": "/tmp",  # noqa: S108 - the pod's own emptyDir, where caches go
    # A user id without a passwd entry has no name, and torch and MPI ask for one.
    "USER": "slipway",
    "LOGNAME": "slipway",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "DO_NOT_TRACK": "1",
}
"""Neither a hub nor telemetry; the root file system can't be written."""
