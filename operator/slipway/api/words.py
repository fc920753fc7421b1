"""Mistakes in words: a wrong value as its author wrote it, what is allowed, what is nearest. For validate."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable
from typing import Any

from pydantic_core import ErrorDetails

from slipway.api.base import KEY_FORM, Model
from slipway.api.modeldeployment import ModelDeploymentSpec
from slipway.api.schema import submodels
from slipway_runtime.contract import LEVELS

SHOWN = 60
"""Characters of a wrong value that a message repeats."""
LABEL_VALUE = "at most 63 letters, digits, dashes, dots and underscores, a letter or digit first and last"
FORMS = {
    "source": "of the form SCHEME://…, for example hf://ORG/NAME",
    "maxQualityLoss": 'a percentage such as "10%"',
    "cpu": "a Kubernetes quantity such as 2 or 500m",
    "memory": "a Kubernetes quantity such as 8Gi",
    "size": "a Kubernetes quantity such as 20Gi",
    "temperature": 'a decimal number in quotes such as "0.7"',
    "topP": 'a decimal number in quotes such as "0.95"',
    "image": "an image reference without blanks",
    "name": "a name of lower-case letters, digits and dashes",
    "namespace": "a namespace: lower-case letters, digits and dashes",
    "storageClassName": "a StorageClass's name: lower-case letters, digits, dashes and dots",
    "priorityClassName": "a PriorityClass's name: lower-case letters, digits, dashes and dots",
    "key": f"a taint's key: {KEY_FORM}",
    "value": f"a taint's value: {LABEL_VALUE}",
}
"""What a pattern means, by field."""
VALUE_FORMS = {
    "labels": f"a label's value: {LABEL_VALUE}",
    "nodeSelector": f"a label's value: {LABEL_VALUE}",
    "podLabels": f"a label's value: {LABEL_VALUE}",
    "annotations": "a text in quotes",
}
"""The same for the values of a map, by the map's field."""


def describe(error: ErrorDetails) -> str:
    """Pydantic's error, of a place inside a spec, in a sentence for a person."""
    location, given, context = error["loc"], shown(error["input"]), error.get("ctx", {})
    wanted = _form(location)
    match error["type"]:
        case "missing":
            words = "is missing"
        case "extra_forbidden":
            words = f"no such field; {suggest(str(location[-1]), _siblings(location))}"
        case "literal_error":
            allowed = re.findall(r"'([^']*)'", str(context["expected"]))
            words = f"{given} is not allowed; {suggest(str(error['input']), allowed)}"
        case "string_pattern_mismatch":
            words = f"{given} is not {wanted or context['pattern']}"
        case "string_type":
            words = f"must be {wanted}, not {given}" if wanted else f"must be a text: put {given} in quotes"
        case "model_type" | "model_attributes_type" | "dict_type":
            words = f"must be a map of fields, not {given}"
        case _:
            words = f"{error['msg'][0].lower()}{error['msg'][1:]}, not {given}"
    return words


def _form(location: tuple[str | int, ...]) -> str | None:
    """What the field must look like, when a pattern says it; a map speaks for all its values."""
    inside = str(location[-2]) if len(location) > 1 else ""
    return VALUE_FORMS.get(inside) or FORMS.get(str(location[-1]))


def suggest(word: str, known: Iterable[str]) -> str:
    """``did you mean X? Known: …``; without the question when nothing is near."""
    names = list(known)
    near = difflib.get_close_matches(word.lower(), [name.lower() for name in names], n=1)
    nearest = [name for name in names if near and name.lower() == near[0]]
    question = f"did you mean {nearest[0]}? " if nearest else ""
    return f"{question}Known: {', '.join(names)}"


def unknown_level(level: str) -> str:
    """Why a level is not on offer."""
    if level.upper() in LEVELS:
        return "is written in capitals"
    return "is no level of llama.cpp"


def shown(value: Any) -> str:
    """A wrong value as its author wrote it, for a message: JSON's words, cut when it is long."""
    text = f"'{value}'" if isinstance(value, str) else as_json(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def as_json(value: Any) -> str:
    """YAML also knows dates, which JSON has not: they become the text that the user wrote."""
    return json.dumps(value, default=str)


def _siblings(location: tuple[str | int, ...]) -> list[str]:
    """Known fields of the object that holds the unknown one at this location (inside spec)."""
    model: type[Model] = ModelDeploymentSpec
    for part in location[:-1]:
        if isinstance(part, str):
            fields = {field.alias: field for field in model.model_fields.values()}
            model = submodels(fields[part].annotation)[0]
    return [str(field.alias) for field in model.model_fields.values()]
