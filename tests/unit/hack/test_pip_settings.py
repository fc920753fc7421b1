"""uv gets what the machine has set for pip, and a pip that can't say it is no silent end."""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
SETTINGS = r"""global.index-url='https://a.example/simple'
global.extra-index-url='\nhttps://b.example\nhttps://c.example'
:env:.trusted-host='a.example'
global.timeout='60.5'
global.proxy='http://proxy.example:3128'
install.find-links='/wheels'
"""


def exported(folder: Path, script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    python = folder / "python"
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    (folder / "settings").write_text(SETTINGS)
    program = f"set -euo pipefail; source hack/pip-settings.sh; pip_settings_for_uv {python}; env"
    return subprocess.run(
        ["bash", "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", **environment},
    )


def test_every_setting_reaches_uv(tmp_path: Path) -> None:
    lines = exported(tmp_path, f"cat {tmp_path}/settings").stdout.splitlines()
    assert {
        "UV_DEFAULT_INDEX=https://a.example/simple",
        "UV_INDEX=https://b.example https://c.example",
        "UV_INSECURE_HOST=a.example",
        "UV_HTTP_TIMEOUT=60",
        "UV_FIND_LINKS=/wheels",
        "HTTPS_PROXY=http://proxy.example:3128",
        "HTTP_PROXY=http://proxy.example:3128",
    } <= set(lines)


def test_what_is_set_for_uv_already_stays(tmp_path: Path) -> None:
    done = exported(tmp_path, f"cat {tmp_path}/settings", UV_DEFAULT_INDEX="https://mine.example")
    assert "UV_DEFAULT_INDEX=https://mine.example" in done.stdout.splitlines()


def test_no_settings_are_fine(tmp_path: Path) -> None:
    done = exported(tmp_path, "exit 0")
    assert done.returncode == 0
    assert "UV_" not in done.stdout


def test_a_pip_that_fails_says_so(tmp_path: Path) -> None:
    done = exported(tmp_path, "echo 'bad pip.conf line 3' >&2; exit 1")
    assert done.returncode == 1
    assert "bad pip.conf line 3" in done.stderr
