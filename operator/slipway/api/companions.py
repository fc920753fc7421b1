"""ModelDeployment v1alpha1: sources beside the model. Imported by ``modeldeployment``, ``enginespec``."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from slipway.api.base import Model, Rule
from slipway.api.sources import source_rules

URI = r"^[a-z][a-z0-9+.-]*://.+$"
ADAPTER_NAME = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"

Source = Annotated[str, Field(min_length=6, max_length=512, pattern=URI)]
Revision = Annotated[str, Field(min_length=1, max_length=128)]


class Draft(Model):
    """Weights that guess tokens for the model: a small model of the same vocabulary, or heads made for it."""

    source: Source
    """URI of the weights, as of spec.model.source; read with the credential of spec.model.secretRef."""
    revision: Revision | None = None
    """Branch, tag or commit; default main. Pinned with the model's."""

    rules: ClassVar[tuple[Rule, ...]] = source_rules("spec.engine.speculative.draft.revision")


class Adapter(Model):
    """A LoRA adapter of the model, in PEFT's layout."""

    name: Annotated[str, Field(min_length=1, max_length=40, pattern=ADAPTER_NAME)]
    """Of mode serve the name by which requests ask for it in "model" (sglang wants MODEL:NAME); of mode merge
    what status and messages call it."""
    source: Source
    """URI of the adapter, as of spec.model.source; read with the credential of spec.model.secretRef."""
    revision: Revision | None = None
    """Branch, tag or commit; default main. Pinned with the model's."""
    mode: Literal["serve", "merge"]
    """serve: beside the base, which stays as it is; each request chooses. merge: its weights are added to the
    base's before anything else is made of it, in the order of this list; all requests get it."""
    weight: Annotated[float, Field(ge=-10, le=10)] | None = None
    """Of mode merge: what it is multiplied by; default 1."""
    allow_other_base: bool | None = None
    """Of mode merge: true merges it though it says that it was made for a model of another name. Shapes must
    fit all the same."""

    rules: ClassVar[tuple[Rule, ...]] = (
        *source_rules("spec.model.adapters[].revision"),
        Rule(
            cel="self.mode == 'merge' || (!has(self.weight) && !has(self.allowOtherBase))",
            holds=lambda one: one.mode == "merge" or (one.weight is None and one.allow_other_base is None),
            message="weight and allowOtherBase are for adapters to merge: drop them, or set mode to merge",
            field="mode",
        ),
    )
