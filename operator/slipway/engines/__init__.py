"""The engines: one file each, discovered; called by manifests, checks, the pass and the CLI."""

from __future__ import annotations

import importlib
import json
import pkgutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from types import MappingProxyType

from slipway.api import reasons
from slipway.api.modeldeployment import ModelDeploymentSpec
from slipway.api.validate import Problem, problem, suggest
from slipway.engines.base import EngineDef, Launch, Metrics, Mounted
from slipway.engines.custom import build_engine
from slipway.errors import InvalidSpecError
from slipway.plan.capabilities import lacking
from slipway.plan.companions import Companion
from slipway.plan.decide import decide as decide_among
from slipway.plan.decision import Plan
from slipway.plan.facts import CPU, EngineFacts, ModelFacts, NodeFacts
from slipway.settings import Settings

__all__ = [
    "ENGINES",
    "EngineDef",
    "Launch",
    "Metrics",
    "Mounted",
    "Problem",
    "all_engines",
    "decide",
    "engine_facts",
    "engine_named",
    "image_of",
    "problems",
]


def _discover() -> Mapping[str, EngineDef]:
    """Every module of this package that exports ``ENGINE``, by engine name, sorted."""
    found: dict[str, EngineDef] = {}
    for info in sorted(pkgutil.iter_modules(__path__), key=lambda module: module.name):
        engine = getattr(importlib.import_module(f"{__name__}.{info.name}"), "ENGINE", None)
        if isinstance(engine, EngineDef):
            found[engine.name] = engine
    return MappingProxyType(found)


BUILT_IN = Settings()
"""An installation without engines of its own."""
ENGINES: Mapping[str, EngineDef] = _discover()
"""Engine name to built-in engine."""


@lru_cache(maxsize=64)
def _custom(name: str, spec: str) -> EngineDef | InvalidSpecError:
    try:
        return build_engine(name, json.loads(spec))
    except InvalidSpecError as error:
        return error


def all_engines(settings: Settings) -> Mapping[str, EngineDef]:
    """Built-in engines and those of ServingEngines that can be used; a built-in name can't be taken."""
    own = {name: _custom(name, spec) for name, spec in settings.serving_engines}
    return {**{name: one for name, one in own.items() if isinstance(one, EngineDef)}, **ENGINES}


def engine_named(settings: Settings, name: str) -> EngineDef:
    """The engine of a plan.

    Raises:
        InvalidSpecError: ``UnknownEngine``, no such engine, or a ServingEngine that can't be used.
    """
    if name in ENGINES:
        return ENGINES[name]
    spec = dict(settings.serving_engines).get(name)
    found = _custom(name, spec) if spec is not None else None
    if isinstance(found, EngineDef):
        return found
    known = ", ".join(sorted(all_engines(settings)))
    raise found or InvalidSpecError(reasons.UNKNOWN_ENGINE, f"{name!r} is no engine; known are {known}")


def engine_facts(settings: Settings) -> tuple[EngineFacts, ...]:
    """What the planner may choose from, by rank.

    An engine that is for some goals alone comes with terms of its own, so that it is chosen only where the
    installation names an image for it.
    """
    named = {key.partition("/")[0] for key, _ in settings.images.engines}
    found = (one.facts for one in all_engines(settings).values())
    willing = (
        replace(one, goals=frozenset())
        if one.goals and "" not in one.goals and one.name not in named
        else one
        for one in found
    )
    return tuple(sorted(willing, key=lambda one: (one.rank, one.name)))


def decide(
    spec: ModelDeploymentSpec,
    facts: ModelFacts,
    nodes: Sequence[NodeFacts],
    settings: Settings,
    companions: Sequence[Companion] = (),
) -> Plan:
    """``plan.decide.decide`` among the engines of this installation; its errors."""
    return decide_among(spec, facts, nodes, settings, engine_facts(settings), companions)


def image_of(settings: Settings, spec: ModelDeploymentSpec, plan: Plan) -> str:
    """Image of the plan's engine: the user's, else the pinned one, the installation's, the engine's own."""
    accelerator = plan.accelerator.vendor if plan.accelerator else CPU
    own = engine_named(settings, plan.engine).images.get(accelerator, "")
    return (
        (spec.engine.image if spec.engine else None)
        or settings.images.pinned
        or dict(settings.images.engines).get(f"{plan.engine}/{accelerator}")
        or own
        or settings.images.llamacpp
    )


def problems(spec: ModelDeploymentSpec, settings: Settings = BUILT_IN) -> list[Problem]:
    """Mistakes that only the engines know: an unknown name, an argument that we set, an unknown argument.

    Args:
        spec: a structurally valid spec.
        settings: say which engines there are.

    Returns:
        All mistakes, in the order of the spec's fields; empty when there are none.
    """
    name = (spec.engine.name if spec.engine else None) or "auto"
    if name == "auto":
        willing = {one.name for one in engine_facts(settings) if one.goals}
        chosen = [one for one in ENGINES.values() if one.name in willing]
    else:
        try:
            chosen = [engine_named(settings, name)]
        except InvalidSpecError as error:
            known = ["auto", *sorted(all_engines(settings))]
            own = name in dict(settings.serving_engines)
            text = error.message if own else f"{name!r} is no engine; {suggest(name, known)}"
            return [problem(("spec", "engine", "name"), text, reasons.UNKNOWN_ENGINE)]
    # With ``auto`` an argument is wrong when any engine that may be chosen sets it itself; a wish is wrong
    # only when none of them can grant it.
    found = {found.message: found for engine in chosen for found in engine.problems(spec)}
    lacks = [[problem(("spec", "engine"), text) for text in lacking(spec, one.facts)] for one in chosen]
    return [*found.values(), *min(lacks, key=len, default=[])]
