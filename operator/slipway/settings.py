"""What the installation decides (chart values, as environment), read once at start; data for all rooms."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from slipway_runtime.methods import methods

MADE = tuple(sorted(name for name, method in methods().items() if method.STAGE == "quantize"))
DEFAULT_FS_GROUP = 65532
"""The "nonroot" of our images."""


@dataclass(frozen=True)
class Images:
    """Image references by role, each with tag or (better) digest."""

    runtime: str = "docker.io/slipway/runtime:0.1.0"
    llamacpp: str = "docker.io/slipway/llamacpp:0.1.0"
    optimizer: str = "docker.io/slipway/optimizer:0.1.0"
    """The runtime with PyTorch's tools: for Jobs that compute with weights in safetensors."""
    engines: tuple[tuple[str, str], ...] = ()
    """``ENGINE/ACCELERATOR`` to an image in place of the engine's own default, ``vllm/nvidia``."""
    pinned: str = ""
    """Image of the engine that a revision fixed; empty while nothing is pinned."""
    pull_policy: str = "IfNotPresent"
    pull_secrets: tuple[str, ...] = ()


@dataclass(frozen=True)
class Scraper:
    """Pods that read the engines' metrics: of a namespace (empty is any), with labels (empty is all)."""

    namespace: str = ""
    pod_labels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class NodePool:
    """Nodes that an autoscaler may add, or whose price is known, as the chart's values describe them.

    Attributes:
        labels: of its nodes; nodes that have them all are of this pool.
        taints: ``key=value:effect``.
        cpu: allocatable cores; memory: a quantity.
        gpus: resource to count; product and memory of one (a quantity) as its label would say.
        price: currency an hour for a node; None when it does not matter.
        most: nodes that it may have; 0 adds none, and only prices those that are there.
    """

    name: str
    labels: tuple[tuple[str, str], ...] = ()
    taints: tuple[str, ...] = ()
    architecture: str = "amd64"
    cpu: float = 0
    memory: str = "0"
    gpus: tuple[tuple[str, int], ...] = ()
    gpu_product: str = ""
    gpu_memory: str = "0"
    price: float | None = None
    most: int = 0


@dataclass(frozen=True)
class Settings:
    """Everything that the chart's values tell the operator.

    Attributes:
        namespace: where the operator runs; its Lease lives here.
        watch_namespaces: namespaces to serve; empty means all.
        hub_endpoint: ``HF_ENDPOINT`` for Jobs; empty means the public hub.
        job_env: environment for Jobs that reach outside (proxy settings).
        ca_config_map: ConfigMap with ``ca.crt`` that Jobs trust; lies in the namespace of the model.
        cluster_domain: DNS domain of Services.
        storage_class: default StorageClass of artifact claims; empty means the cluster's default.
        job_deadline_seconds: upper bound of one stage Job.
        job_memory_factor: how many times the computed memory Jobs request, and may use.
        network_policy: whether each model gets a default-deny NetworkPolicy.
        hub_ports: ports of the pods behind a hub or proxy that is named by the address of its Service.
        scrapers: who reaches every engine's port beside the callers that its model names.
        node_pools: nodes that don't exist yet, and prices.
        serving_engines: ServingEngines of the cluster, name and spec in JSON; a revision pins its own.
        several_nodes: the cluster has LeaderWorkerSets, so a replica may take several nodes.
        methods: optimisation methods that Jobs of this version make artifacts of.
        fs_group: group that owns volumes, and a sign that pods name their user; None leaves both to the
            cluster (OpenShift gives them).
    """

    namespace: str = "slipway-system"
    watch_namespaces: tuple[str, ...] = ()
    images: Images = field(default_factory=Images)
    hub_endpoint: str = ""
    job_env: tuple[tuple[str, str], ...] = ()
    ca_config_map: str = ""
    cluster_domain: str = "cluster.local"
    storage_class: str = ""
    job_deadline_seconds: int = 6 * 3600
    job_memory_factor: int = 1
    network_policy: bool = True
    hub_ports: tuple[int, ...] = ()
    scrapers: tuple[Scraper, ...] = ()
    node_pools: tuple[NodePool, ...] = ()
    serving_engines: tuple[tuple[str, str], ...] = ()
    several_nodes: bool = True
    methods: tuple[str, ...] = MADE
    fs_group: int | None = DEFAULT_FS_GROUP


