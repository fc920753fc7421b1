"""The Service under which the model is called. Called by serving."""

from __future__ import annotations

from typing import Any

from slipway.manifests import names
from slipway.manifests.deployment import HTTP, selector
from slipway.manifests.owner import Owner, child
from slipway.resources import SERVICE
from slipway.settings import Settings

PORT = 8080
SHORT_PORT = 80
"""So that ``http://NAME/v1`` works without a port."""


def service_url(name: str, namespace: str, settings: Settings) -> str:
    """Base URL of the endpoint inside the cluster, ``http://NAME.NS.svc.DOMAIN:8080`` (no ``/v1``)."""
    return f"http://{name}.{namespace}.svc.{settings.cluster_domain}:{PORT}"


def build_service(owner: Owner, engine: str) -> dict[str, Any]:
    """The Service, named as its owner, with both ports to the engine's."""
    return {
        **child(owner, SERVICE, names.labels(engine, names.ENGINE_COMPONENT, model=owner.name)),
        "spec": {
            "type": "ClusterIP",
            "selector": selector(owner.name),
            "ports": [
                {"name": HTTP, "port": PORT, "targetPort": HTTP, "protocol": "TCP"},
                {"name": "http-short", "port": SHORT_PORT, "targetPort": HTTP, "protocol": "TCP"},
            ],
        },
    }
