"""Every mistake of one ModelDeployment that needs no cluster to be seen: API, engines, around the spec."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from slipway import engines
from slipway.api import API_VERSION
from slipway.api.modeldeployment import ModelDeploymentSpec
from slipway.api.validate import Problem, problem, problems, salvage, suggest
from slipway.api.words import shown

FIELDS = ("apiVersion", "kind", "metadata", "spec", "status")
SPEC_FIELDS = frozenset(str(field.alias) for field in ModelDeploymentSpec.model_fields.values())
METADATA = (
    "name", "namespace", "labels", "annotations", "generateName", "finalizers", "ownerReferences",
    "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation", "managedFields",
    "resourceVersion", "selfLink", "uid",
)  # fmt: skip
NAMESPACE = re.compile("[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


def object_problems(obj: dict[str, Any]) -> Iterator[Problem]:
    """Every mistake of an object, of any shape, in the order of its parts."""
    if obj.get("apiVersion") != API_VERSION:
        yield problem(("apiVersion",), f"{shown(obj.get('apiVersion'))} must be {API_VERSION}")
    yield from _frame_problems(obj)
    yield from problems(obj)
    spec = salvage(ModelDeploymentSpec, obj.get("spec"))
    yield from engines.problems(spec) if spec else ()


def _frame_problems(obj: dict[str, Any]) -> Iterator[Problem]:
    """What stands around the spec: in a cluster it is right, in a file a line may be indented too little."""
    for field in obj:
        if field in SPEC_FIELDS:
            yield problem((field,), f"stands outside of spec: indent it, to be spec.{field}")
        elif field not in FIELDS:
            yield problem((field,), f"no such field; {suggest(field, FIELDS)}")
    metadata = obj.get("metadata")
    if not isinstance(metadata, dict):
        return
    for field in metadata:
        if field not in METADATA:
            yield problem(("metadata", field), f"no such field; {suggest(field, METADATA[:4])}")
    namespace = metadata.get("namespace")
    if namespace is not None and not (isinstance(namespace, str) and NAMESPACE.fullmatch(namespace)):
        text = f"{shown(namespace)} is no namespace: at most 63 lower-case letters, digits and dashes"
        yield problem(("metadata", "namespace"), text)


def name_of(obj: dict[str, Any]) -> str:
    """Its name; ``?`` when it has none."""
    metadata = obj.get("metadata")
    return str(metadata.get("name", "?")) if isinstance(metadata, dict) else "?"
