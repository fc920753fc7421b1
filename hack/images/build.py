"""Builds the container images, each only when something that it is made of has changed.

Run by `make images`: `python3 -m hack.images.build [NAME|all]…`, base and the names below. Prints a line for
each (name, reference, digest, archive) and writes .cluster/images.json. Standard library only; needs root and
Debian's mmdebstrap, buildah, skopeo and zstd.
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hack.hub.cache import cache_root, key_of
from hack.images import archive as archives
from hack.images.base import SUITE, base_image
from hack.images.buildah import Buildah, BuildError
from hack.images.pulse import Pulse
from hack.images.settings import read_settings, write_secrets

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
VERSION = "0.1.0"
REPOSITORY = "docker.io/slipway"
VERSION_FILE = "/usr/share/slipway/llamacpp-version"
LLAMACPP_LABEL = "dev.slipway.llamacpp.version"
# What each image is made of, beside the Dockerfile and the steps.
INPUTS = {
    "llamacpp": (),
    "operator": ("pyproject.toml", "README.md", "LICENSE", "operator", "runtime", "requirements/operator.txt",
                 "requirements/operator.wheel.txt"),
    "runtime": ("runtime/slipway_runtime", "requirements/runtime.txt"),
    "optimizer": ("runtime/slipway_runtime", "requirements/optimizer.txt"),
}  # fmt: skip
PYTHON = "3.14"  # what requirements/ of the images are locked for, as hack/lock.sh says
KEPT = 3  # archives of a target that stay in the cache
KEPT_ROOTS = 2  # Debian root file systems: the one in use, and the one before a change
TOOLS = ("buildah", "mmdebstrap", "skopeo", "zstd")  # programs; the Debian packages have the same names


@dataclass(frozen=True)
class Image:
    """A built image: its reference, its manifest's digest, and the OCI archive's path."""

    ref: str
    digest: str
    archive: str


def main() -> int:
    """Build what the command line names, everything by default."""
    wanted = sys.argv[1:] or ["all"]
    known = {*INPUTS, "base", "all"}
    if not set(wanted) <= known:
        print(f"images: I know {', '.join(sorted(known))}; not {', '.join(sorted(set(wanted) - known))}")
        return 2
    targets = [name for name in INPUTS if {name, "all"} & set(wanted)]
    try:
        with lock():
            if "base" in wanted:
                require_tools()
                print(base_image(_buildah(), read_settings(), steps()))
            images = {target: build_image(target) for target in targets}
    except (BuildError, subprocess.CalledProcessError) as error:
        print(
            f"{error}\nimages: to start anew, remove {cache_root()}/buildah and run `make images`", flush=True
        )
        return 1
    for target, image in images.items():
        print(f"{target} {image.ref} {image.digest} {image.archive}")
    write_record(images)
    return 0


def build_image(target: str) -> Image:
    """Return the image of a target, from the cache when nothing that it is made of has changed."""
    key = key_of(_inputs(target))
    folder = cache_root() / "images"
    if image := cached(folder, target, key):
        return image
    require_tools()
    started = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    local = f"localhost/slipway-{target}:{key}"
    _buildah().forget_containers()
    _build(target, local)
    image = pack(_buildah(), local, folder, target, key)
    forget_old(target)
    size = Path(image.archive).stat().st_size / 1e6
    print(f"images: {target}: {size:.0f} MB packed, {time.monotonic() - started:.0f} s", flush=True)
    return image


def cached(folder: Path, target: str, key: str) -> Image | None:
    """Return the image of that key if its archive lies in the folder."""
    record = folder / f"{target}-{key}.json"
    if record.is_file() and record.with_suffix(".tar").is_file():
        return Image(**json.loads(record.read_text()))
    return None


def pack(tool: Buildah, local: str, folder: Path, target: str, key: str) -> Image:
    """Write the store's image `local` as an archive into the folder, and the record that makes it count."""
    name = f"{REPOSITORY}/{target}:{VERSION}"
    archive, record = (folder / f"{target}-{key}.{suffix}" for suffix in ("tar", "json"))
    with Pulse(f"images: {target}") as pulse:
        pulse.say(f"images: {target}: packing layers")
        tool.copy_out(local, folder / "layout", f"{target}-{key}")
        digest = archives.write_archive(folder / "layout", f"{target}-{key}", name, archive)
    image = Image(name, digest, str(archive))
    partial = record.with_suffix(".json.partial")
    partial.write_text(json.dumps(asdict(image)))
    partial.rename(record)
    return image


