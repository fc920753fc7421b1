"""What pruning leaves of a model, and what refuses it. Pure; called by decide and manifests.

A model with fewer layers is planned by what is left of it; one with zeros is as large as before.
"""

from __future__ import annotations

from dataclasses import replace

from slipway.api import reasons
from slipway.api.modeldeployment import ModelDeploymentSpec
from slipway.api.prune import Prune
from slipway.errors import InvalidSpecError
from slipway.plan.facts import ModelFacts
from slipway_runtime.contract import layers_dropped


def prune_of(spec: ModelDeploymentSpec) -> Prune | None:
    """What the spec wants removed."""
    return spec.optimize.prune if spec.optimize else None


def pruned_facts(spec: ModelDeploymentSpec, facts: ModelFacts) -> ModelFacts:
    """The model as it is served: with fewer layers where some are dropped.

    Weights that are in no layer count as two embeddings, though one may serve as output, too: what stays is
    never guessed too small. Bytes of the source stay as they are.

    Raises:
        InvalidSpecError: ``InvalidSpec``, no such layer, or none is left; ``UnsupportedQuantization``.
    """
    prune = prune_of(spec)
    if prune is None:
        return facts
    if facts.quantization:
        raise InvalidSpecError(
            reasons.UNSUPPORTED_QUANTIZATION,
            f"spec.optimize.prune: {spec.model.source} is quantised already ({facts.quantization}), and only "
            "16-bit weights can be pruned: name the repository that has them.",
        )
    dropped = _dropped(prune, facts.layers)
    if not dropped:
        return facts
    outside = min(2 * facts.vocab_size * facts.hidden_size, facts.parameters)
    left = (facts.layers - dropped) / facts.layers

    def of_layers(count: int) -> int:
        return round(min(outside, count) + max(0, count - outside) * left)

    return replace(
        facts,
        layers=facts.layers - dropped,
        parameters=of_layers(facts.parameters),
        active_parameters=of_layers(facts.active_parameters),
    )


def _dropped(prune: Prune, layers: int) -> int:
    if prune.layers is not None:
        unknown = [str(one) for one in prune.layers if one >= layers]
        if unknown or len(set(prune.layers)) >= layers:
            why = f"there is no layer {unknown[0]}" if unknown else "no layer would be left"
            raise InvalidSpecError(
                reasons.INVALID_SPEC,
                f"spec.optimize.prune.layers: {why}: the model has {layers}, 0 to {layers - 1}.",
            )
        return len(set(prune.layers))
    if prune.drop_layers is None:
        return 0
    dropped = layers_dropped(layers, prune.drop_layers)
    if not dropped:
        raise InvalidSpecError(
            reasons.INVALID_SPEC,
            f"spec.optimize.prune.dropLayers: {prune.drop_layers} of {layers} layers is none: set more.",
        )
    return dropped


def prune_options(prune: Prune) -> dict[str, str]:
    """Options of the method ``prune``."""
    if prune.layers is not None:
        return {"layers": ",".join(map(str, sorted(set(prune.layers))))}
    if prune.drop_layers is not None:
        return {"drop": prune.drop_layers}
    share = f"{float((prune.sparsity or '0%').rstrip('%')) / 100:g}"
    how = {"pattern": prune.pattern} if prune.pattern else {"sparsity": share}
    return {"by": str(prune.method), **how}
