"""The small hub's admin port. A fault is everybody's: nothing else may download while there is one."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.cluster.access import DIRECT

ADMIN = "http://127.0.0.1:8091"
SMOLLM2 = "hf://HuggingFaceTB/SmolLM2-135M-Instruct"
TINY = "hf://slipway-test/tiny"


def hub_admin(method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """Call the hub's admin port, ``/faults`` or ``/requests``."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(ADMIN + path, data, method=method)
    with DIRECT.open(request, timeout=10) as answer:
        return dict(json.load(answer))


@contextmanager
def hub_fault(**fault: Any) -> Iterator[None]:
    """The hub has this fault inside the block."""
    hub_admin("PUT", "/faults", fault)
    try:
        yield
    finally:
        hub_admin("DELETE", "/faults")


def sent_bytes() -> int:
    """Bytes that the hub has sent so far, to whomever."""
    return int(hub_admin("GET", "/requests")["sent_bytes"])
