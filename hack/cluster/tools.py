#!/usr/bin/env python3
"""Builds the Go programs of the cluster, each once, into the cache; called by whoever needs one.

``tools.py [NAME…]`` builds and prints paths (without names: all but ``ON_DEMAND``, which only tests need);
``tools.py --go`` prints which Go it uses. A program lies in ``<cache>/bin/<hash of inputs>/<name>``: the
module's go.mod and go.sum, our own sources, the Go version, the architecture and the flags.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

if __package__ in (None, ""):  # run as a script
    sys.path[0] = str(Path(__file__).resolve().parent.parent.parent)

from hack.cluster import layout

SOURCES = Path(__file__).resolve().parent / "tools"
GO_NEEDED = (1, 26, 6)  # what the go.mod files ask for
GO_ELSEWHERE = ("/usr/local/go/bin/go",)  # where Go's own installer puts it, on the PATH or not
GO_INSTALLED = "go/*/go/bin/go"  # below the cache, where bootstrap.sh puts it
PROGRESS_S = 15.0
ON_DEMAND = frozenset({"metrics-server", "kwok", "lws", "registry", "versitygw"})


class BuildError(Exception):
    """A program could not be built; the message holds Go's own words and what to do."""


@dataclass(frozen=True)
class Tool:
    """One program: its package, the module (directory) that pins it, and how to build it."""

    package: str
    module: str = "."
    tags: str = ""
    stamps: tuple[tuple[str, str], ...] = ()

    @property
    def flags(self) -> list[str]:
        """The flags of ``go build``."""
        stamps = "".join(f" -X {name}={value}" for name, value in self.stamps)
        return ["-trimpath", *([f"-tags={self.tags}"] if self.tags else []), f"-ldflags=-s -w{stamps}"]


def _pinned(module: str, directory: str = ".") -> str:
    """The version of a module that go.mod names, such as v1.36.3."""
    found = re.search(
        rf"^\s*{re.escape(module)} (v\S+)", (SOURCES / directory / "go.mod").read_text(), re.MULTILINE
    )
    if not found:
        raise BuildError(f"{SOURCES / directory / 'go.mod'} names no version of {module}")
    return found[1]


def _kubernetes() -> dict[str, Tool]:
    version = _pinned("k8s.io/kubernetes")
    major, minor, _ = version[1:].split(".", 2)
    base = "k8s.io/component-base/version."
    stamps = ((f"{base}gitVersion", version), (f"{base}gitMajor", major), (f"{base}gitMinor", minor))
    names = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy")
    return {name: Tool(f"k8s.io/kubernetes/cmd/{name}", stamps=stamps) for name in names}


def _containerd() -> dict[str, Tool]:
    base = "github.com/containerd/containerd/v2"
    stamps = ((f"{base}/version.Version", _pinned(base, "containerd")),)
    names = ("containerd", "containerd-shim-runc-v2", "ctr")
    return {name: Tool(f"{base}/cmd/{name}", "containerd", "no_btrfs", stamps) for name in names}


def catalogue() -> dict[str, Tool]:
    """All programs by name."""
    helm = (("helm.sh/helm/v4/internal/version.version", _pinned("helm.sh/helm/v4")),)
    return {
        **_kubernetes(),
        **_containerd(),
        "helm": Tool("helm.sh/helm/v4/cmd/helm", stamps=helm),
        "coredns": Tool("./coredns"),
        "volumes": Tool("./volumes"),
        "metrics-server": Tool("sigs.k8s.io/metrics-server/cmd/metrics-server"),
        "kwok": Tool("sigs.k8s.io/kwok/cmd/kwok", "kwok"),
        "lws": Tool("sigs.k8s.io/lws/cmd", "lws"),
        "registry": Tool("./registry", "registry"),
        "versitygw": Tool("github.com/versity/versitygw/cmd/versitygw", "versitygw"),
    }


def go() -> tuple[str, str]:
    """A Go that is new enough, and its version; raises BuildError when there is none."""
    candidates = [shutil.which("go"), *GO_ELSEWHERE, *layout.cache_root().glob(GO_INSTALLED)]
    for candidate in candidates:
        if not candidate or not Path(candidate).exists():
            continue
        said = subprocess.run([candidate, "env", "GOVERSION"], capture_output=True, text=True, check=False)
        numbers = tuple(int(part) for part in re.findall(r"\d+", said.stdout)[:3])
        if numbers >= GO_NEEDED:
            return str(candidate), said.stdout.strip()
    needed = ".".join(map(str, GO_NEEDED))
    raise BuildError(f"no Go {needed} or later here: run hack/bootstrap.sh, which installs one")


