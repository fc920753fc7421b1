"""Builds the images of more engines, for their own suite of tests, each only when its inputs have changed.

Run by `make engine-images`: `python3 -m hack.images.engine_images [NAME|all]…`. Prints a line for each
(name, reference, digest, archive) and writes .cluster/engine-images.json. Each engine has a Dockerfile of its
own, so that a change to one builds that one. Standard library only; needs what build.py needs.
"""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hack.hub.cache import cache_root, key_of
from hack.images import build
from hack.images.base import SUITE, base_image
from hack.images.buildah import Buildah, BuildError
from hack.images.settings import read_settings, write_secrets

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hack.images.build import Image
    from hack.images.settings import Settings

FILES = "hack/images/engines"
COMMON = (f"{FILES}/dockerignore", "hack/images/base.py", "hack/images/steps")
RECORD = "engine-images.json"
SHOP = "engine-images"  # in the cache, with a store of its own: `make images` never waits for them
GO_SETTINGS = ("GOPROXY", "GOSUMDB", "GOPRIVATE", "GONOPROXY", "GONOSUMDB", "GOINSECURE")


@dataclass(frozen=True)
class Engine:
    """An engine's image: what it is made of, and the stage of the main Dockerfile that it is built on.

    One that is built on a stage shares its layers with the images of `make images`: it lies in their store.
    """

    inputs: tuple[str, ...]
    stage: str = ""


ENGINES = {
    "vllm": Engine(("requirements/vllm.txt", f"{FILES}/vllm_finish.py")),
    "transformers": Engine(
        ("requirements/transformers.txt", "runtime/slipway_runtime", "Dockerfile", ".dockerignore",
         "requirements/runtime.txt"),
        stage="runtime-system",
    ),
    "llama-cpp-python": Engine(("requirements/llama-cpp-python.txt",)),
    "ollama": Engine((f"{FILES}/ollama-build",)),
}  # fmt: skip


def main() -> int:
    """Build what the command line names, everything by default."""
    wanted = sys.argv[1:] or ["all"]
    known = {*ENGINES, "all"}
    if not set(wanted) <= known:
        print(f"images: I know {', '.join(sorted(known))}; not {', '.join(sorted(set(wanted) - known))}")
        return 2
    images, failed = {}, False
    try:
        for name in [name for name in ENGINES if {name, "all"} & set(wanted)]:
            images[name] = image_of(name)
    except (BuildError, subprocess.CalledProcessError) as error:
        failed = True
        again = f"remove {cache_root() / SHOP} and run `make engine-images`"
        print(f"{error}\nimages: to start anew, {again}", flush=True)
    build.write_record(images, RECORD)
    for name, image in images.items():
        print(f"{name} {image.ref} {image.digest} {image.archive}")
    return int(failed)


def image_of(name: str) -> Image:
    """Return the image of an engine, from the cache when nothing that it is made of has changed."""
    key = key_of(inputs_of(name))
    folder = cache_root() / ("images" if ENGINES[name].stage else SHOP)
    with build.lock(folder.name):
        return build.cached(folder, name, key) or _make(name, key, folder)


def inputs_of(name: str) -> Iterator[str | Path]:
    """Yield everything that an engine's image is made of."""
    yield platform.machine()
    yield SUITE
    yield from build.files_of(f"{FILES}/{name}.Dockerfile", *COMMON, *ENGINES[name].inputs)


def _make(name: str, key: str, folder: Path) -> Image:
    build.require_tools()
    started = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    stage = ENGINES[name].stage
    tool = Buildah(cache_root() / "buildah" if stage else folder / "buildah", build.PYTHON)
    tool.forget_containers()
    local = f"localhost/slipway-{name}:{key}"
    _build(tool, name, local)
    image = build.pack(tool, local, folder, name, key)
    if stage:
        build.forget_old(name)
    else:
        _forget(tool, local, folder, image)
    size = Path(image.archive).stat().st_size / 1e6
    print(f"images: {name}: {size:.0f} MB packed, {time.monotonic() - started:.0f} s", flush=True)
    return image


def _build(tool: Buildah, name: str, local: str) -> None:
    settings, stage, root = read_settings(), ENGINES[name].stage, build.ROOT
    # Debian's root file system is the one that `make images` makes: one of the two at a time.
    with nullcontext() if stage else build.lock():
        base = base_image(tool, settings, build.steps())
    with tempfile.TemporaryDirectory(prefix="slipway-build-") as folder:
        secrets = _secrets(settings, Path(folder))
        if stage:  # all from its store's layers when `make images` has run
            from_stage = f"localhost/slipway-{stage}:latest"
            tool.build(root, stage, from_stage, {"BASE_IMAGE": base}, secrets, _log(stage))
            base = from_stage
        files = root / FILES
        options = ("--file", f"{files / name}.Dockerfile", "--ignorefile", f"{files / 'dockerignore'}")
        own = Buildah(tool.store, tool.python, options)
        own.build(root, name, local, {"BASE_IMAGE": base}, secrets, _log(name))


def _secrets(settings: Settings, folder: Path) -> dict[str, Path]:
    """Return the files that RUN steps mount: build.py's, and what is set for Go on this machine."""
    secrets = write_secrets(settings, folder, SUITE)
    if shutil.which("go"):
        done = subprocess.run(
            ["go", "env", "-json", *GO_SETTINGS], capture_output=True, text=True, check=True
        )
        secrets["go.env"] = folder / "go.env"
        lines = [f"{key}='{value}'\n" for key, value in json.loads(done.stdout).items() if value]
        secrets["go.env"].write_text("".join(lines))
    return secrets


def _forget(tool: Buildah, local: str, folder: Path, image: Image) -> None:
    """Keep the archive alone: an engine takes gigabytes, and only a new version of it is built again."""
    for part in ("layout", "packed"):
        shutil.rmtree(folder / part, ignore_errors=True)
    tool.output("rmi", local)
    kept = Path(image.archive)
    for archive in folder.glob(f"{kept.name.rpartition('-')[0]}-*.tar"):
        if archive != kept:
            archive.with_suffix(".json").unlink(missing_ok=True)
            archive.unlink()


def _log(name: str) -> Path:
    return build.ROOT / ".cluster" / "log" / f"images-{name}.log"


if __name__ == "__main__":
    sys.exit(main())
