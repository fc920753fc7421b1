"""Every mistake of a ModelDeployment at once, in words. Called by the pass and by the command line.

The rules are those of the CRD (structure, CEL), run again so that no webhook is needed, and those that the
CRD can't know: which schemes and levels exist in this version.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from pydantic import ValidationError

from slipway.api import reasons
from slipway.api.base import Model, Rule
from slipway.api.kinds import MODEL_DEPLOYMENT, NAME_LIMIT
from slipway.api.modeldeployment import ModelDeploymentSpec
from slipway.api.optimize import AT_LOAD, FOLDERS
from slipway.api.poolspec import pool_wish
from slipway.api.schema import submodels
from slipway.api.words import as_json, describe, shown, suggest, unknown_level
from slipway.errors import InvalidSpecError
from slipway_runtime.contract import LEVELS
from slipway_runtime.sources import SCHEMES

__all__ = ["Location", "Problem", "parse", "problem", "problems", "salvage", "suggest"]
LEVELS_OF_OTHERS = tuple(
    dict.fromkeys(one for levels in (*FOLDERS.values(), *AT_LOAD.values()) for one in levels)
)
"""Levels of methods beside gguf."""
SALVAGE_ROUNDS = 4
"""Dropping a wrong field can make its parent wrong, at most as often as the spec is deep."""

Location = tuple[str | int, ...]
M = TypeVar("M", bound=Model)


@dataclass(frozen=True)
class Problem:
    """One mistake.

    Attributes:
        path: field, such as ``spec.access.allowFrom[0].namespace``.
        reason: condition reason, a constant of ``slipway.api.reasons``.
        message: one sentence that begins with the path: what is wrong, what is allowed, what is nearest.
        location: the path in parts, for finding the line in a file.
    """

    path: str
    reason: str
    message: str
    location: Location = ()


def parse(obj: dict[str, Any]) -> ModelDeploymentSpec:
    """The typed spec of a ModelDeployment.

    Raises:
        InvalidSpecError: with the reason of the first problem and the messages of all.
    """
    found = problems(obj)
    if found:
        raise InvalidSpecError(found[0].reason, "; ".join(problem.message for problem in found))
    return ModelDeploymentSpec.model_validate_json(as_json(obj["spec"]))


def problems(obj: dict[str, Any]) -> list[Problem]:
    """All mistakes of a ModelDeployment, in the order of the fields; empty when there is none.

    Args:
        obj: the object as YAML or JSON gave it; of any shape.
    """
    spec = obj.get("spec")
    found = list(_name_problems(obj.get("metadata")))
    if not isinstance(spec, dict):
        text = "is missing" if spec is None else "must be a map of fields"
        return [*found, problem(("spec",), f"{text}; at least spec.model.source is needed")]
    found += _structure_problems(spec)
    found += _rule_problems(ModelDeploymentSpec, spec, ("spec",))
    parsed = salvage(ModelDeploymentSpec, spec)
    found += _named_problems(obj.get("metadata"), parsed)
    found += _catalogue_problems(spec, parsed)
    if not found:  # else each pool would say the same again
        found += _pool_problems(obj.get("metadata"), parsed)
    return found


def problem(location: Location, text: str, reason: str = reasons.INVALID_SPEC) -> Problem:
    """A problem whose message begins with the path of its location."""
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return Problem(path, reason, f"{path}: {text}", location)


def _name_problems(metadata: Any) -> Iterator[Problem]:
    name = metadata.get("name") if isinstance(metadata, dict) else None
    where = ("metadata", "name")
    if name is None:
        yield problem(where, "is missing", reasons.INVALID_NAME)
    elif not isinstance(name, str):
        yield problem(where, f"must be a text: put {shown(name)} in quotes", reasons.INVALID_NAME)
    else:
        for rule in MODEL_DEPLOYMENT.root_rules:
            if not rule.holds(name):
                yield problem(where, f"{shown(name)}: {rule.message}", rule.reason)


def _named_problems(metadata: Any, parsed: ModelDeploymentSpec | None) -> Iterator[Problem]:
    name = metadata.get("name") if isinstance(metadata, dict) else None
    for rule in MODEL_DEPLOYMENT.named_rules:
        if parsed and not rule.holds((name, parsed)):
            yield problem(tuple(rule.field.split(".")), rule.message, rule.reason)


def _structure_problems(spec: dict[str, Any]) -> Iterator[Problem]:
    try:
        _validate(ModelDeploymentSpec, spec)
    except ValidationError as error:
        for details in error.errors(include_url=False):
            location = ("spec", *details["loc"])
            reason = (
                reasons.INVALID_SOURCE if location == ("spec", "model", "source") else reasons.INVALID_SPEC
            )
            yield problem(location, describe(details), reason)


def _validate(model: type[M], raw: Any) -> M:
    """As strict as the API server: no coercion, wire names only."""
    return model.model_validate_json(as_json(raw), strict=True, by_alias=True, by_name=False)


def _rule_problems(model: type[Model], raw: Any, location: Location) -> Iterator[Problem]:
    """Rules of this object and, by recursion, of those inside. What has no valid structure is left out."""
    if not isinstance(raw, dict):
        return
    parsed = salvage(model, raw)
    for rule in model.rules:
        if parsed and not _dropped(rule.field, parsed, raw) and not rule.holds(parsed):
            yield from _broken(rule, parsed, location)
    for field in model.model_fields.values():
        name = str(field.alias)
        for inner in submodels(field.annotation):
            value = raw.get(name)
            items = enumerate(value) if isinstance(value, list) else [(None, value)]
            for index, item in items:
                yield from _rule_problems(
                    inner, item, (*location, name) if index is None else (*location, name, index)
                )


def _dropped(field: str, parsed: Model, raw: dict[str, Any]) -> bool:
    """Whether this field is there but wrong by itself: a rule about it would only say the same again."""
    names = {str(info.alias): name for name, info in type(parsed).model_fields.items()}
    return field in raw and names.get(field) not in parsed.model_fields_set


def _broken(rule: Rule, parsed: Model, location: Location) -> Iterator[Problem]:
    """The path is the API server's, the map; the line is that of the wrong key."""
    where = (*location, rule.field) if rule.field else location
    if rule.culprits is None:
        yield problem(where, rule.message, rule.reason)
        return
    for key in rule.culprits(parsed):
        named = problem(where, f"{shown(key)}: {rule.message}", rule.reason)
        yield replace(named, location=(*where, key))


