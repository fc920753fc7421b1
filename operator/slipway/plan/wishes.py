"""What a spec fixes and what it leaves to the planner, resolved against the model. Pure; called by decide."""

from __future__ import annotations

from dataclasses import dataclass

from slipway.api import reasons
from slipway.api.modeldeployment import Engine, ModelDeploymentSpec, Optimize
from slipway.api.optimize import Calibration
from slipway.api.words import suggest, unknown_level
from slipway.errors import InvalidSpecError
from slipway.plan.facts import EngineFacts, ModelFacts
from slipway.plan.methods import METHODS, levels_of
from slipway.plan.quantities import quantity
from slipway.plan.stored import wished_level
from slipway_runtime.contract import LEVELS
from slipway_runtime.gguf_files import GGUF

DEFAULT_CONTEXT = 4096
SIXTEEN_BITS = ("F16", "BF16")


@dataclass(frozen=True)
class Wishes:
    """What the spec asks for, resolved against the model.

    Attributes:
        engine: name of the engine; empty leaves it to the planner.
        goal: empty when none is named: the smallest loss that is cheap.
        method: empty leaves it to the planner; that of the files for a model that comes quantised.
        level: empty leaves it to the planner.
        context_length: tokens of context for each request.
        concurrency: requests at once; None leaves it to the planner.
        memory: container memory that the user fixed, bytes; None to compute it.
        cpu_millis: container CPU that the user fixed; None to compute it.
        tensor: tensor parallel size; None leaves it to the planner. The same for pipeline.
        data: data parallel size.
        kv_dtype: of the KV cache; empty leaves it to the engine (16 bits).
        share: percent of device memory for the engine.
        guesses: how tokens are guessed; empty for not at all.
        imatrix: an importance matrix is asked for.
        options: what a Job that makes the method is asked for, name to value, ordered by name.
    """

    engine: str
    goal: str
    method: str
    level: str
    context_length: int
    concurrency: int | None
    memory: int | None
    cpu_millis: int | None
    tensor: int | None = None
    pipeline: int | None = None
    data: int = 1
    kv_dtype: str = ""
    share: int = 90
    guesses: str = ""
    options: tuple[tuple[str, str], ...] = ()
    imatrix: bool = False

    @property
    def goal_text(self) -> str:
        """For a reason."""
        return f"goal {self.goal}" if self.goal else "the default goal"


def read_wishes(spec: ModelDeploymentSpec, facts: ModelFacts, engines: tuple[EngineFacts, ...]) -> Wishes:
    """Resolve what the user fixed and what is left open.

    Raises:
        InvalidSpecError: ``UnknownEngine``, ``UnknownLevel``, ``InvalidSpec`` (method and level contradict
            each other, the context is longer than the model's, tensor parallel divides no heads),
            ``UnsupportedQuantization``.
    """
    optimize, engine = spec.optimize or Optimize(), spec.engine or Engine()
    name = "" if engine.name in (None, "auto") else str(engine.name)
    if name and name not in {one.name for one in engines}:
        known = ["auto", *(one.name for one in engines)]
        message = f"spec.engine.name: {name!r} is unknown; {suggest(name, known)}"
        raise InvalidSpecError(reasons.UNKNOWN_ENGINE, message)
    given = engine.resources
    method, level = _method_and_level(spec, optimize, facts)
    _refuse_uneven(engine.tensor_parallel, facts)
    return Wishes(
        engine=name,
        goal=optimize.goal or "",
        method=method,
        level=level,
        context_length=_context(engine, facts),
        concurrency=engine.concurrency,
        memory=int(quantity(given.memory)) if given and given.memory else None,
        cpu_millis=round(quantity(given.cpu) * 1000) if given and given.cpu else None,
        tensor=engine.tensor_parallel,
        pipeline=engine.pipeline_parallel,
        data=engine.data_parallel or 1,
        kv_dtype="" if engine.kv_cache_dtype in (None, "auto") else str(engine.kv_cache_dtype),
        guesses=engine.speculative.kind if engine.speculative else "",
        imatrix=bool(optimize.imatrix),
        options=job_options(optimize, level, str(engine.kv_cache_dtype or "")),
        share=int(float((engine.gpu_memory_share or "90%").rstrip("%"))),
    )


