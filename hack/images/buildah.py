"""Runs buildah and skopeo with a store of their own under the cache; nothing is needed or left elsewhere.

Called by base.py, build.py and engine_images.py.
"""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hack.images.pulse import Pulse

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

# What apt prints when it has installed the suite's Python.
SUITE_PYTHON = re.compile(r"^Setting up python3 \((\d+\.\d+)")
STEP = re.compile(r"^(\[\d+/\d+\] )?STEP \d+/\d+: (?P<what>.*)")
MOUNT = re.compile(r"--mount=\S+\s+")
SHOWN = 90  # characters of a step that progress shows


class BuildError(Exception):
    """A build step failed; the message names what failed and the log to read."""


@dataclass(frozen=True)
class Buildah:
    """A store of images and layers in `store`.

    `python` is the version that the packages are locked for; `options` are more arguments of `buildah build`.
    """

    store: Path
    python: str = ""
    options: tuple[str, ...] = ()

    def has(self, image: str) -> bool:
        """Tell whether the store holds an image of that name."""
        done = self._run(["images", "--quiet", "--filter", f"reference={image}"])
        return done.returncode == 0 and bool(done.stdout.strip())

    def output(self, *arguments: str) -> str:
        """Run a command and return what it prints; BuildError when it fails."""
        done = self._run(list(arguments))
        if done.returncode:
            raise BuildError(f"buildah {arguments[0]} failed: {done.stderr.strip()}")
        return done.stdout.strip()

    def forget_containers(self) -> None:
        """Unmount and remove what a build that was killed left; only for whoever holds the build's lock."""
        if self.output("containers", "--quiet"):
            self._run(["umount", "--all"])
            self.output("rm", "--all")

    def build(
        self,
        context: Path,
        target: str,
        name: str,
        arguments: Mapping[str, str],
        secrets: Mapping[str, Path],
        log: Path,
    ) -> None:
        """Build a target of the context's Dockerfile; a line for each step, all output in `log`."""
        command = ["build", "--layers", "--pull-never", "--target", target, "--tag", name, *self.options]
        for key, value in arguments.items():
            command += ["--build-arg", f"{key}={value}"]
        for key, path in secrets.items():
            command += ["--secret", f"id={key},src={path}"]
        log.parent.mkdir(parents=True, exist_ok=True)
        status, warnings = self._follow([*command, str(context)], target, log)
        if status:
            tail = "".join(log.read_text().splitlines(keepends=True)[-15:])
            why = "".join(f"\n{warning}" for warning in warnings)
            raise BuildError(f"{tail}\nimages: {target} failed; the whole output: {log}{why}")

    def _follow(self, command: list[str], target: str, log: Path) -> tuple[int, list[str]]:
        """Run a build; returns its exit status and what may be why it fails."""
        warnings: list[str] = []
        with (
            log.open("w") as kept,
            subprocess.Popen(
                self._command(command),
                env=self._environment(),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            ) as process,
            Pulse(f"images: {target}") as pulse,
        ):
            for line in process.stdout or ():
                kept.write(line)
                if warning := self._wrong_python(line):
                    warnings.append(warning)
                    pulse.say(f"images: {target}: {warning}")
                if step := STEP.match(line):
                    pulse.say(f"images: {target}: {MOUNT.sub('', step['what'])[:SHOWN]}")
        return process.returncode, warnings

    def _wrong_python(self, line: str) -> str:
        """What to do when the suite moved on to another Python than the locked packages are for; else ""."""
        found = SUITE_PYTHON.match(line)
        if not found or not self.python or found[1] == self.python:
            return ""
        return (
            f"the packages are locked for Python {self.python}, but this Debian suite has {found[1]}: if the"
            f" build fails, put {found[1]} into hack/lock.sh and hack/images/build.py and run make lock"
        )

    def copy_out(self, image: str, layout: Path, reference: str) -> None:
        """Copy an image to an OCI layout, its layers uncompressed; those that lie there already are skipped.

        By skopeo, because `buildah push` would compress every layer again, 12 s for the biggest image.
        """
        source = f"containers-storage:[overlay@{self.store}/root+{self.store}/run]{image}"
        command = ["skopeo", "copy", "--quiet", "--dest-oci-accept-uncompressed-layers"]
        layout.parent.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            [*command, source, f"oci:{layout}:{reference}"], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise BuildError(f"skopeo copy {image} failed: {done.stderr.strip()}")

    def _run(self, arguments: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self._command(arguments), env=self._environment(), capture_output=True, text=True, check=False
        )

    def _command(self, arguments: list[str]) -> list[str]:
        store = ["--root", str(self.store / "root"), "--runroot", str(self.store / "run")]
        return ["buildah", *store, "--storage-driver", "overlay", *arguments]

    def _environment(self) -> dict[str, str]:
        # chroot: no user or network namespaces are needed, so it works inside a container too.
        return os.environ | {"BUILDAH_ISOLATION": "chroot", "BUILDAH_FORMAT": "oci"}
