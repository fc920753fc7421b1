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
    """Name by which requests ask for it in "model"; sglang wants MODEL:NAME."""
    source: Source
    """URI of the adapter, as of spec.model.source; read with the credential of spec.model.secretRef."""
    revision: Revision | None = None
    """Branch, tag or commit; default main. Pinned with the model's."""
    mode: Literal["serve"]
    """serve: beside the base, which stays as it is; each request chooses."""

    rules: ClassVar[tuple[Rule, ...]] = source_rules("spec.model.adapters[].revision")