def salvage(model: type[M], raw: Any) -> M | None:
    """The object without its wrong fields, so that other rules can speak; None when too little is left."""
    kept = copy.deepcopy(raw)
    for _ in range(SALVAGE_ROUNDS):
        try:
            return _validate(model, kept)
        except ValidationError as error:
            for details in error.errors(include_url=False):
                location = details["loc"][:-1] if details["type"] == "missing" else details["loc"]
                if not location:
                    return None
                _drop(kept, location)
    return None


def _drop(node: Any, location: Location) -> None:
    """Take the field at this location out; it may be gone already."""
    *path, last = location
    try:
        for part in path:
            node = node[part]
        del node[last]
    except (KeyError, IndexError, TypeError):
        return


def _catalogue_problems(spec: dict[str, Any], parsed: ModelDeploymentSpec | None) -> Iterator[Problem]:
    """What this version does not know: scheme and level."""
    for where, source in _sources(spec, parsed):
        scheme = source.split("://")[0]
        if "://" in source and scheme not in SCHEMES:
            text = f"the scheme {scheme}:// is not known; {suggest(scheme, SCHEMES)}"
            yield problem(where, text, reasons.UNKNOWN_SCHEME)
    level, known = _text(spec, "optimize", "level"), ("auto", *LEVELS, *LEVELS_OF_OTHERS)
    if level and level not in known:
        text = f"{shown(level)} {unknown_level(level)}; {suggest(level, known)}"
        yield problem(("spec", "optimize", "level"), text, reasons.UNKNOWN_LEVEL)


def _pool_problems(metadata: Any, parsed: ModelDeploymentSpec | None) -> Iterator[Problem]:
    """A pool is a ModelDeployment NAME-POOL of its own, with the spec of all and what it says otherwise."""
    name = str(metadata.get("name", "")) if isinstance(metadata, dict) else ""
    for index, pool in enumerate((parsed.pools if parsed else None) or ()):
        where = ("spec", "pools", index)
        if len(f"{name}-{pool.name}") > NAME_LIMIT:
            text = f"{name}-{pool.name} has more than {NAME_LIMIT} characters; shorten one of the two"
            yield problem((*where, "name"), text, reasons.INVALID_NAME)
        wish = pool_wish(parsed, name or "model", pool, 0) if parsed else {}
        both = [
            *_structure_problems(wish),
            *_rule_problems(ModelDeploymentSpec, wish, ("spec",)),
            *_catalogue_problems(wish, salvage(ModelDeploymentSpec, wish)),
        ]
        for found in both:
            yield problem(where, f"together with the whole: {found.message}", found.reason)


def _sources(spec: dict[str, Any], parsed: ModelDeploymentSpec | None) -> Iterator[tuple[Location, str]]:
    """Every source that the spec names; of companions those with a valid structure."""
    yield ("spec", "model", "source"), _text(spec, "model", "source")
    guess = parsed.engine.speculative if parsed and parsed.engine else None
    if guess and guess.draft:
        yield ("spec", "engine", "speculative", "draft", "source"), guess.draft.source
    read = parsed.optimize.calibration if parsed and parsed.optimize else None
    if read and read.source:
        yield ("spec", "optimize", "calibration", "source"), read.source
    for index, one in enumerate((parsed.model.adapters if parsed else None) or ()):
        yield ("spec", "model", "adapters", index, "source"), one.source


def _text(spec: dict[str, Any], part: str, field: str) -> str:
    value = spec[part].get(field) if isinstance(spec.get(part), dict) else None
    return value if isinstance(value, str) else ""
