"""What a finished stage's result means for an artifact's status; pure, called by the artifact's pass."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from slipway.manifests.artifacts import CONVERTED
from slipway.observe.observed import Raw
from slipway.plan.bands import band_of
from slipway_runtime.contract import PUBLISHED

LOSSLESS = frozenset({"merge", "distill"})
"""Methods whose result is another model on purpose: its distance from what it was made of is no loss."""
NOTHING = "0.0%"
BESIDE_QUALITY = ("chainLoss", "qualityUnknown")
"""Status fields that a registry keeps within what was measured."""


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
                "location": _claimed(artifact),
                "progress": None,
            }
        case "push":
            return {"location": {**_claimed(artifact), **_remote(result)}}
        case "recall" if result.get("found"):
            return {
                "sizeBytes": int(result["sizeBytes"]),
                "digest": str(result["digest"]),
                "location": _remote(result),
                **_kept(result.get("quality") or {}),
                "progress": None,
            }
        case "evaluate":
            quality = _quality(artifact, parent, result)
            unknown = _unknown(artifact, quality, result)
            whole = None if unknown else _chain_loss(parent, quality["loss"] or NOTHING)
            return {"quality": quality, "qualityUnknown": unknown, "chainLoss": whole}
        case _:
            return {"made": dict(result["made"])} if result.get("made") else {}


def unmeasured(why: str) -> dict[str, Any]:
    """Status fields of an artifact whose evaluation was given up: kept, and its loss is not known."""
    return {"quality": None, "qualityUnknown": why, "chainLoss": None}


def together(losses: Iterable[str]) -> str:
    """The loss of several steps, such as ``7.2%``: each is against the one before it, so ratios multiply."""
    ratio = math.prod(1 + float(one.rstrip("%")) / 100 for one in losses)
    return _percent(f"{100 * (ratio - 1):.1f}%")


def found_there(stage: str, result: Mapping[str, Any]) -> bool:
    """Whether a registry or bucket has the artifact already: no stage is left to do."""
    return stage == "recall" and bool(result.get("found"))


def _claimed(artifact: Raw) -> dict[str, Any]:
    return {"claim": artifact["metadata"]["name"], "path": PUBLISHED}


def _remote(result: Mapping[str, Any]) -> dict[str, Any]:
    return {key: str(result[key]) for key in ("image", "uri", "revision") if result.get(key)}


def _kept(held: Mapping[str, Any]) -> dict[str, Any]:
    """What was measured where it was made; of one whose loss is not known there may be the reason alone."""
    quality = {key: value for key, value in held.items() if key not in BESIDE_QUALITY}
    return {"quality": quality or None, **{key: held.get(key) for key in BESIDE_QUALITY}}


def _chain_loss(parent: Raw | None, own: str) -> str | None:
    """The loss of all steps from the source on; None when that of the parent's is not known."""
    if parent is None:
        return None
    source = parent["spec"]["recipe"]["method"] == "source"
    above = NOTHING if source else (parent.get("status") or {}).get("chainLoss")
    return together((above, own)) if above else None


def _quality(artifact: Raw, parent: Raw | None, result: Mapping[str, Any]) -> dict[str, Any]:
    recipe = artifact["spec"]["recipe"]
    base = result.get("basePerplexity") or _base_of(parent, result)
    loses = base and _is_smaller(recipe)
    band = band_of(recipe["method"], recipe.get("level") or "")
    return {
        "perplexity": str(result["perplexity"]),
        "basePerplexity": base,
        "loss": relative_loss(str(result["perplexity"]), str(base)) if loses else None,
        "band": band.text if band and loses else None,
        **{key: result.get(key) for key in ("kld", "kldP99", "topAgreement", "baseBytes")},
        "tokens": int(result["tokens"]),
        "seconds": str(result["seconds"]),
        "textDigest": str(result["textDigest"]),
    }


def _base_of(parent: Raw | None, result: Mapping[str, Any]) -> str | None:
    """The parent's perplexity; of another text or of other windows it says nothing."""
    held = ((parent or {}).get("status") or {}).get("quality") or {}
    same = all(held.get(key) == result.get(key) for key in ("tokens", "textDigest"))
    return held.get("perplexity") if same else None


def _is_smaller(recipe: Mapping[str, Any]) -> bool:
    """Whether something was lost on purpose: neither merged nor only written in another form."""
    return recipe["method"] not in LOSSLESS and recipe.get("level") not in CONVERTED


def _unknown(artifact: Raw, quality: Mapping[str, Any], result: Mapping[str, Any]) -> str | None:
    """Why there is no loss where there should be one."""
    recipe = artifact["spec"]["recipe"]
    if quality["loss"] or not _is_smaller(recipe):
        return None
    return str(result.get("noBase") or "the model that it was made from was not measured on the same text")


def relative_loss(perplexity: str, base: str) -> str | None:
    """Relative increase in perplexity, such as ``7.2%``; None when a figure is no positive number."""
    try:
        increase = (Decimal(perplexity) / Decimal(base) - 1) * 100
    except (InvalidOperation, ZeroDivisionError):
        return None
    if not increase.is_finite():
        return None
    return _percent(f"{increase:.1f}%")


def _percent(text: str) -> str:
    return NOTHING if text == "-0.0%" else text
