"""Rule: the loss of quantisation was measured and is within gate and band. Run by ``slipway.checks``."""

from __future__ import annotations

import re

from slipway.api.reasons import QUALITY_UNKNOWN
from slipway.checks.base import Check, Finding, Input
from slipway.checks.profiles import Profile
from slipway.plan.bands import band_of

UNQUANTIZED = ("F16", "BF16", "F32")
ORIGINAL = (
    "compare answers with those of the original weights, or name their repository in spec.model.source and "
    "have them quantised here"
)
"""What to do about weights that came quantised."""


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


def _unmeasured(given: Input, threshold: str, evidence: str) -> Finding:
    """Of a loss that nobody measured: only where Slipway made the weights it should have been."""
    if why := given.artifact_status.get("qualityUnknown"):
        value = f"{QUALITY_UNKNOWN}: {why}"
        fix = "give the Jobs more memory, or compare answers with those of optimize.method: none"
        return Finding("WARN", value, threshold, evidence, fix)
    level, came = given.plan.level, given.plan.source_files or not given.plan.at_load
    if given.plan.made or (given.plan.form == "gguf" and not given.plan.source_files):
        return Finding("FAIL", "not measured", threshold, evidence)
    if came:
        band = band_of(given.plan.form if given.plan.form == "gguf" else given.plan.method, level)
        usual = f" (published for {level}: {band.text})" if band else ""
        value = f"{QUALITY_UNKNOWN}: {level} was not measured, the model comes so{usual}"
        return Finding("WARN", value, threshold, evidence, ORIGINAL)
    value = f"{level} was not measured: the engine makes it while it loads"
    return Finding("WARN", value, threshold, evidence, "compare answers with those of optimize.method: none")


def _run(given: Input, _: Profile) -> Finding:
    gate = given.spec.optimize.max_quality_loss if given.spec.optimize else None
    quality = given.artifact_status.get("quality") or {}
    band, loss = quality.get("band"), quality.get("loss")
    threshold = _threshold(gate, band)
    evidence = f"ModelArtifact {given.namespace}/{given.artifact_name} status.quality"
    if given.plan.method == "none" or given.plan.level in UNQUANTIZED:
        return Finding("SKIP", f"{given.plan.level} is not quantised", threshold, evidence)
    if not loss:
        return _unmeasured(given, threshold, evidence)
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
    "WARN: above the band, or nobody measured it: the engine quantises while it loads, the model comes "
    "quantised, or there was no memory (QualityUnknown). "
    "FAIL: above the gate, or not measured. SKIP: served unquantised.",
    fix="choose a higher optimize.level (Q5_K_M, Q6_K, Q8_0), or accept the figure by "
    "optimize.maxQualityLoss",
    run=_run,
)
