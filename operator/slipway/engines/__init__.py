"""The engines: one file each, discovered; called by manifests, checks, the pass and the CLI."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from types import MappingProxyType

from slipway.api import reasons
from slipway.api.modeldeployment import ModelDeploymentSpec
from slipway.api.validate import Problem, problem, suggest
from slipway.engines.base import Drain, EngineDef, Launch, Metrics

__all__ = ["ENGINES", "Drain", "EngineDef", "Launch", "Metrics", "Problem", "problems"]


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
    chosen = list(ENGINES.values()) if name == "auto" else [ENGINES[name]]
    # With ``auto`` a spec is wrong only when every engine that may be chosen refuses it.
    refusals = [engine.problems(spec) for engine in chosen]
    return min(refusals, key=len, default=[])
