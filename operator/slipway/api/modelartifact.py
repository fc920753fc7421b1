"""ModelArtifact v1alpha1: one content-addressed result (source, f16 or a level), written by the operator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from slipway.api.base import Bounded, Condition, Figure, Model, Name, Rule, Text
from slipway.api.modeldeployment import FailureStatus, Store
from slipway_runtime.methods import methods

INPUT_NAME = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
if TYPE_CHECKING:
    RecipeMethod = str
else:
    RecipeMethod = Literal["source", *sorted(methods())]
"""Grows with the files of ``slipway_runtime.methods``."""
Option = Annotated[str, Field(max_length=256)]


class ArtifactSource(Model):
    """The pinned source."""

    uri: Annotated[str, Field(min_length=1, max_length=512)]
    """URI of the model."""
    commit: Annotated[str, Field(min_length=1, max_length=128)]
    """Commit of it; never a branch."""
    code: bool | None = None
    """True: with the repository's own Python files (spec.model.trustRemoteCode of its users)."""


class Recipe(Model):
    """What is made of the source."""

    method: RecipeMethod
    """source is the snapshot itself; every other is a method that Jobs have."""
    level: Annotated[str, Field(min_length=1, max_length=32)] | None = None
    """What the method makes, such as Q4_K_M or W4A16; of a source of GGUF files the level that is fetched,
    else absent."""
    options: Annotated[dict[str, Option], Field(max_length=32)] | None = None
    """What else the method was asked for, such as groupSize: "128"."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="has(self.level) || self.method == 'source'",
            holds=lambda recipe: recipe.level is not None or recipe.method == "source",
            message="a recipe has a level, unless it is the source itself",
            field="level",
        ),
    )


class Input(Model):
    """An artifact that is read beside the parent."""

    name: Annotated[str, Field(min_length=1, max_length=63, pattern=INPUT_NAME)]
    """What the method calls it, such as adapter-support or calibration."""
    artifact: Annotated[str, Field(min_length=1, max_length=63)]
    """ModelArtifact of this namespace."""


class ModelArtifactSpec(Model):
    """What is built. Immutable: the artifact's name carries the hash of source and recipe."""

    source: ArtifactSource
    """The pinned source."""
    recipe: Recipe
    """What is made of it."""
    parent: Annotated[str, Field(min_length=1, max_length=63)] | None = None
    """ModelArtifact that this one is made from; absent for a source."""
    inputs: Annotated[list[Input], Field(max_length=16)] | None = None
    """Further artifacts that it is made of: adapters to merge, texts to calibrate with, a teacher."""
    expected_bytes: Annotated[int, Field(ge=0)]
    """Size in bytes by which claim, memory and deadline are computed."""
    work_bytes: Annotated[int, Field(ge=0)] | None = None
    """Bytes of the claim beside the published files: what the unquantised model said of each token that is
    scored, which f16 keeps for the levels made of it, and other methods until they are measured."""
    store: Store | None = None
    """Where it lies."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="has(self.parent) == (self.recipe.method != 'source')",
            holds=lambda spec: (spec.parent is not None) == (spec.recipe.method != "source"),
            message="a source has no parent, everything else is made from one",
            field="parent",
        ),
    )


class Location(Model):
    """Where the bytes are."""

    claim: Name | None = None
    """PersistentVolumeClaim of this namespace; absent for what was found in a registry or bucket."""
    path: Bounded | None = None
    """Folder inside the claim, published; nothing half made ever lies there."""
    image: Annotated[str, Field(max_length=512)] | None = None
    """Image by digest that has the files at its root."""
    uri: Annotated[str, Field(max_length=512)] | None = None
    """Where pods fetch the files from."""
    revision: Annotated[str, Field(max_length=128)] | None = None
    """What the URI is pinned to."""


class Quality(Model):
    """Perplexity on the evaluation text, and how far it is from what the unquantised model says."""

    perplexity: Figure
    """Of this artifact."""
    base_perplexity: Figure | None = None
    """Of the unquantised model that it was made from."""
    loss: Figure | None = None
    """Relative increase against that one, such as 7.2%."""
    kld: Figure | None = None
    """Mean KL divergence from the unquantised model, nats a token."""
    kld_p99: Figure | None = None
    """99th percentile of it over the tokens, nats."""
    top_agreement: Figure | None = None
    """Tokens whose likeliest next one is the same as the unquantised model's, such as 85.7%."""
    band: Figure | None = None
    """Published band of the level, such as 3-5%."""
    base_bytes: int | None = None
    """Bytes kept beside the published files, for the levels that are compared with this artifact."""
    tokens: int
    """Tokens that were evaluated."""
    seconds: Figure
    """Time it took."""
    text_digest: Annotated[str, Field(max_length=128)]
    """sha256 of the evaluation text."""


class Progress(Model):
    """What the running Job says; at most one write in five seconds."""

    stage: Bounded
    """Stage that runs."""
    percent: int
    """How far it is, 0 to 100."""
    bytes_done: int | None = None
    """Bytes done, where the stage counts bytes."""
    bytes_total: int | None = None
    """Bytes in all."""
    attempt: int
    """Which try this is, from 1."""


class ModelArtifactStatus(Model):
    """Observed state."""

    observed_generation: int | None = None
    """The metadata.generation that this status answers."""
    conditions: Annotated[list[Condition], Field(max_length=8)] | None = None
    """Ready, and why not yet."""
    stage: Bounded | None = None
    """Stage that runs or comes next; absent when the artifact is ready."""
    completed: Annotated[list[Bounded], Field(max_length=8)] | None = None
    """Stages that are done."""
    progress: Progress | None = None
    """What the running Job says."""
    size_bytes: int | None = None
    """Size of the published files, bytes."""
    digest: Annotated[str, Field(max_length=128)] | None = None
    """sha256 of the manifest that lists every file with its own sha256."""
    location: Location | None = None
    """Where the bytes are."""
    made: Annotated[dict[str, Option], Field(max_length=16)] | None = None
    """What the method chose itself, such as groupSize: "64" and samples: "128"."""
    quality: Quality | None = None
    """What was measured of it."""
    quality_unknown: Text | None = None
    """Why the loss of what was made smaller is not known; absent when it is, or nothing was."""
    chain_loss: Figure | None = None
    """Relative loss of all steps from the source to this artifact together; absent when one is not known."""
    failure: FailureStatus | None = None
    """The permanent failure that stands, if one does."""
