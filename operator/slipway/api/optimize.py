"""ModelDeployment v1alpha1, ``spec.optimize``. Imported by ``modeldeployment``, which re-exports it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Final, Literal

from pydantic import Field

from slipway.api.base import Model, Percent, Rule
from slipway.api.companions import Revision, Source
from slipway.api.prune import Prune
from slipway.api.sources import text_rules
from slipway_runtime.contract import NEED_MATRIX, NO_MATRIX
from slipway_runtime.methods import GGUF, methods

MADE: Final[Mapping[str, tuple[str, ...]]] = {
    name: method.LEVELS for name, method in sorted(methods().items()) if method.STAGE == "quantize"
}
"""Methods that Jobs have, to their levels; grows with the files of ``slipway_runtime.methods``."""
AT_LOAD: Final[Mapping[str, tuple[str, ...]]] = {"bnb": ("NF4",)}
"""Methods that engines alone apply."""
FOLDERS: Final = {name: levels for name, levels in MADE.items() if name != GGUF}
"""Methods whose Jobs leave safetensors."""
GROUPED: Final = ("awq", "gptq")
CALIBRATED: Final[Mapping[str, tuple[str, ...]]] = {
    "awq": ("W4A16",),
    "gptq": ("W4A16", "W8A16"),
    "int8": ("W8A8",),
    "fp8": ("FP8_STATIC",),
    "nvfp4": ("NVFP4",),
}
"""Methods that read a calibration text, to the levels for which they do; the first of them is the usual."""
if TYPE_CHECKING:
    MethodName = str
else:
    MethodName = Literal["auto", "none", *MADE, *AT_LOAD]


def _own_levels(optimize: Optimize) -> bool:
    known = {**FOLDERS, **AT_LOAD}.get(optimize.method or "")
    return known is None or optimize.level in (None, "auto", *known)


def _calibrates(optimize: Optimize) -> bool:
    levels = CALIBRATED.get(optimize.method or "", ())
    return optimize.calibration is None or (bool(levels) and optimize.level in (None, "auto", *levels))


def _only(field: str, names: tuple[str, ...]) -> Rule:
    """A field that some methods have."""

    def holds(optimize: Optimize) -> bool:
        given = optimize.model_dump(by_alias=True, exclude_none=True)
        return field not in given or optimize.method in names

    return Rule(
        cel=f"!has(self.{field}) || (has(self.method) && self.method in {list(names)})",
        holds=holds,
        message=f"is of method {' and '.join(names)} alone: name it in spec.optimize.method",
        field=field,
    )


def _words(names: Mapping[str, tuple[str, ...]]) -> str:
    return "; ".join(f"{name}: {', '.join(levels)}" for name, levels in names.items())


class Calibration(Model):
    """The text by which a method learns what weights matter, or how large activations grow."""

    source: Source | None = None
    """URI of files of text, such as hf://datasets/ORG/NAME: .txt, .jsonl or .parquet with text or messages
    in each row; read with the credential of spec.model.secretRef. Default the image's own English prose."""
    revision: Revision | None = None
    """Branch, tag or commit of source; default main. Pinned with the model's."""
    samples: Annotated[int, Field(ge=1, le=4096)] | None = None
    """How many pieces of text are run through the model; default 128. Fewer where the text has no more."""
    sequence_length: Annotated[int, Field(ge=16, le=32768)] | None = None
    """Tokens of a piece at most; default 512, never more than the model's context. Time and memory of the
    Job grow with both."""

    rules: ClassVar[tuple[Rule, ...]] = (
        *text_rules("spec.optimize.calibration.revision"),
        Rule(
            cel="!has(self.revision) || has(self.source)",
            holds=lambda text: text.revision is None or text.source is not None,
            message="is of a source: name it in spec.optimize.calibration.source",
            field="revision",
        ),
    )


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
    method: MethodName | None = None
    """How: auto (the default) lets the planner choose; gguf quantises for llama.cpp; none serves 16 bits;
    awq, gptq, int8, nvfp4 and mxfp4 are made by a Job as compressed-tensors; fp8 by the engine while it loads
    the 16-bit weights, or by a Job where the engine can't, or calibration or FP8_STATIC is asked for; bnb
    (NF4) by the engine alone."""
    level: Annotated[str, Field(min_length=1, max_length=32)] | None = None
    """How far: auto (the default), or a level of llama.cpp such as Q8_0, Q5_K_M, Q4_K_M, IQ4_XS, or one of
    the method: W4A16, W8A16, W8A8, FP8, FP8_STATIC, NVFP4, NVFP4A16, MXFP4, MXFP4A16."""
    prune: Prune | None = None
    """What is removed of the model before it is quantised."""
    imatrix: bool | None = None
    """Of llama.cpp's levels: whether it is measured on a text which weights matter most, so that those lose
    less. Levels of 3 bits and less (IQ1 to IQ3, Q2_K_S) always are; of the others true asks for it. The
    matrix is an artifact that all levels of a model share."""
    group_size: Annotated[int, Field(ge=16, le=1024)] | None = None
    """Of awq and gptq: how many weights share a scale. Default the largest of 128, 64 and 32 that divides
    every layer, which the artifact's status names."""
    symmetric: bool | None = None
    """Of awq and gptq: whether weights have a scale alone, no zero point. Default false for awq, true for
    gptq."""
    act_order: bool | None = None
    """Of gptq: whether columns that matter most are quantised first (desc_act); default true. It costs
    nothing later."""
    calibration: Calibration | None = None
    """Of awq, gptq, int8 (W8A8), fp8 (FP8_STATIC) and nvfp4 (NVFP4): the text that is run through the model.
    With fp8 it means FP8_STATIC."""
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
            cel="!has(self.level) || !has(self.method) || self.level == 'auto' || ("
            + " && ".join(
                f"(self.method != '{name}' || self.level in {list(levels)})"
                for name, levels in {**FOLDERS, **AT_LOAD}.items()
            )
            + ")",
            holds=_own_levels,
            message=f"the method has no such level ({_words({**FOLDERS, **AT_LOAD})})",
            field="level",
        ),
        Rule(
            cel="!has(self.imatrix) || self.imatrix || !has(self.level) || !(self.level in "
            f"{list(NEED_MATRIX)})",
            holds=lambda optimize: optimize.imatrix is not False or optimize.level not in NEED_MATRIX,
            message="this level needs an importance matrix: drop imatrix, or choose a higher level",
            field="imatrix",
        ),
        Rule(
            cel="!has(self.imatrix) || !self.imatrix || ("
            "(!has(self.method) || self.method in ['auto', 'gguf'])"
            f" && (!has(self.level) || !(self.level in {list(NO_MATRIX)})))",
            holds=lambda optimize: (
                not optimize.imatrix
                or (optimize.method in (None, "auto", GGUF) and optimize.level not in NO_MATRIX)
            ),
            message="an importance matrix changes nothing of this method or level: drop imatrix",
            field="imatrix",
        ),
        _only("groupSize", GROUPED),
        _only("symmetric", GROUPED),
        _only("actOrder", ("gptq",)),
        Rule(
            cel="!has(self.calibration) || (has(self.method) && ("
            + " || ".join(
                f"(self.method == '{name}' && (!has(self.level) || self.level in {['auto', *levels]}))"
                for name, levels in CALIBRATED.items()
            )
            + "))",
            holds=_calibrates,
            message=f"nothing is calibrated but by these methods and levels: {_words(CALIBRATED)}",
            field="calibration",
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
