"""What admission made of a wish: marked on the object, so that it is not wished again with every pass.

Called by apply and passes. A mutating webhook changes what we apply, each time in the same way: without the
mark the object would differ from the wish for ever. The mark tells that our apply was the last change: it
holds as long as nobody changes the object after it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final

import orjson

from slipway.drift import APPLIED

HELD: Final = "slipway.dev/held-hash"
"""Annotation with the hash of what the API server held right after our apply, where that is not the wish."""


def build_mark(desired: Mapping[str, Any], answer: Mapping[str, Any]) -> dict[str, Any]:
    """``desired`` with the mark, to be applied again when the API server's answer is not what was wished.

    Args:
        desired: stamped by ``drift``.
        answer: the object as the API server answered our apply.
    """
    meta = desired["metadata"]
    marks = {**meta["annotations"], HELD: _content(desired, answer)}
    return {**desired, "metadata": {**meta, "annotations": marks}}


def overruled(desired: Mapping[str, Any], observed: Mapping[str, Any] | None) -> bool:
    """Whether the object differs from ``desired`` (stamped) for admission's sake, and for nobody else's."""
    marks = ((observed or {}).get("metadata") or {}).get("annotations") or {}
    if observed is None or HELD not in marks:
        return False
    same = marks.get(APPLIED) == desired["metadata"]["annotations"][APPLIED]
    return same and bool(marks[HELD] == _content(desired, observed))


def _content(desired: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    """Hash of the spec and of our labels; without replicas where they are an autoscaler's."""
    spec = {key: value for key, value in found["spec"].items() if key != "replicas" or key in desired["spec"]}
    labels = found["metadata"].get("labels") or {}
    ours = {key: labels.get(key) for key in desired["metadata"].get("labels") or {}}
    whole = orjson.dumps([spec, ours], option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(whole).hexdigest()[:16]
