"""Finds and clears what a cluster leaves on the machine: processes, mounts, cgroups, network, files.

Called by cluster.py to end a cluster, and to take over what an earlier or another checkout's cluster left. It
touches only what carries our mark or lies in our own directories.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from hack.cluster import host, kernel, layout, network, node

STOP_S = 20.0
CLEAR_S = 3.0  # for programs whose data goes anyway
ENDING = "ending"  # the shape of a cluster that is being ended: no other is like it, so it is not adopted
PAUSE_S = 0.1
SHIM = "containerd-shim"
CONTAINER_LOGS = Path("/var/log/containers")  # the kubelet knows no other place for its links
CNI_RESULTS = Path("/var/lib/cni/results")  # nor the CNI library for its notes
PLUGIN_SOCKET = Path("/var/lib/kubelet/device-plugins/kubelet.sock")  # nor the kubelet for this
CNI_LOCK = Path("/etc/cni/net.d/cni.lock")
# Directories that the programs make whatever they are told: removed when empty.
EMPTY = (
    CONTAINER_LOGS, CNI_RESULTS, CNI_RESULTS.parent, Path("/etc/cni/net.d"), Path("/etc/cni"),
    Path("/run/containerd/s"), Path("/run/containerd"), Path("/var/lib/kubelet/device-plugins"),
    Path("/var/lib/kubelet"),
)  # fmt: skip

Say = Callable[[str], None]


@dataclass(frozen=True)
class Owner:
    """Whose cluster this machine holds: the checkout, the boot in which it was started, its fixed addresses.

    ``forwarding`` and ``kernel`` are the machine's packet forwarding and kernel settings before us.
    """

    checkout: str
    boot: str
    shape: str
    forwarding: str = ""
    kernel: Mapping[str, str] = field(default_factory=dict)

    @property
    def ours(self) -> bool:
        """Whether this checkout started it."""
        return self.checkout == str(layout.CHECKOUT)

    @property
    def there(self) -> bool:
        """Whether the checkout still exists: else nobody could end its cluster from there."""
        return Path(self.checkout).is_dir()


def read_owner() -> Owner | None:
    """Who owns the machine's cluster; None without one (or with an unreadable note)."""
    try:
        return Owner(**json.loads(layout.OWNER.read_text()))
    except (OSError, ValueError, TypeError):
        return None


def new_owner(shape: str) -> Owner:
    """This checkout as the owner of a cluster of that shape, with the machine's settings as they are now."""
    return Owner(
        str(layout.CHECKOUT), host.boot_id(), shape, forwarding=network.forwarding(), kernel=kernel.settings()
    )


def write_owner(owner: Owner) -> None:
    """Note whose cluster it is."""
    layout.STATE.mkdir(parents=True, exist_ok=True)
    beside = layout.OWNER.with_suffix(".new")
    beside.write_text(json.dumps(asdict(owner)) + "\n")
    beside.replace(layout.OWNER)


@dataclass(frozen=True)
class Remains:
    """What a cluster left: each list may be empty."""

    processes: list[host.Process]
    pods: list[int]
    mounts: list[Path]
    network: list[str]
    files: list[Path]

    def __bool__(self) -> bool:
        return any((self.processes, self.pods, self.mounts, self.network, self.files))

    def describe(self) -> list[str]:
        """One line a kind, for a person."""
        lines = []
        if self.processes:
            checkouts = ", ".join(sorted({process.mark for process in self.processes}))
            lines.append(f"{len(self.processes)} processes of the cluster of {checkouts}")
        if self.pods:
            lines.append(f"{len(self.pods)} processes in pods")
        if self.mounts:
            lines.append(f"{len(self.mounts)} mounts below {layout.STATE} and {layout.RUN}")
        lines += self.network
        if self.files:
            lines.append(f"files: {', '.join(map(str, self.files))}")
        return lines


def find() -> Remains:
    """Everything of any such cluster that is on the machine now, alive or dead."""
    bridge = [f"bridge {layout.BRIDGE}"] if network.bridge() else []
    # kube-proxy's tables count only beside ours: alone they are another's.
    names = network.tables()
    table = [f"nftables table {network.TABLE}"] if ("ip", network.TABLE) in names else []
    return Remains(
        host.marked(layout.MARK),
        pod_processes(),
        host.mounts([layout.STATE, layout.RUN]),
        [*bridge, *table],
        [path for path in (layout.STATE, layout.RUN) if path.exists()],
    )


def pod_processes() -> list[int]:
    """The processes that run in the cluster's pods."""
    found = set()
    for top in node.cgroups():
        for listing in top.rglob("cgroup.procs") if top.exists() else ():
            try:
                found |= {int(line) for line in listing.read_text().split()}
            except OSError:
                continue  # a pod that ended meanwhile
    return sorted(found)


