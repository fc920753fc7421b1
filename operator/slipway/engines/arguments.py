"""The user's own arguments: refused where Slipway sets them, written as flags otherwise. For engine files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from slipway.api import reasons
from slipway.api.modeldeployment import Engine, ModelDeploymentSpec
from slipway.api.validate import Problem, problem
from slipway.engines.base import Launch
from slipway.plan.decision import Accelerator, Memory, Plan


def argument_problems(
    spec: ModelDeploymentSpec,
    reserved: Mapping[str, str],
    with_prompt: Mapping[str, str] = MappingProxyType({}),
) -> list[Problem]:
    """Arguments that Slipway sets itself, or that are not written as names.

    Args:
        spec: a structurally valid spec.
        reserved: argument (without dashes) to what to use in its place, empty for nothing.
        with_prompt: more of them, for a spec with a system prompt.
    """
    engine = spec.engine or Engine()
    prompt = engine.generation is not None and engine.generation.system_prompt is not None
    return list(_problems(engine.args or {}, {**reserved, **(with_prompt if prompt else {})}))


def no_default_length(spec: ModelDeploymentSpec, engine: str) -> list[Problem]:
    """The spec's default of the answer's length, for a server that has none."""
    wished = spec.engine.generation if spec.engine else None
    if wished is None or wished.max_tokens is None:
        return []
    where = ("spec", "engine", "generation", "maxTokens")
    text = f"{engine} has no default of the answer's length: leave maxTokens to requests"
    return [problem(where, text)]


def _problems(given: Mapping[str, str], reserved: Mapping[str, str]) -> Iterator[Problem]:
    for name in given:
        location = ("spec", "engine", "args", name)
        bare = name.lstrip("-").replace("_", "-")
        if (
            not bare
            or name.startswith("-")
            or any(character.isspace() or character == "=" for character in name)
        ):
            yield problem(location, f"write the name of the argument alone, without dashes: {bare or 'name'}")
        elif taken := [one for one in _spellings(bare) if one in reserved]:
            instead = reserved[taken[0]]
            use = f"; use {instead}" if instead else ""
            yield problem(location, f"Slipway sets this argument itself{use}", reasons.RESERVED_ARGUMENT)


def _spellings(bare: str) -> tuple[str, ...]:
    """An argument, what its ``no-`` switches off, and the one whose JSON a ``name.key`` fills."""
    return bare, bare.removeprefix("no-"), bare.partition(".")[0]


def user_args(spec: ModelDeploymentSpec) -> Iterator[str]:
    """``name: value`` as ``--name value``; one letter gets one dash, an empty value makes a flag."""
    for name, value in sorted(((spec.engine.args if spec.engine else None) or {}).items()):
        yield f"-{name}" if len(name) == 1 else f"--{name}"
        if value:
            yield value


def adapters(flag: str, launch: Launch) -> list[str]:
    """Every adapter behind one flag; nothing without any."""
    return [flag, *(one.pair for one in launch.adapters)] if launch.adapters else []


def flags(values: Mapping[str, str | int | None]) -> list[str]:
    """Flags with their values, those of None left out; ``True`` is not needed: write ``switches``."""
    return [part for name, value in values.items() if value is not None for part in (name, str(value))]


def switches(values: Mapping[str, bool | None]) -> list[str]:
    """Boolean flags of argparse's ``--x`` and ``--no-x``; None leaves the engine's default."""
    return [
        name if wished else f"--no-{name.removeprefix('--')}"
        for name, wished in values.items()
        if wished is not None
    ]


def share_of_free(plan: Plan) -> str:
    """Share for the KV cache of the memory that is free beside weights, for engines that count it so.

    The plan's share is of the whole device: what it leaves for the cache is the same here.
    """
    device, memory, devices = _device(plan)
    taken = (memory.weights + memory.overhead + memory.companions) / devices
    room = device.memory * device.share / 100 - taken - memory.activations / devices
    return f"{min(0.95, max(0.05, room / max(1.0, device.memory - taken))):.2f}"


def share_of_static(plan: Plan) -> str:
    """Share for weights and KV cache of the whole device, for engines that leave activations out of it."""
    device, memory, devices = _device(plan)
    beside = (memory.activations + memory.overhead + memory.companions) / devices
    return f"{max(0.05, device.share / 100 - beside / max(1, device.memory)):.2f}"


def _device(plan: Plan) -> tuple[Accelerator, Memory, int]:
    if plan.accelerator is None:
        raise ValueError("a plan without a device has no share of one")
    return plan.accelerator, plan.memory, plan.parallel.devices
