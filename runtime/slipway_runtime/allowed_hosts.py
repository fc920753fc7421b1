"""Which hosts models may be fetched from: SLIPWAY_ALLOWED_HOSTS. For sources, before every request.

A comma-separated list; ``hub.example.com`` is that host, ``.example.com`` every host below it. Absent or
empty allows all. Ports do not count.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from slipway_runtime.errors import RequestError

VARIABLE = "SLIPWAY_ALLOWED_HOSTS"


def require_host(environment: Mapping[str, str], url: str) -> None:
    """Raise RequestError HostNotAllowed when the list lacks the URL's host."""
    allowed = [word.strip().lower() for word in environment.get(VARIABLE, "").split(",") if word.strip()]
    host = (urlsplit(url).hostname or "").rstrip(".")
    if allowed and not any(_matches(host, word) for word in allowed):
        raise RequestError(
            "HostNotAllowed",
            f"models may not be fetched from {host}: only from {', '.join(allowed)} ({VARIABLE}). Choose a "
            "source there, or have whoever installed Slipway add the host",
        )


def guard(environment: Mapping[str, str]) -> Callable[[Any], None]:
    """Return what checks a request of httpx or botocore before it is sent: the redirected ones, too."""

    def check(request: Any) -> None:
        require_host(environment, str(request.url))

    return check


def _matches(host: str, word: str) -> bool:
    return host.endswith(word) if word.startswith(".") else host == word