def end(pids: Iterable[int], seconds: float = STOP_S) -> None:
    """End processes: politely, and after the seconds not; returns when they are gone."""
    births = {pid: host.birth(pid) for pid in pids}

    def left() -> list[int]:
        return [pid for pid, birth in births.items() if host.alive(pid) and host.birth(pid) == birth]

    _signal(left(), signal.SIGTERM)
    limit = time.monotonic() + seconds
    while left() and time.monotonic() < limit:
        time.sleep(PAUSE_S)
    while left():
        _signal(left(), signal.SIGKILL)
        time.sleep(PAUSE_S)


def _signal(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def end_programs(processes: Iterable[host.Process], seconds: float = STOP_S) -> None:
    """End supervisord first, so that nothing is started again, then the programs; shims and pods stay."""
    programs = [process for process in processes if SHIM not in process.command]
    supervisors = [process.pid for process in programs if "supervisor.supervisord" in process.command]
    _signal(supervisors, signal.SIGKILL)
    end((process.pid for process in programs if process.pid not in supervisors), seconds)


def clear(remains: Remains, owner: Owner | None, say: Say) -> None:
    """End and remove everything that was found; says what it does. Raises OSError for what resists.

    Interrupted, it leaves what the next call finds: the owner's note with the settings to go back to stays
    until only files are left, and those are found by their place.
    """
    if owner:
        write_owner(replace(owner, shape=ENDING))
    if remains.processes or remains.pods:
        say(f"ending {len(remains.processes)} processes of the cluster, {len(remains.pods)} in pods")
        end_programs(remains.processes, CLEAR_S)
        end_pods()
    if remains.mounts:
        say(f"unmounting {len(remains.mounts)} mounts")
    unmount()
    remove_cgroups()
    for gone in network.down(owner.forwarding if owner else ""):
        say(f"removing {gone}")
    for changed in kernel.restore(owner.kernel if owner else {}):
        say(f"setting back {changed}")
    remove_traces()
    layout.OWNER.unlink(missing_ok=True)
    for path in (layout.RUN, layout.STATE):
        if path.exists():
            shutil.rmtree(path)


def end_pods() -> None:
    """End all pods and the shims that hold them."""
    for _ in range(50):
        pods, shims = pod_processes(), [each.pid for each in host.marked(layout.MARK)]
        if not pods and not shims:
            return
        _signal(pods, signal.SIGKILL)
        end(shims, 2.0)
        time.sleep(PAUSE_S)
    raise OSError(f"processes {pod_processes()} do not end: reboot the machine, then run make cluster again")


def unmount() -> None:
    """Unmount everything below our directories."""
    for _ in range(3):
        points = host.mounts([layout.STATE, layout.RUN])
        for point in points:
            # Lazily: what a dying process still holds goes with it.
            subprocess.run(["umount", "--lazy", str(point)], check=False, capture_output=True)
        if not points:
            return
    left = host.mounts([layout.STATE, layout.RUN])
    if left:
        raise OSError(f"{left[0]} can't be unmounted: see who uses it with fuser -vm {left[0]}")


def remove_cgroups() -> None:
    """Remove the pods' cgroups, the deepest first."""
    for top in node.cgroups():
        if not top.exists():
            continue
        folders = sorted((path for path in top.rglob("*") if path.is_dir()), reverse=True)
        for folder in [*folders, top]:
            _remove_cgroup(folder)


def _remove_cgroup(folder: Path) -> None:
    for _ in range(20):  # the kernel needs a moment after the last process
        try:
            folder.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(PAUSE_S)
        else:
            return
    raise OSError(
        f"cgroup {folder} can't be removed: processes {(folder / 'cgroup.procs').read_text().split()}"
    )


def remove_traces() -> None:
    """Remove what the kubelet and the CNI library wrote outside our directories, and what is empty then."""
    for link in CONTAINER_LOGS.iterdir() if CONTAINER_LOGS.is_dir() else ():
        if link.is_symlink() and link.readlink().is_relative_to(layout.STATE):
            link.unlink()
    for note in CNI_RESULTS.iterdir() if CNI_RESULTS.is_dir() else ():
        if f'"{layout.RUN}/' in note.read_text(errors="replace"):  # the pod's network namespace
            note.unlink()
    if str(PLUGIN_SOCKET) not in Path("/proc/net/unix").read_text():  # no other kubelet listens there
        PLUGIN_SOCKET.unlink(missing_ok=True)
    if CNI_LOCK.parent.is_dir() and list(CNI_LOCK.parent.iterdir()) == [CNI_LOCK]:
        CNI_LOCK.unlink()
    for folder in EMPTY:
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
