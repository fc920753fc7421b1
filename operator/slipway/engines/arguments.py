"""The user's own arguments: refused where Slipway sets them, written as flags otherwise. For engine files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from slipway.api import reasons
from slipway.api.modeldeployment import ModelDeploymentSpec
from slipway.api.validate import Problem, problem


def argument_problems(spec: ModelDeploymentSpec, reserved: Mapping[str, str]) -> list[Problem]:
    """Arguments that Slipway sets itself, or that are not written as names.

    Args:
        spec: a structurally valid spec.
        reserved: argument (without dashes) to what to use in its place, empty for nothing.
    """
    return list(_problems((spec.engine.args if spec.engine else None) or {}, reserved))


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
        elif bare in reserved or bare.removeprefix("no-") in reserved:
            instead = reserved.get(bare) or reserved.get(bare.removeprefix("no-"))
            use = f"; use {instead}" if instead else ""
            yield problem(location, f"Slipway sets this argument itself{use}", reasons.RESERVED_ARGUMENT)


def user_args(spec: ModelDeploymentSpec) -> Iterator[str]:
    """``name: value`` as ``--name value``; one letter gets one dash, an empty value makes a flag."""
    for name, value in sorted(((spec.engine.args if spec.engine else None) or {}).items()):
        yield f"-{name}" if len(name) == 1 else f"--{name}"
        if value:
            yield value


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