def read_settings(env: Mapping[str, str] = os.environ) -> Settings:
    """Read ``SLIPWAY_*`` from the environment.

    Args:
        env: the process environment; lists and maps are JSON.

    Returns:
        Settings, with the defaults of this module for what is absent.
    """
    default = Settings()
    images = Images(
        runtime=env.get("SLIPWAY_IMAGE_RUNTIME", default.images.runtime),
        llamacpp=env.get("SLIPWAY_IMAGE_LLAMACPP", default.images.llamacpp),
        optimizer=env.get("SLIPWAY_IMAGE_OPTIMIZER", default.images.optimizer),
        engines=tuple(sorted(json.loads(env.get("SLIPWAY_ENGINE_IMAGES", "{}")).items())),
        pull_policy=env.get("SLIPWAY_IMAGE_PULL_POLICY", default.images.pull_policy),
        pull_secrets=tuple(json.loads(env.get("SLIPWAY_IMAGE_PULL_SECRETS", "[]"))),
    )
    return Settings(
        namespace=env.get("SLIPWAY_NAMESPACE", default.namespace),
        watch_namespaces=tuple(json.loads(env.get("SLIPWAY_WATCH_NAMESPACES", "[]"))),
        images=images,
        hub_endpoint=env.get("SLIPWAY_HUB_ENDPOINT", ""),
        job_env=tuple(sorted(json.loads(env.get("SLIPWAY_JOB_ENV", "{}")).items())),
        ca_config_map=env.get("SLIPWAY_CA_CONFIG_MAP", ""),
        cluster_domain=env.get("SLIPWAY_CLUSTER_DOMAIN", default.cluster_domain),
        storage_class=env.get("SLIPWAY_STORAGE_CLASS", ""),
        job_deadline_seconds=int(env.get("SLIPWAY_JOB_DEADLINE_SECONDS", default.job_deadline_seconds)),
        job_memory_factor=int(env.get("SLIPWAY_JOB_MEMORY_FACTOR", default.job_memory_factor)),
        network_policy=env.get("SLIPWAY_NETWORK_POLICY", "true") == "true",
        hub_ports=tuple(json.loads(env.get("SLIPWAY_HUB_PORTS", "[]"))),
        scrapers=tuple(_scraper(one) for one in json.loads(env.get("SLIPWAY_SCRAPERS", "[]"))),
        node_pools=tuple(_pool(one) for one in json.loads(env.get("SLIPWAY_NODE_POOLS", "[]"))),
        fs_group=int(group) if (group := env.get("SLIPWAY_FS_GROUP", str(DEFAULT_FS_GROUP))) else None,
    )


def _pool(given: Mapping[str, Any]) -> NodePool:
    price = given.get("pricePerHour")
    return NodePool(
        name=str(given["name"]),
        labels=tuple(sorted((given.get("labels") or {}).items())),
        taints=tuple(
            f"{one['key']}={one.get('value', '')}:{one.get('effect', 'NoSchedule')}"
            for one in given.get("taints") or ()
        ),
        architecture=given.get("architecture", "amd64"),
        cpu=float(given.get("cpu", 0)),
        memory=str(given.get("memory", "0")),
        gpus=tuple(sorted((given.get("gpus") or {}).items())),
        gpu_product=given.get("gpuProduct", ""),
        gpu_memory=str(given.get("gpuMemory", "0")),
        price=None if price is None else float(price),
        most=int(given.get("maxNodes", 0)),
    )


def _scraper(given: Mapping[str, Any]) -> Scraper:
    return Scraper(given.get("namespace", ""), tuple(sorted(given.get("podLabels", {}).items())))
