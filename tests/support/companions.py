"""Drafts, heads and adapters for tests of planner, manifests and engines."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from slipway.api.modeldeployment import ModelDeploymentSpec
from slipway.engines import Mounted
from slipway.manifests.artifacts import Made, chain_of
from slipway.manifests.companions import published_companion, with_chains
from slipway.manifests.owner import PublishedCompanion
from slipway.manifests.places import Place
from slipway.plan.companions import Companion, wanted
from slipway.plan.facts import ModelFacts
from tests.support.planning import COMMIT, MODELS

DRAFT = {"source": "hf://acme/draft"}
"""A draft, as a spec names it."""
SOURCE = chain_of("hf://acme/model", COMMIT, [Made("source", None, 0)], None)[0].name
"""Source artifact of the model that tests are about."""


def adapter(name: str, **fields: Any) -> dict[str, Any]:
    """An adapter, as a spec names it."""
    return {"name": name, "source": f"hf://acme/{name}", "mode": "serve", **fields}


def companions(
    spec: ModelDeploymentSpec, base: ModelFacts, form: str = "safetensors", **changes: Any
) -> tuple[Companion, ...]:
    """What inspections would have read of the spec's companions, made for this base; with their chains."""
    draft = replace(MODELS["smollm2-135m"], vocab_size=base.vocab_size, vocabulary=base.vocabulary)
    sizes = {"weight_bytes": draft.weight_bytes, "download_bytes": draft.download_bytes}
    own: dict[str, dict[str, Any]] = {
        "draft": {"facts": draft, **sizes},
        "mlp": {"heads": 3, "hidden_size": base.hidden_size, "vocab_size": base.vocab_size, **sizes},
        "medusa": {"heads": 5, "hidden_size": base.hidden_size, "vocab_size": base.vocab_size, **sizes},
        "lora": {
            "rank": 24,
            "hidden_size": base.hidden_size,
            "weight_bytes": 9_000_000,
            "download_bytes": 10**7,
        },
    }
    own["merge"] = {**own["lora"], "base": "acme/model"}
    found = (
        Companion(one.name, one.kind, one.source, COMMIT, weight=one.weight, **(own[one.kind] | changes))
        for one in wanted(spec)
    )
    return with_chains(spec, found, form, SOURCE)


def published(found: tuple[Companion, ...]) -> tuple[PublishedCompanion, ...]:
    """The companions, built."""
    return tuple(
        published_companion(one, Place(claim=one.artifacts[-1]), f"sha256:{index:064d}")
        for index, one in enumerate(found)
    )


def mounted(found: tuple[Companion, ...]) -> tuple[Mounted, ...]:
    """The companions as an engine sees them."""
    return tuple(one.mounted for one in published(found))
