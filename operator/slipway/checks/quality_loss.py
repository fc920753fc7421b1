"""Rule: the loss of quantisation was measured and is within gate and band. Run by ``slipway.checks``."""

from __future__ import annotations

import re

from slipway.checks.base import Check, Finding, Input
from slipway.checks.profiles import Profile

UNQUANTIZED = ("F16", "BF16")


def _upper(band: str | None) -> float | None:
    """Upper end of a band such as ``3-5%`` or ``<1%``, in percent."""
    figures = re.findall(r"[0-9]+(?:\.[0-9]+)?", band or "")
    return float(figures[-1]) if figures else None


def _threshold(gate: str | None, band: str | None) -> str:
    parts = ["measured"]
    if gate:
        parts.append(f"at most {gate} (spec.optimize.maxQualityLoss)")
    if band:
        parts.append(f"within the level's published band {band}")
    return ", ".join(parts)


def _unknown(given: Input) -> str:
    """Why nobody measured the loss; empty when somebody did, or has to."""
    if why := given.artifact_status.get("qualityUnknown"):
        return str(why)
    if (given.artifact_status.get("quality") or {}).get("loss") or given.plan.form == "gguf":
        return ""
    how = "the engine makes it while it loads" if given.plan.at_load else "the model comes so"
    return f"{given.plan.level} was not measured, {how}"


def _run(given: Input, _: Profile) -> Finding:
    gate = given.spec.optimize.max_quality_loss if given.spec.optimize else None
    quality = given.artifact_status.get("quality") or {}
    band, loss = quality.get("band"), quality.get("loss")
    threshold = _threshold(gate, band)
    evidence = f"ModelArtifact {given.namespace}/{given.artifact_name} status.quality"
    if given.plan.method == "none" or given.plan.level in UNQUANTIZED:
        return Finding("SKIP", f"{given.plan.level} is not quantised", threshold, evidence)
    if unknown := _unknown(given):
        fix = "give the Jobs more memory, or compare answers with those of optimize.method: none"
        return Finding("WARN", f"QualityUnknown: {unknown}", threshold, evidence, fix)
    if not loss:
        return Finding("FAIL", "not measured", threshold, evidence)
    value = (
        f"{loss} at {given.plan.level}: perplexity {quality.get('perplexity')} "
        f"against {quality.get('basePerplexity')} unquantised"
    )
    if quality.get("kld"):
        value += f", KL divergence {quality['kld']} nats"
    evidence = f"{evidence}, {quality.get('tokens')} tokens of text {quality.get('textDigest')}"
    measured, upper = float(loss.rstrip("%")), _upper(band)
    if gate and measured > float(gate.rstrip("%")):
        return Finding("FAIL", value, threshold, evidence)
    if upper is not None and measured > upper:
        return Finding("WARN", value, threshold, evidence)
    return Finding("PASS", value, threshold, evidence)


CHECK = Check(
    name="quality-loss",
    title="How much did quantisation cost, and who measured it?",
    kind="measured",
    why="A level that is harmless for a large model can ruin a small one: only a measurement on "
    "this model tells.",
    passes="PASS: the relative increase in perplexity against the unquantised model was measured, is within "
    "spec.optimize.maxQualityLoss if set, and within the level's published band if there is one. "
    "WARN: above the band, or QualityUnknown: the engine quantises while it loads, the model comes "
    "quantised, or there was no memory. "
    "FAIL: above the gate, or not measured. SKIP: served unquantised.",
    fix="choose a higher optimize.level (Q5_K_M, Q6_K, Q8_0), or accept the figure by "
    "optimize.maxQualityLoss",
    run=_run,
)
