"""The stages' processes in their pods on this node: found, watched, killed in the middle of their work."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hack.cluster import host, layout
from tests.cluster.namespaces import Cluster

KILLED = 137
APPEAR_S = 180
CALM_S, WATCH_S = 0.05, 0.002
"""Between looks: for a pod and its process, and at what the process does; a stage's work may take 0.1 s."""
CONNECTED = re.compile(r":[0-9A-F]{4} [0-9A-F]{8}:(?!0000)[0-9A-F]{4} 01 ")
"""A row of /proc/net/tcp of an established connection."""
QUALITIES = ("burstable", "besteffort", "")


@dataclass(frozen=True)
class Stage:
    """A stage to kill: of which level (empty: of the deployment itself), and when it is in its work."""

    name: str
    level: str
    due: Callable[[Path, list[Path]], bool]

    def selector(self, cluster: Cluster, model: str) -> str:
        """Selects the stage's pods; waits until the artifact has a name."""
        of = f"artifact={artifact_of(cluster, self.level)}" if self.level else f"model={model}"
        return f"slipway.dev/{of},slipway.dev/stage={self.name}"


def in_work(process: Path, _all: list[Path]) -> bool:
    """The tool has begun to write its file."""
    return any(path.stat().st_size for path in (process / "root/store").glob("work/.model.gguf.tmp"))


def fetched(process: Path) -> int:
    """Bytes that the process has on the disk of what it downloads."""
    return sum(path.stat().st_size for path in (process / "root/store").glob("partial/*.part"))


def measuring(_process: Path, everything: list[Path]) -> bool:
    """llama-perplexity runs: it has nothing but the file that it reads open."""
    return any(b"llama-perplexity" in command(each) for each in everything)


def publishing(process: Path, _all: list[Path]) -> bool:
    """What is to be published is being put together."""
    return (process / "root/store/.publishing").is_dir()


def asking(process: Path, _all: list[Path]) -> bool:
    """The process is connected to the hub; a pod's network is its own."""
    return bool(CONNECTED.search((process / "net/tcp").read_text()))


def loading(process: Path, everything: list[Path]) -> bool:
    """The load tool is connected to the model."""
    return any(b"guidellm" in command(each) for each in everything) and asking(process, everything)


def command(process: Path) -> bytes:
    """The process's command line; empty when it has ended."""
    with suppress(OSError):
        return (process / "cmdline").read_bytes()
    return b""


def processes(pod: dict[str, Any]) -> list[Path]:
    """The processes of a pod of this node, as folders of /proc."""
    pods = next(
        root / layout.CGROUP / "kubepods" for root in host.cgroup_roots() if (root / layout.CGROUP).exists()
    )
    found: list[Path] = []
    for quality in QUALITIES:
        for listing in (pods / quality / f"pod{pod['metadata']['uid']}").glob("**/cgroup.procs"):
            with suppress(OSError):  # the pod has ended meanwhile
                found += [Path("/proc", line) for line in listing.read_text().split()]
    return found


def stage_process(everything: list[Path]) -> Path | None:
    """The stage's own process among those of its pod."""
    return next((each for each in everything if b"/slipway-runtime\0" in command(each)), None)


def running_pod(cluster: Cluster, selector: str) -> dict[str, Any]:
    """The pod of the selector that has not ended; waits for one."""

    def newest() -> dict[str, Any] | None:
        pods = [
            pod for pod in cluster.list("pods", selector) if pod["status"]["phase"] in ("Pending", "Running")
        ]
        return pods[0] if pods else None

    return dict(cluster.wait(f"a pod of {selector}", newest, APPEAR_S))


def work_begun(
    cluster: Cluster, selector: str, due: Callable[[Path, list[Path]], bool]
) -> tuple[str, Path | None]:
    """Wait until the stage is in the middle of its work; its pod's name and process (None: it has ended)."""
    pod = running_pod(cluster, selector)
    name, seen, limit = str(pod["metadata"]["name"]), False, time.monotonic() + APPEAR_S
    while time.monotonic() < limit:
        everything = processes(pod)
        process = stage_process(everything)
        with suppress(FileNotFoundError, ProcessLookupError):  # it ends while it is looked at
            if process and due(process, everything):
                return name, process
        if seen and process is None:
            return name, None
        seen = seen or process is not None
        time.sleep(WATCH_S if seen else CALM_S)
    raise AssertionError(f"{name} has not come to its work\n{cluster.state()}")


def kill_in_the_middle(cluster: Cluster, model: str, stage: Stage) -> bool:
    """Kill the stage with signal 9 while it works; False when it ended before."""
    name, process = work_begun(cluster, stage.selector(cluster, model), stage.due)
    if process is None:
        return False
    with suppress(ProcessLookupError):
        os.kill(int(process.name), signal.SIGKILL)
    return exit_code(cluster, name) == KILLED


def exit_code(cluster: Cluster, pod: str) -> int:
    """How the pod's container ended."""

    def ended() -> list[int]:
        statuses = cluster.get("pods", pod)["status"].get("containerStatuses", [])
        return [s["state"]["terminated"]["exitCode"] for s in statuses if "terminated" in s["state"]]

    return int(cluster.wait(f"the end of {pod}", ended, 60)[0])


def level_of(artifact: dict[str, Any]) -> str:
    """The artifact's level; ``source`` for the download."""
    return str(artifact["spec"]["recipe"].get("level", "source"))


def artifact_of(cluster: Cluster, level: str) -> str:
    """Name of the artifact of that level, once it exists."""

    def named() -> str:
        found = [one for one in cluster.list("mart") if level_of(one) == level]
        return str(found[0]["metadata"]["name"]) if found else ""

    return str(cluster.wait(f"the artifact {level}", named, 120))


def digests(cluster: Cluster) -> dict[str, str]:
    """Digest of each whole artifact by its level.

    Asserts that nothing serves before all artifacts are whole.
    """
    serving = cluster.list("deploy")  # first: what serves now had whole artifacts before
    artifacts = cluster.list("mart")
    whole = {}
    for artifact in artifacts:
        status = artifact.get("status", {})
        if any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions", [])):
            whole[level_of(artifact)] = str(status["digest"])
    assert not serving or len(whole) == len(artifacts), cluster.state()
    return whole
