"""Who manages which field of an object (``metadata.managedFields``); pure, called by ``apply``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from slipway.api import FIELD_MANAGER

Fields = Mapping[str, Any]
"""Nested sets of fields (FieldsV1): ``f:name`` a field, ``k:{…}`` a list's item, ``.`` the thing itself."""
_SPEC: Final = "f:spec"
_REPLICAS: Final = "f:replicas"


def spec_taken_over(raw: Mapping[str, Any], wished: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The object's managedFields with the whole spec ours: the next apply drops what of it is not wished.

    Args:
        raw: the object as read; it is ours.
        wished: its wished spec. Replicas that it leaves out stay an autoscaler's.

    Returns:
        All entries; none when nobody else has a part of the spec.
    """
    entries = raw["metadata"].get("managedFields", ())
    stays = () if "replicas" in wished else (_REPLICAS,)
    taken: Fields = {}
    left = []
    for entry in entries:
        fields = entry["fieldsV1"]
        if not _ours(entry) and _comparable(entry, raw):
            spec = fields.get(_SPEC, {})
            taken = _union(taken, {key: inner for key, inner in spec.items() if key not in stays})
            kept = {key: inner for key, inner in spec.items() if key in stays}
            fields = {key: inner for key, inner in fields.items() if key != _SPEC}
            fields |= {_SPEC: kept} if kept else {}
        if fields:
            left.append({**entry, "fieldsV1": fields})
    if not taken:
        return []
    return [
        {**one, "fieldsV1": _union(one["fieldsV1"], {_SPEC: taken})} if _ours(one) else one for one in left
    ]


def _ours(entry: Mapping[str, Any]) -> bool:
    return (entry["manager"], entry["operation"]) == (FIELD_MANAGER, "Apply") and not entry.get("subresource")


def _comparable(entry: Mapping[str, Any], raw: Mapping[str, Any]) -> bool:
    """Whether it names the object's own fields, as this version does; a subresource's are a controller's."""
    return not entry.get("subresource") and bool(entry["apiVersion"] == raw["apiVersion"])


def _union(one: Fields, other: Fields) -> Fields:
    return {key: _union(one.get(key, {}), other.get(key, {})) for key in one.keys() | other.keys()}
