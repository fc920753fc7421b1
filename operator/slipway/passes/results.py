"""What a finished stage's result means for an artifact's status; pure, called by the artifact's pass."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from slipway.observe.observed import Raw
from slipway.plan.bands import BANDS
from slipway_runtime.contract import PUBLISHED

ANOTHER_MODEL = ("merge", "distill")
"""Methods that teach the model something else: its distance from the parent is no loss."""


def record(artifact: Raw, parent: Raw | None, stage: str, result: Mapping[str, Any]) -> dict[str, Any]:
    """Status fields that follow from a stage's result.

    Args:
        artifact: the artifact that was worked on.
        stage: what ended well.
        result: what it said.
        parent: the artifact that it is made from: the base of the loss, when that one was measured.
    """
    match stage:
        case "fetch" | "publish":
            return {
                "sizeBytes": int(result["sizeBytes"]),
                "digest": str(result["digest"]),
                "location": {"claim": artifact["metadata"]["name"], "path": PUBLISHED},
                "progress": None,
            }
        case "evaluate":
            return {"quality": _quality(artifact, parent, result)}
        case _:
            return {"made": dict(result["made"])} if result.get("made") else {}


def _quality(artifact: Raw, parent: Raw | None, result: Mapping[str, Any]) -> dict[str, Any]:
    recipe = artifact["spec"]["recipe"]
    base = (((parent or {}).get("status") or {}).get("quality") or {}).get("perplexity")
    if recipe["method"] in ANOTHER_MODEL:
        base = None
    level = recipe.get("level")
    band = BANDS.get(level or "")
    return {
        "perplexity": str(result["perplexity"]),
        "basePerplexity": base,
        "loss": relative_loss(str(result["perplexity"]), base) if base else None,
        "band": band.text if band and base else None,
        "tokens": int(result["tokens"]),
        "seconds": str(result["seconds"]),
        "textDigest": str(result["textDigest"]),
    }


def relative_loss(perplexity: str, base: str) -> str | None:
    """Relative increase in perplexity, such as ``7.2%``; None when a figure is no positive number."""
    try:
        increase = (Decimal(perplexity) / Decimal(base) - 1) * 100
    except (InvalidOperation, ZeroDivisionError):
        return None
    return f"{increase:.1f}%" if increase.is_finite() else None
