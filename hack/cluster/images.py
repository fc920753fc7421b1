"""Puts images into the node's container runtime; called by cluster.py and by whoever builds an image.

An archive is an OCI archive as ``buildah push IMAGE oci-archive:FILE:NAME`` writes it. Both NAME:TAG and
NAME@DIGEST then resolve on the node without a registry.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from hack.cluster import layout, node

NAMESPACE = "k8s.io"  # where the kubelet looks
REF = "org.opencontainers.image.ref.name"
CONTAINERD_NAME = "io.containerd.image.name"


class ImageError(Exception):
    """An image could not be read, built or imported; the message says which and what to do."""


@dataclass(frozen=True)
class Image:
    """One image of an archive: its repository, tag and manifest digest."""

    repository: str
    tag: str
    digest: str

    @property
    def tagged(self) -> str:
        """``repository:tag``."""
        return f"{self.repository}:{self.tag}"

    @property
    def pinned(self) -> str:
        """``repository@digest``."""
        return f"{self.repository}@{self.digest}"


def split(reference: str) -> tuple[str, str]:
    """Repository (with its host) and tag of a reference, as Docker's rules complete it."""
    name, _, tag = reference.rpartition(":")
    if not name or "/" in tag:
        name, tag = reference, "latest"
    first = name.split("/", 1)[0]
    if "/" not in name:
        name = f"docker.io/library/{name}"
    elif "." not in first and ":" not in first and first != "localhost":
        name = f"docker.io/{name}"
    return name, tag


def read(archive: Path, name: str = "") -> list[Image]:
    """The images of an archive; ``name`` where the archive does not say it. Raises ImageError."""
    try:
        with tarfile.open(archive) as tar:
            index = tar.extractfile("index.json")
            entries = json.load(index)["manifests"] if index else []
    except (OSError, tarfile.TarError, KeyError, ValueError) as error:
        raise ImageError(f"{archive} is no OCI archive ({error}): build it again") from error
    found = []
    for entry in entries:
        notes = entry.get("annotations") or {}
        reference = name or notes.get(CONTAINERD_NAME) or notes.get(REF, "")
        if "/" not in reference:
            raise ImageError(f"{archive} names no repository ({reference!r}): load it with --name")
        found.append(Image(*split(reference), entry["digest"]))
    return found


@dataclass(frozen=True)
class Store:
    """The node's images, through containerd's own client."""

    ctr: Path

    def _run(self, *arguments: str) -> str:
        command = [str(self.ctr), f"--address={layout.NODE.socket}", f"--namespace={NAMESPACE}", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ImageError(f"ctr {' '.join(arguments)}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def present(self) -> dict[str, str]:
        """Every image's manifest digest by its name."""
        rows = [line.split() for line in self._run("images", "ls").splitlines()[1:]]
        return {row[0]: row[2] for row in rows if len(row) > 2}  # noqa: PLR2004 - name, media type, digest

    def load(self, archive: Path, name: str = "") -> list[tuple[Image, bool]]:
        """Import what is not there yet; returns the archive's images and whether each was imported now."""
        results = []
        for image in read(archive, name):
            present = self.present()
            names = (image.tagged, image.pinned)
            if all(present.get(each) == image.digest for each in names):
                results.append((image, False))
                continue
            if present.get(image.pinned) != image.digest:
                base = f"--base-name={image.repository}"
                self._run("images", "import", "--local", "--digests", base, str(archive))
            self._run("images", "tag", "--local", "--force", image.pinned, image.tagged)
            results.append((image, True))
        return results


def cached(name: str, contents: Mapping[str, Path], settings: Iterable[str]) -> Path:
    """Where the image's archive lies in the cache, by the hash of everything it is made of."""
    digest = hashlib.sha256(f"{name} {list(settings)} {os.uname().machine}".encode())
    for inside, outside in sorted(contents.items()):
        digest.update(inside.encode() + outside.read_bytes())
    return layout.cache_root() / "images" / f"{digest.hexdigest()[:16]}.tar"


def build(name: str, contents: Mapping[str, Path], settings: Iterable[str]) -> Path:
    """An image of nothing but the given files (path inside → file); returns its cached archive.

    ``settings`` are arguments of ``buildah config``, such as ``--entrypoint``.
    """
    settings = list(settings)
    archive = cached(name, contents, settings)
    if not archive.exists():
        archive.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=archive.parent, prefix=".building-") as beside:
            _buildah(name, contents, settings, Path(beside))
            (Path(beside) / "image.tar").replace(archive)
    return archive


def _buildah(name: str, contents: Mapping[str, Path], settings: list[str], beside: Path) -> None:
    tree = beside / "tree"
    for inside, outside in contents.items():
        target = tree / inside.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(outside, target)
        target.chmod(0o755)
    storage = ["buildah", f"--root={beside / 'root'}", f"--runroot={beside / 'run'}", "--storage-driver=vfs"]
    steps = (
        ["from", "--name=made", "scratch"],
        ["copy", "made", str(tree), "/"],
        ["config", *settings, "made"],
        ["commit", "--timestamp=0", "made", f"oci-archive:{beside / 'image.tar'}:{name}"],
        ["rm", "made"],
    )
    for step in steps:
        environment = {**os.environ, "BUILDAH_ISOLATION": "chroot"}
        done = subprocess.run([*storage, *step], capture_output=True, text=True, check=False, env=environment)
        if done.returncode:
            raise ImageError(f"building {name}: buildah {step[0]}: {done.stderr.strip()}")


def pause() -> Path:
    """The archive of the image that holds a pod's namespaces; Debian's static init does it."""
    init = Path("/usr/bin/catatonit")
    if not init.exists():
        raise ImageError("catatonit is missing: run hack/bootstrap.sh (or: apt-get install catatonit)")
    # The kubelet starts sandboxes as they are, any user; catatonit -P only waits.
    return build(
        node.SANDBOX_IMAGE, {"/catatonit": init}, ['--entrypoint=["/catatonit","-P"]', "--user=65535"]
    )


def coredns(binary: Path, name: str) -> Path:
    """The archive of the cluster's DNS server."""
    return build(name, {"/coredns": binary}, ['--entrypoint=["/coredns"]', "--user=65532"])
