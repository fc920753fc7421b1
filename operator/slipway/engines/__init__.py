"""The engines: one file each, discovered; called by manifests, checks, the pass and the CLI."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from slipway.api import reasons
from slipway.api.modeldeployment import ModelDeploymentSpec
from slipway.api.validate import Problem, problem, suggest
from slipway.engines.base import Drain, EngineDef, Launch, Metrics
from slipway.plan.capabilities import lacking
from slipway.plan.decide import decide as decide_among
from slipway.plan.decision import Plan
from slipway.plan.facts import CPU, EngineFacts, ModelFacts, NodeFacts
from slipway.settings import Settings

__all__ = [
    "ENGINES",
    "Drain",
    "EngineDef",
    "Launch",
    "Metrics",
    "Problem",
    "decide",
    "engine_facts",
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


ENGINES: Mapping[str, EngineDef] = _discover()
"""Engine name to engine."""


def engine_facts(settings: Settings) -> tuple[EngineFacts, ...]:
    """What the planner may choose from, by rank.

    An engine that is for some goals alone comes with terms of its own, so that it is chosen only where the
    installation names an image for it.
    """
    named = {key.partition("/")[0] for key, _ in settings.images.engines}
    found = (one.facts for one in ENGINES.values())
    willing = (
        replace(one, goals=frozenset())
        if one.goals and "" not in one.goals and one.name not in named
        else one
        for one in found
    )
    return tuple(sorted(willing, key=lambda one: (one.rank, one.name)))


def decide(
    spec: ModelDeploymentSpec, facts: ModelFacts, nodes: Sequence[NodeFacts], settings: Settings
) -> Plan:
    """``plan.decide.decide`` among the engines of this installation; its errors."""
    return decide_among(spec, facts, nodes, settings, engine_facts(settings))


def image_of(settings: Settings, spec: ModelDeploymentSpec, plan: Plan) -> str:
    """Image of the plan's engine: the user's, else the pinned one, the installation's, the engine's own."""
    accelerator = plan.accelerator.vendor if plan.accelerator else CPU
    own = ENGINES[plan.engine].images.get(accelerator, "")
    return (
        (spec.engine.image if spec.engine else None)
        or settings.images.pinned
        or dict(settings.images.engines).get(f"{plan.engine}/{accelerator}")
        or own
        or settings.images.llamacpp
    )


def problems(spec: ModelDeploymentSpec) -> list[Problem]:
    """Mistakes that only the engines know: an unknown name, an argument that we set, an unknown argument.

    Args:
        spec: a structurally valid spec.

    Returns:
        All mistakes, in the order of the spec's fields; empty when there are none.
    """
    name = (spec.engine.name if spec.engine else None) or "auto"
    if name != "auto" and name not in ENGINES:
        text = f"{name!r} is no engine; {suggest(name, ['auto', *ENGINES])}"
        return [problem(("spec", "engine", "name"), text, reasons.UNKNOWN_ENGINE)]
    chosen = [one for one in ENGINES.values() if one.facts.goals] if name == "auto" else [ENGINES[name]]
    # With ``auto`` an argument is wrong when any engine that may be chosen sets it itself; a wish is wrong
    # only when none of them can grant it.
    found = {found.message: found for engine in chosen for found in engine.problems(spec)}
    lacks = [[problem(("spec", "engine"), text) for text in lacking(spec, one.facts)] for one in chosen]
    return [*found.values(), *min(lacks, key=len, default=[])]
