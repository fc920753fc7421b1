"""Shared shapes of the API's models: camelCase, extras forbidden, bounded strings, rules. For api only."""

from __future__ import annotations

from collections.abc import Callable
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


@dataclass(frozen=True)
class Rule:
    """One rule between fields, in CEL for the API server and in Python for the pass and the CLI.

    Attributes:
        cel: expression over ``self``; the generator puts it into the CRD beside the object it is about.
        holds: the same in Python, given the parsed object.
        message: one sentence: what is wrong and what to write instead.
        field: wire name of the field to point at, empty for the object itself.
        reason: condition reason, documented in ``slipway.api.reasons``.
    """

    cel: str
    holds: Callable[[Any], bool]
    message: str
    field: str = ""
    reason: str = "InvalidSpec"


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

    name: Annotated[
        str,
        Field(
            min_length=1,
            max_length=253,
            pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
        ),
    ]
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
