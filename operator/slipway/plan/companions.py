"""What is served beside the model: a draft or heads that guess, and adapters. Pure; called by decide, passes.

Sources: ``SpeculativeConfig`` of vLLM 0.32 and ``common_speculative_are_compatible`` of llama.cpp for what a
draft must have in common with its model. What they take of memory: companion_memory.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel

from slipway.api import reasons
from slipway.api.companions import Adapter
from slipway.api.companions import Draft as DraftSource
from slipway.api.modeldeployment import Engine, ModelDeploymentSpec
from slipway.errors import InvalidSpecError
from slipway.plan.facts import ModelFacts
from slipway.plan.model_config import facts_from_wire

DRAFT: Final = "draft"
"""Name of the one companion that guesses."""
LORA: Final = "lora"
CALIBRATION: Final = "calibration"
"""Text that a Job reads while it makes the model smaller; no engine sees it."""
MERGE: Final = "merge"
"""Kind of an adapter that becomes part of the model's weights: nothing of it is served beside the model."""
DRAFT_LEVEL: Final = "Q8_0"
"""Level of a draft for llama.cpp: what it loses is paid in guesses, and it is small anyway."""
PADDING: Final = 128
"""Unused rows by which vocabularies of one tokenizer may differ for llama.cpp
(``SPEC_VOCAB_MAX_SIZE_DIFFERENCE``); vLLM takes none."""
RANKS: Final = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""Ranks that vLLM has kernels for: an adapter takes the place of the next larger one."""


@dataclass(frozen=True)
class Wanted:
    """A companion as the spec names it.

    Attributes:
        name: ``draft``, ``calibration``, or the adapter's name.
        kind: ``draft``, ``mlp``, ``medusa``, ``lora``, ``merge`` or ``calibration``.
        field: of the spec that names it, for messages.
        weight: of one that is merged, what it is multiplied by; empty for the others.
    """

    name: str
    kind: str
    source: str
    revision: str | None
    field: str
    weight: str = ""

    @property
    def key(self) -> str:
        """Its name among all companions."""
        return key_of(self.name, self.kind)


@dataclass(frozen=True)
class Companion:
    """A companion at one commit, with its facts; pinned in the ControllerRevision.

    Attributes:
        name: as of ``Wanted``.
        kind: as of ``Wanted``.
        uri: source as written.
        commit: what its revision was resolved to.
        weight_bytes: of the weights as stored.
        download_bytes: of all that is fetched.
        facts: of a draft, which is a model; None for the others.
        hidden_size: of the model that heads or an adapter were made for; 0 when unknown.
        vocab_size: the same, of heads.
        heads: tokens that heads guess at most; 0 when unknown.
        rank: the largest of an adapter.
        base: what an adapter calls the model that it was made for.
        weight: as of ``Wanted``.
        whole: of an adapter: merging takes the whole model in memory.
        artifacts: names of its chain, source first.
    """

    name: str
    kind: str
    uri: str
    commit: str
    weight_bytes: int = 0
    download_bytes: int = 0
    license: str = ""
    facts: ModelFacts | None = None
    hidden_size: int = 0
    vocab_size: int = 0
    heads: int = 0
    rank: int = 0
    base: str = ""
    weight: str = ""
    whole: bool = False
    artifacts: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """As of ``Wanted``."""
        return key_of(self.name, self.kind)


def key_of(name: str, kind: str) -> str:
    """Name of a companion among all of its model: an adapter may be called draft."""
    if kind in (LORA, MERGE):
        return f"adapter-{name}"
    return CALIBRATION if kind == CALIBRATION else DRAFT


_COMPANION: TypeAdapter[Companion] = TypeAdapter(Companion)


def wanted(spec: ModelDeploymentSpec) -> tuple[Wanted, ...]:
    """All that the spec names beside the model: what guesses, adapters in their order, a calibration text."""
    guess = (spec.engine or Engine()).speculative
    found = [_draft(guess.kind, guess.draft)] if guess and guess.draft else []
    found += [_adapter(index, one) for index, one in enumerate(spec.model.adapters or ())]
    text = spec.optimize.calibration if spec.optimize else None
    if text and text.source:
        field = "spec.optimize.calibration"
        found.append(Wanted(CALIBRATION, CALIBRATION, text.source, text.revision, field))
    return tuple(found)


def _draft(kind: str, draft: DraftSource) -> Wanted:
    return Wanted(DRAFT, kind, draft.source, draft.revision, "spec.engine.speculative.draft")


def _adapter(index: int, one: Adapter) -> Wanted:
    field = f"spec.model.adapters[{index}]"
    if one.mode == "serve":
        return Wanted(one.name, LORA, one.source, one.revision, field)
    weight = 1.0 if one.weight is None else one.weight
    return Wanted(one.name, MERGE, one.source, one.revision, field, f"{weight:g}")


def role(spec: ModelDeploymentSpec) -> str:
    """What the model is to its companions, for its inspection: ``base`` of a draft, else empty."""
    return "base" if any(one.kind == DRAFT for one in wanted(spec)) else ""


def companion_from_wire(one: Wanted, commit: str, raw: Mapping[str, Any]) -> Companion:
    """The companion, from its inspect Job's camelCase facts. Unknown keys are ignored.

    Raises:
        ValueError: a key is missing or of another type.
    """
    if one.kind == DRAFT:
        return draft_companion(one, commit, facts_from_wire(raw))
    known = {to_camel(field.name): field.name for field in fields(Companion)}
    given = {known[key]: value for key, value in raw.items() if key in known}
    own = {"name": one.name, "kind": one.kind, "uri": one.source, "weight": one.weight}
    whole = {**given, **own, "commit": commit}
    try:
        return _COMPANION.validate_json(json.dumps(whole), strict=True)
    except ValidationError as error:
        raise ValueError(f"the facts of {one.source} are incomplete: {error}") from error


def draft_companion(one: Wanted, commit: str, facts: ModelFacts) -> Companion:
    """A draft at this commit, which is a model with facts as any."""
    sizes = (facts.weight_bytes, facts.download_bytes)
    return Companion(one.name, one.kind, one.source, commit, *sizes, facts.license, facts)


def refuse_mismatch(
    spec: ModelDeploymentSpec, facts: ModelFacts, companions: Sequence[Companion], form: str = "gguf"
) -> None:
    """Refuse companions that were made for another model.

    Args:
        spec: for the fields and the number of guessed tokens.
        facts: of the model.
        companions: of this very spec.
        form: of the served files; engines of ``gguf`` take vocabularies that differ in unused rows.

    Raises:
        InvalidSpecError: ``DraftVocabulary``, ``CompanionMismatch`` or ``AdapterMismatch``; the message names
            both figures.
    """
    named = {one.key: one for one in wanted(spec)}
    for one in companions:
        field = named[one.key].field if one.key in named else one.key
        if one.facts is not None:
            _refuse_draft(field, spec, facts, one, form)
        elif one.kind == LORA:
            _refuse_adapter(field, facts, one)
        elif one.kind == MERGE:
            _refuse_another_size(field, facts, one, reasons.ADAPTER_MISMATCH)
        elif one.kind != CALIBRATION:
            _refuse_heads(field, spec, facts, one)


def _refuse_draft(
    field: str, spec: ModelDeploymentSpec, facts: ModelFacts, one: Companion, form: str
) -> None:
    draft = one.facts or facts
    apart = abs(facts.vocab_size - draft.vocab_size)
    known = bool(facts.vocabulary and draft.vocabulary)
    others = known and facts.vocabulary != draft.vocabulary
    if not others and apart <= (PADDING if form == "gguf" else 0):
        return
    sizes = f"{draft.vocab_size} tokens, and {spec.model.source} {facts.vocab_size}"
    hashes = f" (their hashes are {draft.vocabulary} and {facts.vocabulary})" if others else ""
    hint = (
        "; they are of one tokenizer, so llamacpp would take them (spec.engine.name)"
        if known and not others and apart <= PADDING
        else ""
    )
    raise InvalidSpecError(
        reasons.DRAFT_VOCABULARY,
        f"{field}: {one.uri} has another vocabulary: {sizes}{hashes}. A draft guesses token numbers, so it "
        f"must have the model's own vocabulary: name a smaller model of the same family, or drop draft for "
        f"method ngram{hint}.",
    )


def _refuse_adapter(field: str, facts: ModelFacts, one: Companion) -> None:
    _refuse_another_size(field, facts, one)
    if one.rank > RANKS[-1]:
        raise InvalidSpecError(
            reasons.COMPANION_MISMATCH,
            f"{field}: {one.uri} has rank {one.rank}, and engines take at most {RANKS[-1]}: "
            "set mode to merge.",
        )


def _refuse_heads(field: str, spec: ModelDeploymentSpec, facts: ModelFacts, one: Companion) -> None:
    if one.vocab_size and one.vocab_size != facts.vocab_size:
        raise InvalidSpecError(
            reasons.DRAFT_VOCABULARY,
            f"{field}: {one.uri} guesses {one.vocab_size} tokens, and {spec.model.source} has "
            f"{facts.vocab_size}: name heads that were trained for this model.",
        )
    _refuse_another_size(field, facts, one)
    guess = (spec.engine or Engine()).speculative
    if guess and one.heads and guess.count > one.heads:
        raise InvalidSpecError(
            reasons.COMPANION_MISMATCH,
            f"spec.engine.speculative.tokens: {one.uri} has {one.heads} heads, which guess no {guess.count} "
            f"tokens: set {one.heads} or less.",
        )


def _refuse_another_size(
    field: str, facts: ModelFacts, one: Companion, reason: str = reasons.COMPANION_MISMATCH
) -> None:
    if one.hidden_size in (0, facts.hidden_size):
        return
    raise InvalidSpecError(
        reason,
        f"{field}: {one.uri} was made for a model of hidden size {one.hidden_size}, and this one has "
        f"{facts.hidden_size}: name one that was trained for this very model.",
    )


def no_gguf(companions: Sequence[Companion]) -> str:
    """Why a draft can't become GGUF; empty when there is none, or it can."""
    for one in companions:
        if one.facts is not None and (one.facts.quantization or not one.facts.convertible):
            comes = one.facts.quantization and f"it comes as {one.facts.quantization}"
            return f"draft {one.uri} can't become GGUF: {comes or one.facts.architecture}"
    return ""
