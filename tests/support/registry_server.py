"""The distribution project's registry on loopback, its blobs in a folder. For tests of sources and pushes."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import yaml

from tests.support.host_programs import find_tool, running

USER, PASSWORD = "slipwaytests", "not-a-secret-of-anyone"
HTPASSWD = f"{USER}:$2b$05$slipwaytestsslipwaytee/J86Ji4ebF12x3TrbrYsh1HaCIycmtG\n"
"""bcrypt of the password, which the registry wants; Python's own library has none."""


@dataclass(frozen=True)
class RegistryServer:
    """A running registry.

    Attributes:
        url: its address.
        folder: holds its configuration, its log and its data.
    """

    url: str
    folder: Path

    @property
    def host(self) -> str:
        return self.url.removeprefix("http://")

    def blob(self, digest: str) -> Path:
        """Where a blob lies on the disk."""
        name = digest.removeprefix("sha256:")
        return self.folder / "data/docker/registry/v2/blobs/sha256" / name[:2] / name / "data"

    def sent(self) -> list[tuple[str, str, int, int]]:
        """Return method, path, status and bytes of every request that was answered, in order."""
        found = re.findall(r'"(\w+) (\S+) HTTP/1.1" (\d+) (\d+)', (self.folder / "log").read_text())
        return [(method, path, int(status), int(size)) for method, path, status, size in found]


@contextmanager
def registry_server(
    folder: Path, *, login: bool = False, read_only: bool = False, address: str = ""
) -> Iterator[RegistryServer]:
    """Run a registry for the body, on loopback unless told an address; a folder that has data keeps them."""
    folder.mkdir(parents=True, exist_ok=True)
    if not address:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{free.getsockname()[1]}"
    storage: dict[str, Any] = {"filesystem": {"rootdirectory": str(folder / "data")}}
    storage["maintenance"] = {"readonly": {"enabled": read_only}, "uploadpurging": {"enabled": False}}
    settings: dict[str, Any] = {"version": "0.1", "storage": storage, "http": {"addr": address}}
    settings["log"] = {"level": "warn"}
    if login:
        (folder / "htpasswd").write_text(HTPASSWD)
        settings["auth"] = {"htpasswd": {"realm": "tests", "path": str(folder / "htpasswd")}}
    (folder / "config.yml").write_text(yaml.safe_dump(settings))

    def ready() -> bool:
        with suppress(httpx2.TransportError):
            return httpx2.get(f"http://{address}/v2/").status_code in {200, 401}
        return False

    command = [find_tool("registry", "registry"), "serve", folder / "config.yml"]
    with running(command, folder / "log", ready, OTEL_TRACES_EXPORTER="none"):
        yield RegistryServer(f"http://{address}", folder)
