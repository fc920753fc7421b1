"""Asks a program of the cluster whether it is ready; called by whoever starts one."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import struct
import time
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hack.cluster import pki

PAUSE_S = 0.1
TIMEOUT_S = 2.0


class NotReadyError(Exception):
    """A program did not become ready in time; the message names it, its log and its last lines."""


@dataclass(frozen=True)
class Client:
    """Speaks HTTPS to the cluster as one identity, without the environment's proxies."""

    directory: Path
    identity: str = "admin"

    def _context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.directory / "ca.crt"))
        files = pki.pair(self.directory, self.identity)
        context.load_cert_chain(files.cert, files.key)
        return context

    def request(
        self,
        method: str,
        url: str,
        body: bytes | None = None,
        *,
        kind: str = "application/json",
        timeout: float = TIMEOUT_S,
    ) -> tuple[int, bytes]:
        """One request; returns status and body. Raises OSError when nobody answers."""
        parts = urllib.parse.urlsplit(url)
        if not parts.hostname:
            raise ValueError(f"{url} names no host")
        where, port = parts.hostname, parts.port
        connection: http.client.HTTPConnection = (
            http.client.HTTPSConnection(where, port, timeout=timeout, context=self._context())
            if parts.scheme == "https"
            else http.client.HTTPConnection(where, port, timeout=timeout)
        )
        try:
            path = f"{parts.path}?{parts.query}" if parts.query else parts.path
            connection.request(method, path, body, {"Content-Type": kind, "Accept": "application/json"})
            answer = connection.getresponse()
            return answer.status, answer.read()
        except http.client.HTTPException as error:
            raise OSError(f"{url}: {error!r}") from error
        finally:
            connection.close()

    def get(self, url: str) -> dict[str, Any]:
        """The JSON object at the URL; raises OSError when it can't be had."""
        status, body = self.request("GET", url, timeout=10)
        if status != http.client.OK:
            raise OSError(f"GET {url}: {status} {body[:300].decode(errors='replace')}")
        found: dict[str, Any] = json.loads(body)
        return found

    def ready(self, url: str) -> bool:
        """Whether the URL answers 200 now."""
        try:
            return self.request("GET", url)[0] == http.client.OK
        except OSError:
            return False


def resolves(server: str, name: str) -> bool:
    """Whether the DNS server answers with an address for the name (RFC 1035, one question over UDP)."""
    header = struct.pack("!6H", 1, 0x0100, 1, 0, 0, 0)  # id 1, recursion desired, one question
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    question = labels + b"\0" + struct.pack("!2H", 1, 1)  # type A, class IN
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        link.settimeout(1.0)
        try:
            link.sendto(header + question, (server, 53))
            answer = link.recv(4096)
        except OSError:
            return False
    code, answers = answer[3] & 0xF, int.from_bytes(answer[6:8], "big")
    return code == 0 and answers > 0


def tail(log: Path, lines: int = 8) -> str:
    """The last lines of a log, indented, for an error message."""
    try:
        text = log.read_text(errors="replace")
    except OSError:
        return "    (no log)"
    return "\n".join(f"    {line[:300]}" for line in text.splitlines()[-lines:]) or "    (empty log)"


def wait(
    what: str, ready: Callable[[], bool], seconds: float, explain: Callable[[], str] = lambda: ""
) -> float:
    """Wait until it is ready; returns the seconds that it took, raises NotReadyError after the limit."""
    started = time.monotonic()
    while not ready():
        if time.monotonic() - started > seconds:
            raise NotReadyError(f"{what} was not ready after {seconds:.0f} s\n{explain()}")
        time.sleep(PAUSE_S)
    return time.monotonic() - started
