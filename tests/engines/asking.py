"""Asking a model through its Service, whatever engine answers."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

from tests.cluster import access
from tests.cluster.namespaces import Cluster


def endpoint(home: Cluster, name: str) -> str:
    """The Service's own address: the engines' health routes differ, /v1/models is everybody's."""
    service = home.get("services", name)
    base = f"http://{service['spec']['clusterIP']}:{service['spec']['ports'][0]['port']}"

    def reachable() -> bool:
        with access.DIRECT.open(f"{base}/v1/models", timeout=5) as answer:
            return bool(answer.status == 200)

    home.wait(f"the node's route to Service {name}", reachable, 20)
    return base


def request(base: str, body: dict[str, Any], route: str = "chat/completions") -> urllib.request.Request:
    """A request to a model named chat."""
    data = json.dumps({"model": "chat", **body}).encode()
    headers = {"Content-Type": "application/json"}
    return urllib.request.Request(f"{base}/v1/{route}", data, headers)


def asked(base: str, body: dict[str, Any], route: str = "chat/completions") -> dict[str, Any]:
    """Its whole answer."""
    with access.DIRECT.open(request(base, body, route), timeout=120) as answer:
        return dict(json.load(answer))
