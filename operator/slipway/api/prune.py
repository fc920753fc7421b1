"""ModelDeployment v1alpha1, ``spec.optimize.prune``. Imported by ``optimize``."""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field

from slipway.api.base import Model, Percent, Rule, matches

PATTERN: Final = r"^[1-9][0-9]?:[1-9][0-9]?$"
SHARE: Final = r"^([1-9]|[1-9][0-9])([.][0-9]+)?%$"
ONE: Final = "(has(self.method) ? 1 : 0) + (has(self.layers) ? 1 : 0) + (has(self.dropLayers) ? 1 : 0) == 1"


def _one(prune: Prune) -> bool:
    return sum(one is not None for one in (prune.method, prune.layers, prune.drop_layers)) == 1


def _shares(prune: Prune) -> bool:
    given = [one for one in (prune.sparsity, prune.pattern) if one is not None]
    return len(given) == (1 if prune.method else 0)


def _sensible(share: str | None) -> bool:
    return share is None or matches(SHARE, share)


def _less(pattern: str | None) -> bool:
    zeros, _, block = (pattern or "0:1").partition(":")
    return int(zeros) < int(block)


class Prune(Model):
    """What is removed of the model before it is quantised: single weights, or whole layers."""

    method: Literal["magnitude", "wanda", "sparsegpt"] | None = None
    """Zeros in place of weights: magnitude takes the smallest; wanda and sparsegpt also look at what layers
    are given for the calibration text, and sparsegpt corrects what is left."""
    sparsity: Percent | None = None
    """Of method: how many weights of each matrix, such as 50%."""
    pattern: Annotated[str, Field(max_length=8, pattern=PATTERN)] | None = None
    """Of method, in place of sparsity: zeros in each block of a row, such as 2:4, which devices can skip."""
    layers: (
        Annotated[list[Annotated[int, Field(ge=0, le=1023)]], Field(min_length=1, max_length=64)] | None
    ) = None
    """Layers to drop by their number, from 0."""
    drop_layers: Percent | None = None
    """Share of the layers to drop, such as 25%: those without which perplexity grows least, measured one by
    one on the image's text."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel=ONE,
            holds=_one,
            message="name one of method (single weights), layers and dropLayers (whole layers)",
        ),
        Rule(
            cel="(has(self.sparsity) ? 1 : 0) + (has(self.pattern) ? 1 : 0) == (has(self.method) ? 1 : 0)",
            holds=_shares,
            message="a method has a sparsity such as 50% or a pattern such as 2:4; layers have neither",
            field="pattern",
        ),
        Rule(
            cel=f"(!has(self.sparsity) || self.sparsity.matches('{SHARE}'))"
            f" && (!has(self.dropLayers) || self.dropLayers.matches('{SHARE}'))",
            holds=lambda prune: _sensible(prune.sparsity) and _sensible(prune.drop_layers),
            message="a share lies between 1% and 99%",
        ),
        Rule(
            cel="!has(self.pattern) || int(self.pattern.split(':')[0]) < int(self.pattern.split(':')[1])",
            holds=lambda prune: _less(prune.pattern),
            message="a pattern has fewer zeros than its block has weights, such as 2:4",
            field="pattern",
        ),
    )
