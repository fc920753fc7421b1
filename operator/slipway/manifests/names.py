"""Names and labels of children: deterministic, within the limits of Kubernetes. Called by every builder."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

from slipway.api.modeldeployment import ModelDeploymentSpec

MANAGED_BY = "app.kubernetes.io/managed-by"
NAME = "app.kubernetes.io/name"
COMPONENT = "app.kubernetes.io/component"
MODEL = "slipway.dev/model"
ARTIFACT = "slipway.dev/artifact"
STAGE = "slipway.dev/stage"
REVISION = "slipway.dev/revision"
POOL = "slipway.dev/pool"
POOL_OF = "slipway.dev/pool-of"
"""On the ModelDeployment of a pool and on its engine pods: the pool, and the whole that it is of."""
ARTIFACT_DIGEST = "slipway.dev/artifact-digest"
COMPANIONS_DIGEST = "slipway.dev/companions-digest"
ENGINE_COMPONENT = "engine"
WORKER_COMPONENT = "engine-worker"
JOB_COMPONENT = "job"
STORE_COMPONENT = "store"
LABEL_LIMIT = 63
"""Characters of a DNS label and of a label's value."""
HASH_DIGITS = 10


def served_name(name: str, spec: ModelDeploymentSpec) -> str:
    """Name by which clients ask for the model: the ModelDeployment's, unless the spec has another."""
    return (spec.engine.served_model_name if spec.engine else None) or name


def labels(name: str, component: str, **more: str) -> dict[str, str]:
    """Labels of one child; ``more`` are those of slipway.dev/, by the part after the slash."""
    extra = {f"slipway.dev/{key}": value for key, value in more.items() if value}
    return {MANAGED_BY: "slipway", NAME: name, COMPONENT: component, **extra}


def digest(value: Any) -> str:
    """10 hex digits of the sha256 of a JSON value."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:HASH_DIGITS]


def fit(base: str, suffix: str, limit: int = LABEL_LIMIT) -> str:
    """``base`` + ``suffix``; a base that is too long is cut and ends in the hash of the whole."""
    if len(base) + len(suffix) <= limit:
        return base + suffix
    keep = limit - len(suffix) - HASH_DIGITS - 1
    return f"{base[:keep].rstrip('-.')}-{digest(base)}{suffix}"


def slug(text: str) -> str:
    """Lower-case letters, digits and single dashes of a text."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
