"""The machine's own apt, pip and certificate settings, as files that image builds mount and never keep.

Called by base.py and build.py. Standard library only. Proxies need nothing here: buildah hands them on.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path

MOUNT = "/run/secrets"
# What a build needs of `apt-config dump`: how to reach the archive and what to accept from it.
APT_KEYS = re.compile(r"^Acquire::(Check-|Retries|Max-|Force|https?(::|\s))")
PIP_KEYS = ("index-url", "extra-index-url", "trusted-host", "default-timeout", "timeout", "proxy", "retries")
CA_VARIABLES = ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
CA_FILE = Path("/etc/ssl/certs/ca-certificates.crt")


@dataclass(frozen=True)
class Settings:
    """`mirror` is the Debian archive that this machine uses, None for the tool's own default."""

    mirror: str | None
    apt: tuple[str, ...]  # lines of an apt.conf
    pip: tuple[tuple[str, str], ...]
    ca: Path | None
    apt_auth: str


def read_settings() -> Settings:
    """Read what is in force on this machine; what is not installed counts as unset."""
    bundle = next((os.environ[name] for name in CA_VARIABLES if os.environ.get(name)), None)
    ca = Path(bundle) if bundle else CA_FILE
    return Settings(
        mirror=_debian_mirror(),
        apt=tuple(line for line in _lines("apt-config", "dump", "Acquire") if APT_KEYS.match(line)),
        pip=tuple(sorted(_pip_settings().items())),
        ca=ca if ca.is_file() else None,
        apt_auth="".join(path.read_text() for path in sorted(Path("/etc/apt/auth.conf.d").glob("*.conf"))),
    )


def write_secrets(settings: Settings, folder: Path, suite: str) -> dict[str, Path]:
    """Write the files that RUN steps mount under /run/secrets, and return them by name."""
    files = {"apt.conf": "".join(f"{line}\n" for line in _inside(settings.apt))}
    if settings.mirror:
        files["apt.list"] = f"deb {settings.mirror} {suite} main\n"
        files["apt.conf"] += f'Dir::Etc::SourceList "{MOUNT}/apt.list";\nDir::Etc::SourceParts "/dev/null";\n'
    if settings.apt_auth:
        files["apt.auth"] = settings.apt_auth
        files["apt.conf"] += f'Dir::Etc::netrc "{MOUNT}/apt.auth";\n'
    pip = "[global]\n" + "".join(f"{key} = {value}\n" for key, value in settings.pip)
    if settings.ca:
        files["ca.crt"] = settings.ca.read_text()
        files["apt.conf"] += f'Acquire::https::CAInfo "{MOUNT}/ca.crt";\n'
        pip += f"cert = {MOUNT}/ca.crt\n"
    files["pip.conf"] = pip
    for name, content in files.items():
        (folder / name).write_text(content)
    return {name: folder / name for name in files}


def _inside(apt: tuple[str, ...]) -> list[str]:
    """Leave out what names files of this machine; ca.crt takes their place."""
    return [line for line in apt if "CAInfo" not in line and "CAPath" not in line]


def _debian_mirror() -> str | None:
    """Return the archive's address that apt uses for Debian's main packages, not for security updates."""
    wanted = (
        "indextargets",
        "--format",
        "$(ORIGIN)|$(COMPONENT)|$(SUITE)|$(REPO_URI)",
        "Created-By: Packages",
    )
    for line in _lines("apt-get", *wanted):
        origin, component, suite, address = line.split("|", 3)
        if origin == "Debian" and component == "main" and "security" not in suite:
            return address
    return None


def _pip_settings() -> dict[str, str]:
    found: dict[str, str] = {}
    for line in _lines("python3", "-m", "pip", "config", "list"):
        name, _, value = line.partition("=")
        key = name.split(".")[-1]
        if key in PIP_KEYS:
            found[key] = " ".join(shlex.split(value))
    return found


def _lines(*command: str) -> list[str]:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return []
    return done.stdout.splitlines() if done.returncode == 0 else []
