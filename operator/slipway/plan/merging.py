"""Adapters that become part of the model's weights: which, and what refuses them. Pure.

Called by decide, passes and manifests.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from slipway.api import reasons
from slipway.api.modeldeployment import ModelDeploymentSpec
from slipway.errors import InvalidSpecError
from slipway.plan.companions import CALIBRATION, MERGE, Companion
from slipway.plan.facts import ModelFacts

HUB_NAME: Final = r"[A-Za-z0-9][\w.-]*/[\w.-]+"
"""How an adapter names a model of a hub; anything else is a folder of whoever trained it."""
HUBS: Final = ("hf", "modelscope")
"""Schemes whose sources are called as on the hub; a bucket or a claim may call a model anything."""


def merged(companions: Iterable[Companion]) -> tuple[Companion, ...]:
    """Those that go into the weights, in their order."""
    return tuple(one for one in companions if one.kind == MERGE)


def beside(companions: Iterable[Companion]) -> tuple[Companion, ...]:
    """Those that stand beside the model when it serves: engines mount them, and they take memory."""
    return tuple(one for one in companions if one.kind not in (MERGE, CALIBRATION))


def refuse_merging(spec: ModelDeploymentSpec, facts: ModelFacts, companions: Iterable[Companion]) -> None:
    """Refuse to merge into weights that come quantised, and adapters that name another base.

    Shapes and tensors are held against each other by the stage merge, which has both.

    Raises:
        InvalidSpecError: ``UnsupportedQuantization`` or ``AdapterMismatch``.
    """
    allowed = {one.name for one in spec.model.adapters or () if one.allow_other_base}
    for one in merged(companions):
        if facts.quantization:
            raise InvalidSpecError(
                reasons.UNSUPPORTED_QUANTIZATION,
                f"spec.model.adapters: {spec.model.source} is quantised already ({facts.quantization}), and "
                f"{one.name} can only be merged into 16-bit weights: name the repository that has them, or "
                "set mode to serve.",
            )
        if one.name not in allowed and is_another(one.base, spec.model.source):
            raise InvalidSpecError(
                reasons.ADAPTER_MISMATCH,
                f"spec.model.adapters: {one.name} ({one.uri}) was made for {one.base}, and spec.model.source "
                f"is {spec.model.source}: name that base, an adapter of this model, or set allowOtherBase "
                "where the two are meant to be put together.",
            )


def is_another(base: str, source: str) -> bool:
    """Whether an adapter's base is a model of another name than the source.

    Owners may differ, as copies of a model keep its name. What names no model of a hub is not known.
    """
    scheme, _, path = source.partition("://")
    if scheme not in HUBS or not re.fullmatch(HUB_NAME, base):
        return False
    return base.rsplit("/", 1)[-1].casefold() != path.rstrip("/").rsplit("/", 1)[-1].casefold()
