"""Shared shapes of the API's models: camelCase, extras forbidden, bounded strings, rules. For api only."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel

QUANTITY_PATTERN = r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$"


def _number_to_text(value: Any) -> Any:
    """``cpu: 2`` means ``cpu: "2"``, as everywhere in Kubernetes; a boolean is no number."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Bounded = Annotated[str, Field(max_length=256)]
Name = Annotated[str, Field(min_length=1, max_length=253)]
Text = Annotated[str, Field(max_length=1024)]
Figure = Annotated[str, Field(max_length=32)]
"""A measured figure as a decimal string: JSON floats round differently in every client."""
Quantity = Annotated[
    str,
    Field(max_length=32, pattern=QUANTITY_PATTERN),
    BeforeValidator(_number_to_text),
    Field(json_schema_extra={"x-kubernetes-int-or-string": True}),
]
Percent = Annotated[str, Field(max_length=8, pattern=r"^[0-9]+(\.[0-9]+)?%$")]

# What Kubernetes takes as names, labels and annotations, so that no child is refused for them later. Dots in
# brackets: the same texts stand in CEL, whose strings know no backslash before a dot.
SUBDOMAIN = "[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
_WORD = "[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
LABEL_KEY = f"({SUBDOMAIN}/)?{_WORD}"
ANNOTATION_KEY = f"({SUBDOMAIN.replace('a-z', 'A-Za-z')}/)?{_WORD}"
PREFIX_LIMIT = 253
KEY_LIMIT = PREFIX_LIMIT + 1 + 63
KEY_FORM = "[PREFIX/]NAME, a NAME of at most 63 letters, digits, dashes, dots and underscores"

ObjectName = Annotated[str, Field(min_length=1, max_length=253, pattern=f"^{SUBDOMAIN}$")]
NamespaceName = Annotated[str, Field(min_length=1, max_length=63, pattern="^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
LabelValue = Annotated[str, Field(max_length=63, pattern=f"^({_WORD})?$")]
LabelKey = Annotated[str, Field(max_length=KEY_LIMIT, pattern=f"^({LABEL_KEY})?$")]


@dataclass(frozen=True)
class Rule:
    """One rule between fields, in CEL for the API server and in Python for the pass and the CLI.

    Attributes:
        cel: expression over ``self``; the generator puts it into the CRD beside the object it is about.
        holds: the same in Python, given the parsed object.
        message: one sentence: what is wrong and what to write instead.
        field: wire name of the field to point at, empty for the object itself.
        reason: condition reason, documented in ``slipway.api.reasons``.
        culprits: keys of the map ``field`` that break it, so that each is named; None where there are none.
    """

    cel: str
    holds: Callable[[Any], bool]
    message: str
    field: str = ""
    reason: str = "InvalidSpec"
    culprits: Callable[[Any], Iterable[str]] | None = None


def matches(pattern: str, text: str) -> bool:
    """What CEL's ``matches`` says of an anchored pattern; Python's ``$`` would also pass a line break."""
    return re.fullmatch(pattern.removeprefix("^").removesuffix("$"), text) is not None


def _fits(key: str) -> bool:
    return len(key) <= KEY_LIMIT and key.find("/") <= PREFIX_LIMIT


def keys_rule(field: str, python: str, pattern: str = LABEL_KEY) -> Rule:
    """Keys of a map are what Kubernetes takes; a structural schema has no word for that.

    Args:
        field: wire name of the map.
        python: its name in Python.
        pattern: of a key, without anchors.
    """

    def wrong(model: Any) -> list[str]:
        keys = getattr(model, python) or {}
        return [key for key in keys if not _fits(key) or not matches(pattern, key)]

    each = f"key.indexOf('/') <= {PREFIX_LIMIT} && key.matches('^{pattern}$')"
    return Rule(
        cel=f"!has(self.{field}) || self.{field}.all(key, {each})",
        holds=lambda model: not wrong(model),
        message=f"a key is {KEY_FORM}, PREFIX a DNS name such as acme.example",
        field=field,
        culprits=wrong,
    )


def unique_rule(field: str, message: str) -> Rule:
    """The items of a list, equally named here and on the wire, have names of their own."""

    def unlike(model: Any) -> bool:
        found = [one.name for one in getattr(model, field) or ()]
        return len(set(found)) == len(found)

    return Rule(
        cel=f"!has(self.{field}) || self.{field}.all(one, "
        f"self.{field}.exists_one(other, other.name == one.name))",
        holds=unlike,
        message=message,
        field=field,
    )


def positive_rule(field: str, examples: str) -> Rule:
    """A quantity is more than nothing: 0 would be taken for "not set" by some, for a limit by others."""
    return Rule(
        cel=f"!has(self.{field}) || string(self.{field}).matches('[1-9]')",
        holds=lambda model: (
            getattr(model, field) is None or re.search("[1-9]", getattr(model, field)) is not None
        ),
        message=f"{field} must be more than 0, such as {examples}; leave it out to have it computed",
        field=field,
    )


class Model(BaseModel):
    """Base of every API type."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
    )

    rules: ClassVar[tuple[Rule, ...]] = ()


class LocalRef(Model):
    """An object of the same namespace; references never cross namespaces."""

    name: ObjectName
    """Name of the object."""


class Condition(Model):
    """One aspect of the object's state, in the shape of metav1.Condition."""

    type: Annotated[str, Field(max_length=316)]
    """What it is about, in CamelCase."""
    status: Literal["True", "False", "Unknown"]
    """Whether it holds."""
    observed_generation: int | None = None
    """The metadata.generation that this was said of."""
    last_transition_time: Annotated[str, Field(max_length=32, json_schema_extra={"format": "date-time"})]
    """When the status last changed."""
    reason: Annotated[str, Field(min_length=1, max_length=1024)]
    """Why, as one CamelCase word for programs."""
    message: Annotated[str, Field(max_length=32768)]
    """Why, and what to do next, for people."""