def forget_old(target: str) -> None:
    """Keep the newest archives of a target: each change of its code makes one."""
    archives_of = sorted(
        (cache_root() / "images").glob(f"{target}-*.tar"), key=lambda path: path.stat().st_mtime, reverse=True
    )
    for archive in archives_of[KEPT:]:
        archive.with_suffix(".json").unlink(missing_ok=True)
        archive.unlink()
        local = f"localhost/slipway-{target}:{archive.stem.rpartition('-')[2]}"
        if _buildah().has(local):
            _buildah().output("rmi", local)
    folder = cache_root() / "images"
    roots = sorted(folder.glob("root-*.tar"), key=lambda path: path.stat().st_mtime, reverse=True)
    for root in roots[KEPT_ROOTS:]:
        root.unlink()
    archives.prune(folder / "layout", {record.stem for record in folder.glob("*.json")})


def _build(target: str, local: str) -> None:
    tool, settings = _buildah(), read_settings()
    base = base_image(tool, settings, steps())
    log = ROOT / ".cluster" / "log" / f"images-{target}.log"
    with tempfile.TemporaryDirectory(prefix="slipway-build-") as folder:
        secrets = write_secrets(settings, Path(folder), SUITE)
        tool.build(ROOT, target, local, {"BASE_IMAGE": base}, secrets, log)
    if target != "operator":
        _label_llamacpp(tool, local)


def _label_llamacpp(tool: Buildah, local: str) -> None:
    """Say in a label which llama.cpp Debian's suite had: it moves on, so only the built image knows."""
    container = tool.output("from", "--pull-never", local)
    try:
        version = (Path(tool.output("mount", container)) / VERSION_FILE.lstrip("/")).read_text().strip()
        tool.output("config", "--label", f"{LLAMACPP_LABEL}={version}", container)
        tool.output("commit", "--quiet", container, local)
    finally:
        tool.output("rm", container)


def _inputs(target: str) -> Iterator[str | Path]:
    yield platform.machine()
    yield SUITE
    yield from files_of(
        "Dockerfile", ".dockerignore", "hack/images/base.py", "hack/images/steps", *INPUTS[target]
    )


def files_of(*names: str) -> Iterator[str | Path]:
    """Yield name and path of each file under the checkout's named files and folders, for a key."""
    for name in names:
        path = ROOT / name
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file() and "__pycache__" not in file.parts and file.suffix != ".pyc":
                yield str(file.relative_to(ROOT))
                yield file


def steps() -> list[Path]:
    """Return the scripts that RUN steps mount."""
    return sorted((ROOT / "hack/images/steps").iterdir())


def _buildah() -> Buildah:
    return Buildah(cache_root() / "buildah", PYTHON)


def require_tools() -> None:
    """Raise BuildError with what to do where images can't be built."""
    if os.geteuid() != 0:
        raise BuildError("images: building needs root: run make as root, or use Docker with the Dockerfile")
    missing = [program for program in TOOLS if not shutil.which(program)]
    if missing:
        raise BuildError(f"images: missing programs: apt-get install {' '.join(missing)}")


def write_record(images: dict[str, Image], name: str = "images.json") -> None:
    """Merge the images into a list in .cluster; the cluster and the chart's values read images.json."""
    file = ROOT / ".cluster" / name
    file.parent.mkdir(exist_ok=True)
    known = json.loads(file.read_text()) if file.is_file() else {}
    partial = file.with_suffix(".partial")
    partial.write_text(json.dumps(known | {name: asdict(image) for name, image in images.items()}, indent=2))
    partial.rename(file)


@contextmanager
def lock(name: str = "images") -> Iterator[None]:
    """Let one build at a time use the store; `name` is the cache's folder of its archives."""
    path = cache_root() / name / ".lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    sys.exit(main())
