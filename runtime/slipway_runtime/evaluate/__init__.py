"""How good an artifact still is: one file a measure. Called by stage.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from slipway_runtime.job import Job


def evaluate(job: Job) -> dict[str, Any]:
    """Measure the artifact's model by what can read its form."""
    from slipway_runtime.methods import SAFETENSORS, methods

    method = methods().get(job.method)
    if method is not None and method.FORM == SAFETENSORS:
        from slipway_runtime.evaluate import divergence

        return divergence.evaluate(job)
    from slipway_runtime.evaluate import perplexity

    return perplexity.evaluate(job)
