"""What a cluster has on the machine, looked at without the code that ends it; and what is not its."""

from __future__ import annotations

import ipaddress
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from hack.cluster import host, layout
from tests.cluster.access import run

OURS = [ipaddress.ip_network(layout.ALL_CIDR), ipaddress.ip_network("127.0.0.0/8")]
SYSTEM = Path("/proc/sys")
TABLE = "ip slipway-test-foreign"
BRIDGE = "foreign0"
LEFT = (
    "/var/lib/cni", "/etc/cni", "/var/log/containers", "/var/log/pods", "/var/lib/kubelet", "/run/containerd",
)  # fmt: skip
"""Where programs of the cluster write whatever they are told."""


def traces() -> dict[str, list[str]]:
    """What a cluster has on the machine, by kind."""
    tables = run("nft", "list", "tables").splitlines()
    return {
        "processes": [str(process) for process in Path("/proc").glob("[0-9]*") if carries(process)],
        "mounts": list(map(str, host.mounts([layout.STATE, layout.RUN]))),
        "links": [line for line in run("ip", "-o", "link").splitlines() if "slipway" in line],
        "routes": [line for line in run("ip", "route").splitlines() if "198.1" in line],
        "tables": [t for t in tables if "slipway-cluster" in t or "kube" in t],
        "namespaces": [path.name for path in Path("/run/netns").glob("cni-*")],
        "cgroups": [str(path) for path in Path("/sys/fs/cgroup").glob("**/slipway")],
        "files": [str(path) for path in (layout.STATE, layout.RUN) if path.exists()],
        "left": [str(path) for top in LEFT for path in Path(top).glob("**/*") if is_left(path)],
        "empty": [top for top in LEFT if Path(top).is_dir() and not any(Path(top).iterdir())],
    }


def carries(process: Path) -> bool:
    """Whether the process has the cluster's mark, or is in one of its pods."""
    try:
        environment = (process / "environ").read_bytes()
        return layout.MARK.encode() in environment or "/slipway/" in (process / "cgroup").read_text()
    except OSError:
        return False


def is_left(path: Path) -> bool:
    """Whether it is a cluster's: it leads to its folders, names them, or is an empty folder."""
    if path.is_symlink():
        return path.readlink().is_relative_to(layout.STATE)
    if not path.is_file():
        return path.is_dir() and not any(path.iterdir())
    return "slipway" in path.name or b"slipway" in path.read_bytes()


def strange_sockets() -> list[str]:
    """Listening sockets of the cluster's programs that others could reach: neither loopback's nor its own."""
    marked = host.marked(layout.MARK)
    holders = {link: each.command for each in marked for link in opened(each.pid)}
    assert holders
    rows = [
        row.split()
        for table in ("tcp", "tcp6")
        for row in Path("/proc/net", table).read_text().splitlines()[1:]
    ]
    found = []
    for row in rows:
        holder, listens = holders.get(f"socket:[{row[9]}]"), row[3] == "0A"
        address = address_of(row[1].partition(":")[0])
        if listens and holder and not any(address in network for network in OURS):
            found.append(f"{address}: {holder}")
    return found


def opened(pid: int) -> Iterator[str]:
    """What the process has open, as the links of /proc name it."""
    with suppress(OSError):
        for entry in Path("/proc", str(pid), "fd").iterdir():
            with suppress(OSError):
                yield str(entry.readlink())


def address_of(raw: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """An address of /proc/net/tcp: words in the machine's order, hexadecimal."""
    words = [bytes.fromhex(raw[start : start + 8])[::-1] for start in range(0, len(raw), 8)]
    return ipaddress.ip_address(b"".join(words))


@contextmanager
def foreigners(folder: Path) -> Iterator[list[str]]:
    """Things like a cluster's that are somebody else's: what of them is missing at the block's end."""
    missing: list[str] = []
    mount = folder / "mount"
    files = [Path("/var/lib/cni/results/foreign-note"), Path("/var/log/containers/foreign.log")]
    cgroup = host.cgroup_roots()[0] / "slipway-foreign"
    with ExitStack() as undo:
        sleeper = undo.enter_context(subprocess.Popen(["sleep", "600"]))
        undo.callback(sleeper.kill)
        for folder_of in (mount, cgroup):
            folder_of.mkdir()
            undo.callback(folder_of.rmdir)
        for make, remove in foreign_commands(mount):
            run(*make)
            undo.callback(run, *remove)
        for file in files:
            undo.callback(remove_with_folders, file)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("somebody else's")
        yield missing
        missing += [] if sleeper.poll() is None else ["process"]
        missing += [] if mount in host.mounts([mount]) else ["mount"]
        missing += [str(path) for path in (*files, cgroup) if not path.exists()]
        missing += [] if TABLE in run("nft", "list", "tables") else ["table"]
        missing += [] if BRIDGE in run("ip", "-o", "link") else ["bridge"]


def foreign_commands(mount: Path) -> list[tuple[list[str], list[str]]]:
    """Commands that make something, each with the one that removes it."""
    table, link = TABLE.split(), ["ip", "link"]
    return [
        (["nft", "add", "table", *table], ["nft", "delete", "table", *table]),
        ([*link, "add", BRIDGE, "type", "bridge"], [*link, "delete", BRIDGE]),
        (["mount", "-t", "tmpfs", "foreign", str(mount)], ["umount", str(mount)]),
    ]


def remove_with_folders(file: Path) -> None:
    """Remove the file, and the folders above that are empty then."""
    file.unlink(missing_ok=True)
    for folder in file.parents:
        with suppress(OSError):
            folder.rmdir()
            continue
        return