def environment(go_path: str) -> dict[str, str]:
    """Go's environment for a build: static programs, this toolchain; all else as the machine has it set."""
    return {
        **os.environ,
        "CGO_ENABLED": "0",
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
        "PATH": f"{Path(go_path).parent}:{os.environ.get('PATH', '')}",
    }


def key(tool: Tool, version: str, machine: str) -> str:
    """The hash of everything that decides what the program is (16 hex digits)."""
    digest = hashlib.sha256(f"{version} {machine} {tool.package} {tool.flags}".encode())
    folder = SOURCES / tool.module
    own = sorted((folder / tool.package).glob("*.go")) if tool.package.startswith("./") else []
    for path in [folder / "go.mod", folder / "go.sum", *own]:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def locate(names: Iterable[str], version: str) -> dict[str, Path]:
    """Where each program lies or will lie in the cache."""
    machine = f"{os.uname().machine} {os.environ.get('GOAMD64', '')}{os.environ.get('GOARM64', '')}"
    known = catalogue()
    return {name: layout.cache_root() / "bin" / key(known[name], version, machine) / name for name in names}


def ensure(names: Iterable[str]) -> dict[str, Path]:
    """Build what is missing; returns each program's path. Raises BuildError."""
    go_path, version = go()
    paths = locate(names, version)
    if all(path.exists() for path in paths.values()):
        return paths
    with building():
        missing = [name for name, path in paths.items() if not path.exists()]  # another may have built some
        for batch in batches(missing):
            build(batch, {name: paths[name] for name in batch}, go_path)
    return paths


@contextmanager
def building() -> Iterator[None]:
    """Only one build at a time on this machine: a second would compile the same packages again."""
    root = layout.cache_root()
    root.mkdir(parents=True, exist_ok=True)
    with (root / "build.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("waiting for another build on this machine", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def batches(names: Iterable[str]) -> list[list[str]]:
    """The programs grouped by module and flags: one ``go build`` each."""
    known, groups = catalogue(), dict[tuple[str, ...], list[str]]()
    for name in names:
        tool = known[name]
        groups.setdefault((tool.module, *tool.flags), []).append(name)
    return list(groups.values())


def build(names: list[str], paths: Mapping[str, Path], go_path: str) -> None:
    """Compile one batch beside its place and move it there, with a line of progress every 15 s."""
    tool = catalogue()[names[0]]
    packages = [catalogue()[name].package for name in names]
    root = layout.cache_root() / "bin"
    root.mkdir(parents=True, exist_ok=True)
    for left in root.glob(".building-*"):  # of a build that was killed: this one has the lock
        shutil.rmtree(left)
    print(f"building {', '.join(names)}", flush=True)
    with tempfile.TemporaryDirectory(dir=root, prefix=".building-") as beside:
        # No stamp of the checkout's commit: git refuses to name it where another user owns the checkout.
        command = [go_path, "build", "-v", "-buildvcs=false", *tool.flags, "-o", f"{beside}/", *packages]
        compile_all(command, SOURCES / tool.module, go_path)
        for name in names:
            built = Path(beside) / Path(catalogue()[name].package).name  # Go names it, not we
            paths[name].parent.mkdir(exist_ok=True)
            built.replace(paths[name])


def compile_all(command: list[str], folder: Path, go_path: str) -> None:
    """Run ``go build -v`` and count the packages that it compiles."""
    started = said = time.monotonic()
    lines: list[str] = []
    count = 0
    with subprocess.Popen(
        command, cwd=folder, env=environment(go_path), stderr=subprocess.PIPE, text=True
    ) as child:
        for line in child.stderr or ():
            lines = [*lines[-30:], line.rstrip()]
            count += not line.startswith(("go: ", "#"))
            now = time.monotonic()
            if now - said > PROGRESS_S:
                said = now
                print(f"  {count} packages compiled, {now - started:.0f} s, now {line.strip()}", flush=True)
    if child.returncode:
        raise BuildError("\n".join([*lines, "go build failed: see above; is the Go module proxy reachable?"]))
    print(f"  {count} packages compiled in {time.monotonic() - started:.0f} s", flush=True)


def main(names: list[str]) -> int:
    """Command line; returns the process's exit status."""
    if names == ["--go"]:
        print(go()[0])
        return 0
    unknown = set(names) - set(catalogue())
    if unknown:
        print(f"no such tool: {', '.join(sorted(unknown))}; known: {', '.join(catalogue())}", file=sys.stderr)
        return 2
    try:
        paths = ensure(names or [name for name in catalogue() if name not in ON_DEMAND])
    except BuildError as error:
        print(error, file=sys.stderr)
        return 1
    for path in paths.values():
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
