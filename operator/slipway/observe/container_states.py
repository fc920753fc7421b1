"""Which container of a pod tells what is wrong, and how it ended. For passes.tries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

NOT_YET = "PodInitializing"
"""The kubelet's reason for a container whose turn has not come."""


def telling(status: Mapping[str, Any]) -> Mapping[str, Any]:
    """The status that tells what is wrong: of an init container that fails or can't start, else the first."""
    for one in status.get("initContainerStatuses") or ():
        waiting = (one.get("state", {}).get("waiting") or {}).get("reason", NOT_YET)
        if not one.get("ready") and (terminated(one).get("exitCode") or waiting != NOT_YET):
            return dict(one)
    return dict((status.get("containerStatuses") or [{}])[0])


def terminated(container: Mapping[str, Any]) -> Mapping[str, Any]:
    """How the container ended, or ended before while it is not ready again; empty for neither."""
    now = container.get("state", {}).get("terminated")
    before = container.get("lastState", {}).get("terminated") if not container.get("ready") else None
    return now or before or {}
