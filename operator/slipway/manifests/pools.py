"""What a model with pools is made of: a ModelDeployment for each, and the Service of all. For the pass."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from slipway.api import API_VERSION
from slipway.api.modeldeployment import ModelDeploymentSpec, Pool
from slipway.api.poolspec import pool_spec
from slipway.manifests import names
from slipway.manifests.autoscaler import build_autoscaler
from slipway.manifests.owner import Owner, child
from slipway.manifests.service import build_service
from slipway.resources import MODEL

POOL_COMPONENT = "pool"


def pool_model(name: str, pool: str) -> str:
    """Name of the ModelDeployment of one pool."""
    return f"{name}-{pool}"


def build_pool(
    owner: Owner,
    spec: ModelDeploymentSpec,
    pool: Pool,
    replicas: int,
    annotations: dict[str, str],
    labels: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, Any]:
    """The ModelDeployment of one pool, ``NAME-POOL``.

    Args:
        owner: the ModelDeployment with pools.
        spec: its spec.
        pool: one of them.
        replicas: dealt to it.
        annotations: more of them.
        labels: more of them, Kueue's for its Jobs.
    """
    own = {**labels, **names.labels(POOL_COMPONENT, POOL_COMPONENT)}
    own |= {names.POOL_OF: owner.name, names.POOL: pool.name}
    return {
        **child(owner, MODEL, own, name=pool_model(owner.name, pool.name), annotations=annotations),
        "spec": _wire(pool_spec(spec, owner.name, pool, replicas)),
    }


def group_selector(name: str) -> dict[str, str]:
    """Labels of the pods of all pools that answer."""
    return {names.POOL_OF: name, names.COMPONENT: names.ENGINE_COMPONENT}


def build_group(owner: Owner, spec: ModelDeploymentSpec) -> list[dict[str, Any]]:
    """What is before all pools: the one Service, named as the owner, and the autoscaler of the sum."""
    service = build_service(owner, POOL_COMPONENT)
    built = [{**service, "spec": {**service["spec"], "selector": group_selector(owner.name)}}]
    if spec.autoscaling is not None:
        whole = {"apiVersion": API_VERSION, "kind": "ModelDeployment", "metadata": {"name": owner.name}}
        built.append(build_autoscaler(owner, spec.autoscaling, POOL_COMPONENT, whole))
    return built


def _wire(value: Any) -> dict[str, Any]:
    found: dict[str, Any] = value.model_dump(mode="json", by_alias=True, exclude_none=True)
    return found
