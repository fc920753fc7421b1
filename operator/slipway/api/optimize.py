"""ModelDeployment v1alpha1, ``spec.optimize``. Imported by ``modeldeployment``, which re-exports it."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from slipway.api.base import Model, Percent, Rule

ComparedLevel = Annotated[str, Field(min_length=1, max_length=32)]


class Optimize(Model):
    """How the weights are made smaller. The loss is measured and shown in status; it can be gated.

    Levels of llama.cpp, from faithful to small, with the published increase in perplexity: F16 (none), Q8_0
    (below 1%), Q6_K (1-2%), Q5_K_M (2-3%), Q4_K_M (3-5%, the default), Q4_K_S (4-6%), Q3_K_M (5-8%), Q2_K
    (8-12%). Small models lose more.
    """

    goal: Literal["throughput", "latency", "cost", "quality"] | None = None
    """What the planner aims for. On CPU quality takes the highest level that fits the nodes, the others take
    Q4_K_M, or less where that does not fit. On GPUs: absent, FP8 where the device computes in it, else 16
    bits where they fit, else fewer; throughput prefers fewer bits to 16; latency the fewest bytes for each
    token; cost the cheapest token at full load; quality the smallest loss."""
    method: Literal["auto", "none", "gguf", "fp8"] | None = None
    """How: auto (the default) lets the planner choose; gguf quantises for llama.cpp; none serves 16 bits; fp8
    is made by the engine while it loads the 16-bit weights."""
    level: Annotated[str, Field(min_length=1, max_length=32)] | None = None
    """How far: auto (the default), or a level of llama.cpp such as Q8_0, Q5_K_M, Q4_K_M, IQ4_XS."""
    max_quality_loss: Percent | None = None
    """Gate: the largest relative increase in perplexity against f16 that may be served, such as 10%.
    Absent: nothing blocks, a loss outside the level's published band warns in the checklist."""

    compare: Annotated[list[ComparedLevel], Field(min_length=1, max_length=8)] | None = None
    """More levels of llama.cpp, such as [Q8_0, Q5_K_M]: made from the same f16 once the model answers,
    measured, listed in status.compare, never served. What fails there only warns."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="!has(self.method) || self.method != 'none' || !has(self.level)"
            " || self.level in ['auto', 'F16']",
            holds=lambda optimize: optimize.method != "none" or optimize.level in (None, "auto", "F16"),
            message="method none serves f16, so a level can't be chosen: drop level, or set method to gguf",
            field="level",
        ),
        Rule(
            cel="!has(self.maxQualityLoss) || ((!has(self.method) || self.method != 'none')"
            " && (!has(self.level) || !(self.level in ['F16', 'BF16'])))",
            holds=lambda optimize: (
                optimize.max_quality_loss is None
                or (optimize.method != "none" and optimize.level not in ("F16", "BF16"))
            ),
            message="nothing is quantised, so there is no loss to gate: drop maxQualityLoss, "
            "or choose a level below 16 bits",
            field="maxQualityLoss",
        ),
        Rule(
            cel="!has(self.compare) || self.compare.all(one, self.compare.exists_one(other, other == one))",
            holds=lambda optimize: len(set(optimize.compare or ())) == len(optimize.compare or ()),
            message="names a level twice: list each once",
            field="compare",
        ),
        Rule(
            cel="!has(self.compare) || !has(self.level) || !(self.level in self.compare)",
            holds=lambda optimize: optimize.level not in (optimize.compare or ()),
            message="names the level that is served, which is measured anyway: list others",
            field="compare",
        ),
    )
