"""The kernel's settings that the kubelet changes for the whole machine, and the way back; called by remains.

The kubelet sets them at every start (setupKernelTunables in its container manager).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

SYSTEM = Path("/proc/sys")
KUBELET = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}


def settings() -> dict[str, str]:
    """What each of them is now; what this kernel does not have is left out."""
    files = {name: SYSTEM / name for name in KUBELET}
    return {name: file.read_text().strip() for name, file in files.items() if file.exists()}


def restore(before: Mapping[str, str]) -> list[str]:
    """Set back what is still as the kubelet set it; returns what changed, for a person."""
    changed = []
    for name, now in settings().items():
        old = before.get(name, now)
        if now == KUBELET[name] and now != old:
            (SYSTEM / name).write_text(old)
            changed.append(f"{name.replace('/', '.')} from {now} to {old}")
    return changed