def _method_and_level(spec: ModelDeploymentSpec, optimize: Optimize, facts: ModelFacts) -> tuple[str, str]:
    method = "" if optimize.method in (None, "auto") else str(optimize.method)
    level = "" if optimize.level in (None, "auto") else str(optimize.level)
    if facts.levels:
        _refuse_again(spec, facts, method)
        return GGUF, wished_level(spec.model.source, facts, level)
    names = [name for name in reversed(list(METHODS)) if name not in ("none", "gguf")]
    others = {one: name for name in names for one in levels_of(name)}  # of several methods, the first
    if method == "fp8" and optimize.calibration and not level:
        level = "FP8_STATIC"
    if level and level not in LEVELS and level not in others:
        why = unknown_level(level)
        message = f"spec.optimize.level: {level!r} {why}; use auto or one of: {', '.join(LEVELS)}"
        raise InvalidSpecError(reasons.UNKNOWN_LEVEL, message)
    if method == "none" and level not in ("", *SIXTEEN_BITS):
        message = f"spec.optimize.level: method none serves F16, not {level}; drop one of the two"
        raise InvalidSpecError(reasons.INVALID_SPEC, message)
    if level == "MXFP4_MOE" and not facts.experts:
        message = (
            "spec.optimize.level: MXFP4_MOE quantises the experts of a mixture, and this model has none: it "
            "would be Q8_0; choose that, or Q4_K_M"
        )
        raise InvalidSpecError(reasons.INVALID_SPEC, message)
    if facts.quantization:
        _refuse_again(spec, facts, method)
        return facts.quantization, ""
    if level in others and method and level not in levels_of(method):
        message = f"spec.optimize.level: {level} is no level of method {method}; drop one of the two"
        raise InvalidSpecError(reasons.INVALID_SPEC, message)
    if not method and level:
        method = others.get(level, "gguf")
    return method, level


def job_options(optimize: Optimize, level: str, kv_dtype: str) -> tuple[tuple[str, str], ...]:
    """The options of ``slipway_runtime.methods``, as text; scales of an FP8 KV cache come with FP8_STATIC."""
    read = optimize.calibration or Calibration()
    given = {
        "actOrder": optimize.act_order,
        "groupSize": optimize.group_size,
        "kvCache": "fp8" if level == "FP8_STATIC" and kv_dtype.startswith("fp8") else None,
        "samples": read.samples,
        "sequenceLength": read.sequence_length,
        "symmetric": optimize.symmetric,
    }
    return tuple((name, str(value).lower()) for name, value in given.items() if value is not None)


def _refuse_again(spec: ModelDeploymentSpec, facts: ModelFacts, method: str) -> None:
    """Weights that come quantised are served as they are, or not at all."""
    if facts.quantization not in METHODS:
        raise InvalidSpecError(
            reasons.UNSUPPORTED_QUANTIZATION,
            f"{spec.model.source} is quantised by {facts.quantization}, which no engine here loads: name the "
            "repository with the original 16-bit weights in spec.model.source.",
        )
    if method not in ("", facts.quantization):
        raise InvalidSpecError(
            reasons.UNSUPPORTED_QUANTIZATION,
            f"{spec.model.source} is quantised already ({facts.quantization}) and can't be converted to "
            f"{method.upper()}: name the repository with the original 16-bit weights in "
            "spec.model.source, or leave out spec.optimize to have it served as it is.",
        )


def _refuse_uneven(tensor: int | None, facts: ModelFacts) -> None:
    if tensor is not None and not divides(tensor, facts):
        sizes = [str(size) for size in range(1, facts.heads + 1) if divides(size, facts)][:8]
        raise InvalidSpecError(
            reasons.INVALID_SPEC,
            f"spec.engine.tensorParallel: {tensor} does not divide the model's {facts.heads} heads and "
            f"{facts.kv_heads} KV heads; use one of: {', '.join(sizes)}.",
        )


def divides(tensor: int, facts: ModelFacts) -> bool:
    """Whether devices can share each layer: heads are dealt out evenly, KV heads too, or copies of them."""
    if not facts.heads:
        return tensor == 1
    kv_heads = facts.kv_heads or facts.heads
    return facts.heads % tensor == 0 and (kv_heads % tensor == 0 or tensor % kv_heads == 0)


def _context(engine: Engine, facts: ModelFacts) -> int:
    """The wished context, refused beyond the model's own; a model that doesn't say its limit has none."""
    limit = facts.context_length
    if engine.context_length is None:
        return min(DEFAULT_CONTEXT, limit) if limit else DEFAULT_CONTEXT
    if limit and engine.context_length > limit:
        raise InvalidSpecError(
            reasons.INVALID_SPEC,
            f"spec.engine.contextLength: {engine.context_length} is more than the model's own limit of "
            f"{limit} tokens; set {limit} or less.",
        )
    return engine.context_length
