"""The options that a spec leaves to the planner, best first, and what each needs; pure, called by decide."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from slipway.api import reasons
from slipway.api.modeldeployment import Engine, ModelDeploymentSpec, Optimize
from slipway.api.words import unknown_level
from slipway.errors import InvalidSpecError
from slipway.plan.decision import Memory
from slipway.plan.facts import ModelFacts
from slipway.plan.memory import engine_memory
from slipway.plan.quantities import MIB, quantity, round_up
from slipway_runtime.contract import LEVELS

ENGINE = "llamacpp"
QUALITY_LEVELS = ("Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q3_K_M", "Q2_K")
"""Levels for goal quality, best first; Q8_0 loses less than 1 %, so F16 is only served when asked for."""
BALANCED_LEVELS = ("Q4_K_M", "Q3_K_M", "Q2_K")
"""Levels for the other goals. Decoding on CPU is bound by memory bandwidth: fewer bytes are more tokens/s."""
DEFAULT_CONTEXT = 4096
CONCURRENCIES = (4, 2, 1)
"""Requests at once when the spec doesn't say; fewer come before a lower level: quality is worth more."""
MEMORY_MARGIN = 1.1
"""Container memory over computed memory: the figures of ``memory`` are within 10 %."""


@dataclass(frozen=True)
class Wishes:
    """What the spec asks for, resolved against the model.

    Attributes:
        levels: allowed levels, best first.
        context_length: tokens of context for each request.
        concurrencies: allowed requests at once, best first.
        memory: container memory that the user fixed, bytes; None to compute it.
        cpu_millis: container CPU that the user fixed; None to compute it.
    """

    goal: str
    levels: tuple[str, ...]
    context_length: int
    concurrencies: tuple[int, ...]
    memory: int | None
    cpu_millis: int | None


@dataclass(frozen=True)
class Option:
    """One way to serve.

    Attributes:
        memory: what the engine will use.
        container_memory: request and limit of the container, bytes.
    """

    level: str
    context_length: int
    concurrency: int
    memory: Memory
    container_memory: int

    @property
    def text(self) -> str:
        """As status shows it."""
        requests = "request" if self.concurrency == 1 else "requests"
        return f"{self.level}, {self.concurrency} {requests} of {self.context_length} tokens"


def read_wishes(spec: ModelDeploymentSpec, facts: ModelFacts) -> Wishes:
    """Resolve what the user fixed and what is left open.

    Raises:
        InvalidSpecError: ``UnknownEngine``, ``UnknownLevel``, ``InvalidSpec`` (method and level contradict
            each other, or the context is longer than the model's), ``UnsupportedQuantization``.
    """
    optimize, engine = spec.optimize or Optimize(), spec.engine or Engine()
    if engine.name not in (None, "auto", ENGINE):
        message = f"spec.engine.name: {engine.name!r} is unknown; use one of: auto, {ENGINE}"
        raise InvalidSpecError(reasons.UNKNOWN_ENGINE, message)
    if facts.quantization:
        raise InvalidSpecError(
            reasons.UNSUPPORTED_QUANTIZATION,
            f"{spec.model.source} is quantised already ({facts.quantization}) and can't be converted to "
            "GGUF: name the repository with the original 16-bit weights in spec.model.source.",
        )
    given = engine.resources
    return Wishes(
        goal=optimize.goal or "throughput",
        levels=_levels(optimize),
        context_length=_context(engine, facts),
        concurrencies=(engine.concurrency,) if engine.concurrency else CONCURRENCIES,
        memory=int(quantity(given.memory)) if given and given.memory else None,
        cpu_millis=round(quantity(given.cpu) * 1000) if given and given.cpu else None,
    )


def _levels(optimize: Optimize) -> tuple[str, ...]:
    if optimize.level not in (None, "auto"):
        level = str(optimize.level)
        if level not in LEVELS:
            why = unknown_level(level)
            message = f"spec.optimize.level: {level!r} {why}; use auto or one of: {', '.join(LEVELS)}"
            raise InvalidSpecError(reasons.UNKNOWN_LEVEL, message)
        if optimize.method == "none" and level != "F16":
            message = f"spec.optimize.level: method none serves F16, not {level}; drop one of the two"
            raise InvalidSpecError(reasons.INVALID_SPEC, message)
        return (level,)
    if optimize.method == "none":
        return ("F16",)
    return QUALITY_LEVELS if optimize.goal == "quality" else BALANCED_LEVELS


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


def options(wishes: Wishes, facts: ModelFacts) -> Iterator[Option]:
    """Every allowed option, best first: levels in order, and for each the concurrencies in order."""
    for level in wishes.levels:
        for concurrency in wishes.concurrencies:
            memory = engine_memory(facts, level, wishes.context_length, concurrency)
            container = wishes.memory if wishes.memory is not None else round(memory.total * MEMORY_MARGIN)
            yield Option(level, wishes.context_length, concurrency, memory, round_up(container, MIB))
