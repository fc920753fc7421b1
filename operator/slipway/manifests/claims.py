"""The PersistentVolumeClaim of one artifact and its size; called by the artifact's pass."""

from __future__ import annotations

from typing import Any

from slipway.api import reasons
from slipway.errors import InvalidSpecError
from slipway.manifests.names import STORE_COMPONENT, labels
from slipway.manifests.owner import Owner, child
from slipway.plan.quantities import MIB, bytes_text, quantity, round_up
from slipway.resources import CLAIM
from slipway.settings import Settings

HEADROOM_PERCENT = 20
"""Computed sizes are within 10 %, and ext4 keeps about 5 % of a volume for itself."""
SMALLEST = 64 * MIB
ACCESS_MODE = "ReadWriteOnce"
"""What every class offers."""


def required_bytes(artifact: dict[str, Any]) -> int:
    """Bytes that the claim must hold: the published files plus headroom, at least 64 Mi, whole MiB.

    Stages write under a temporary name and rename inside the claim, so nothing is there twice; beside them
    lies what the unquantised model said (``spec.workBytes``).

    Args:
        artifact: a ModelArtifact as the API server returns it.
    """
    work = int(artifact["spec"].get("workBytes") or 0)
    return least_bytes(artifact) + round_up(work, MIB)


def least_bytes(artifact: dict[str, Any]) -> int:
    """The same without what the unquantised model said: levels have no KL divergence then, all else works."""
    expected = int(artifact["spec"]["expectedBytes"])
    return max(SMALLEST, round_up(expected * (100 + HEADROOM_PERCENT) // 100, MIB))


def build_claim(owner: Owner, artifact: dict[str, Any], settings: Settings) -> dict[str, Any]:
    """The claim, named as the artifact; size from ``spec.store.size`` when set, else ``required_bytes``.

    Raises:
        InvalidSpecError: ``StoreTooSmall``, when ``spec.store.size`` is smaller than ``least_bytes``.
    """
    store = artifact["spec"].get("store") or {}
    required = least_bytes(artifact)
    size = store.get("size")
    if size is not None and quantity(size) < required:
        raise InvalidSpecError(
            reasons.STORE_TOO_SMALL,
            f"spec.store.size: {size} is too small for {owner.name}, which needs {bytes_text(required)}; "
            "set that or more, or remove the field to have it computed.",
        )
    spec: dict[str, Any] = {
        "accessModes": [store.get("accessMode") or ACCESS_MODE],
        "resources": {"requests": {"storage": size or bytes_text(required_bytes(artifact))}},
    }
    storage_class = store.get("storageClassName") or settings.storage_class
    if storage_class:
        spec["storageClassName"] = storage_class
    return {
        **child(owner, CLAIM, labels("store", STORE_COMPONENT, artifact=owner.name)),
        "spec": spec,
    }
