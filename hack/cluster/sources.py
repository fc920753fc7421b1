"""Where the source of a Go module that a tool is built from lies; called by tests that install its manifests.

A program in the cache does not carry its project's CRDs and webhook configurations: the module does.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from hack.cluster import tools


def folder(module: str, pinned_in: str) -> Path:
    """The unpacked module at the version that the tool's go.mod names; fetched where the machine lacks it.

    Raises:
        BuildError: Go does not get it.
    """
    go_path, _ = tools.go()
    done = subprocess.run(
        [go_path, "mod", "download", "-json", module],
        cwd=tools.SOURCES / pinned_in,
        env=tools.environment(go_path),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise tools.BuildError(f"{module}: {done.stderr or done.stdout}is the Go module proxy reachable?")
    return Path(json.loads(done.stdout)["Dir"])
