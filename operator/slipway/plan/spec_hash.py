"""What makes a new revision: a hash over the planning part of a spec; called by the pass."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Final

from slipway.api.modeldeployment import ModelDeploymentSpec

PLANNED: Final[dict[str, Any]] = {
    "model": True,
    "optimize": {
        "goal",
        "method",
        "level",
        "group_size",
        "symmetric",
        "act_order",
        "calibration",
        "imatrix",
        "prune",
    },
    "store": True,
    "engine": {
        "name": True,
        "image": True,
        "context_length": True,
        "concurrency": True,
        "resources": True,
        "tensor_parallel": True,
        "pipeline_parallel": True,
        "data_parallel": True,
        "gpu_memory_share": True,
        "kv_cache_dtype": True,
        "speculative": {"method", "draft", "tokens"},
        "pod_overrides": {"node_selector", "tolerations"},
        "node_selector": True,
    },
}
"""The planning part of a spec."""


def planning_hash(spec: ModelDeploymentSpec) -> str:
    """10 hex digits over what decides a plan.

    That is model, optimize, store and of engine: name, image, contextLength, concurrency, resources, how it
    is spread over devices, gpuMemoryShare, kvCacheDtype, speculative where it has a draft, and the node
    selector and tolerations of podOverrides, which say what fits.
    Generation defaults, arguments, labels, replicas, access and maxQualityLoss change no plan: they roll out,
    or are judged, without a new revision.
    """
    planned = spec.model_dump(
        mode="json",
        by_alias=True,
        exclude_none=True,
        include=PLANNED,
    )
    # Guesses by n-gram need no memory and no artifact: they roll out as arguments do.
    if "draft" not in planned.get("engine", {}).get("speculative", {}):
        planned.get("engine", {}).pop("speculative", None)
    # Empty objects say nothing: ``engine: {}`` plans like no engine at all.
    planned["engine"] = {name: value for name, value in planned.get("engine", {}).items() if value}
    planned = {name: value for name, value in planned.items() if value}
    text = json.dumps(planned, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:10]
