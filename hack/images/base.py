"""The base image where no registry is at hand: Debian, made by mmdebstrap from the machine's own mirror.

Called by build.py. Elsewhere the Dockerfile's default, the public Debian image, takes its place.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from hack.hub.cache import cache_root, key_of

if TYPE_CHECKING:
    from hack.images.buildah import Buildah
    from hack.images.settings import Settings

SUITE = "forky"  # the first that has llama.cpp-tools
REPOSITORY = "localhost/slipway-base"
# As in Debian's own slim image; and nothing of this machine's apt settings stays.
EXCLUDED = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*")
CLEAN = 'cd "$1/etc" && rm -f apt/sources.list apt/apt.conf.d/99mmdebstrap resolv.conf hostname'


def base_image(tool: Buildah, settings: Settings, steps: list[Path]) -> str:
    """Return the name of the base image in buildah's store, building it once (25 s).

    `steps` are the scripts that RUN steps mount: they are part of its key, because buildah's layer cache
    does not look at what is mounted.
    """
    name = f"{REPOSITORY}:{SUITE}-{key_of([SUITE, *EXCLUDED, CLEAN, Path(__file__), *steps])}"
    if tool.has(name):
        return name
    archive = _root_archive(settings)
    container = tool.output("from", "scratch")
    try:
        tool.output("add", container, str(archive), "/")
        tool.output("config", "--cmd", "/bin/sh", container)
        tool.output("commit", "--quiet", container, name)
    finally:
        tool.output("rm", container)
    return name


def _root_archive(settings: Settings) -> Path:
    key = key_of([SUITE, *EXCLUDED, CLEAN])
    archive = cache_root() / "images" / f"root-{SUITE}-{key}.tar"
    if archive.is_file():
        return archive
    print(f"images: base: Debian {SUITE} by mmdebstrap", flush=True)
    archive.parent.mkdir(parents=True, exist_ok=True)
    partial = archive.with_suffix(".partial.tar")
    options = [f"--aptopt={line}" for line in settings.apt]
    options += [f"--dpkgopt=path-exclude={pattern}" for pattern in EXCLUDED]
    options += ["--dpkgopt=path-include=/usr/share/doc/*/copyright", f"--customize-hook={CLEAN}"]
    mirror = [settings.mirror] if settings.mirror else []
    command = ["mmdebstrap", "--quiet", "--variant=apt", *options, SUITE, str(partial), *mirror]
    subprocess.run(command, check=True)
    partial.rename(archive)
    return archive
