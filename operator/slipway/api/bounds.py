"""Cuts a status to its schema's bounds, so that no long text makes the API server refuse it. For status."""

from __future__ import annotations

from functools import cache
from typing import Any

from slipway.api.base import Model
from slipway.api.schema import build_schema

ELLIPSIS = "…"


@cache
def _schema(model: type[Model]) -> dict[str, Any]:
    return build_schema(model)


def fit(status: dict[str, Any], model: type[Model]) -> dict[str, Any]:
    """Copy of a wire status whose strings and lists are no longer than the model allows.

    Args:
        status: camelCase JSON, as it would be written.
        model: its type, for example ``ModelDeploymentStatus``.

    Returns:
        The same, texts cut at the end with an ellipsis, lists at their end. Figures and unknown fields stay.
    """
    fitted: dict[str, Any] = _fit(status, _schema(model))
    return fitted


def _fit(value: Any, schema: dict[str, Any]) -> Any:
    if isinstance(value, str):
        limit = schema.get("maxLength", len(value))
        return value if len(value) <= limit else value[: limit - 1] + ELLIPSIS
    if isinstance(value, list):
        return [_fit(item, schema.get("items", {})) for item in value[: schema.get("maxItems", len(value))]]
    if isinstance(value, dict):
        rest = schema.get("additionalProperties", {})
        fields = schema.get("properties", {})
        return {key: _fit(item, fields.get(key, rest)) for key, item in value.items()}
    return value
