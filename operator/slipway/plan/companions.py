"""What is served beside the model: a draft or heads that guess, and adapters. Pure; called by decide, passes.

Sources: ``SpeculativeConfig`` of vLLM 0.32 and ``common_speculative_are_compatible`` of llama.cpp for what a
draft must have in common with its model; ``create_lora_manager`` of vLLM for an adapter's memory.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel

from slipway.api import reasons
from slipway.api.companions import Adapter
from slipway.api.companions import Draft as DraftSource
from slipway.api.modeldeployment import Engine, ModelDeploymentSpec
from slipway.errors import InvalidSpecError
from slipway.plan.device_memory import kv_bytes
from slipway.plan.facts import ModelFacts
from slipway.plan.memory import MICRO_BATCH, engine_memory
from slipway.plan.model_config import facts_from_wire

DRAFT: Final = "draft"
"""Name of the one companion that guesses."""
LORA: Final = "lora"
DRAFT_LEVEL: Final = "Q8_0"
"""Level of a draft for llama.cpp: what it loses is paid in guesses, and it is small anyway."""
PADDING: Final = 128
"""Unused rows by which vocabularies of one tokenizer may differ for llama.cpp
(``SPEC_VOCAB_MAX_SIZE_DIFFERENCE``); vLLM takes none."""
LARGEST_RANK: Final = 512
"""Of an adapter, the largest that vLLM has kernels for."""
ELEMENT: Final = 2
"""Bytes of an adapter's element in memory: 16 bits, whatever its file has."""


@dataclass(frozen=True)
class Wanted:
    """A companion as the spec names it.

    Attributes:
        name: ``draft``, or the adapter's name.
        kind: ``draft``, ``mlp``, ``medusa`` or ``lora``.
        field: of the spec that names it, for messages.
    """

    name: str
    kind: str
    source: str
    revision: str | None
    field: str

    @property
    def key(self) -> str:
        """Its name among all companions: an adapter may be called draft."""
        return f"adapter-{self.name}" if self.kind == LORA else DRAFT


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
    artifacts: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """As of ``Wanted``."""
        return f"adapter-{self.name}" if self.kind == LORA else DRAFT


_COMPANION: TypeAdapter[Companion] = TypeAdapter(Companion)


def wanted(spec: ModelDeploymentSpec) -> tuple[Wanted, ...]:
    """Every companion that the spec names: what guesses, then the adapters in their order."""
    guess = (spec.engine or Engine()).speculative
    found = [_draft(guess.kind, guess.draft)] if guess and guess.draft else []
    return (*found, *(_adapter(index, one) for index, one in enumerate(spec.model.adapters or ())))


def _draft(kind: str, draft: DraftSource) -> Wanted:
    return Wanted(DRAFT, kind, draft.source, draft.revision, "spec.engine.speculative.draft")


def _adapter(index: int, one: Adapter) -> Wanted:
    return Wanted(one.name, LORA, one.source, one.revision, f"spec.model.adapters[{index}]")


def role(spec: ModelDeploymentSpec) -> str:
    """What the model is to its companions, for its inspection: ``base`` of a draft, else empty."""
    return "base" if any(one.kind == DRAFT for one in wanted(spec)) else ""


def companion_from_wire(one: Wanted, commit: str, raw: Mapping[str, Any]) -> Companion:
    """The companion, from its inspect Job's camelCase facts. Unknown keys are ignored.

    Raises:
        ValueError: a key is missing or of another type.
    """
    if one.kind == DRAFT:
        facts = facts_from_wire(raw)
        plain = Companion(one.name, one.kind, one.source, commit, facts.weight_bytes, facts.download_bytes)
        return replace(plain, license=facts.license, facts=facts)
    known = {to_camel(field.name): field.name for field in fields(Companion)}
    given = {known[key]: value for key, value in raw.items() if key in known}
    whole = {**given, "name": one.name, "kind": one.kind, "uri": one.source, "commit": commit}
    try:
        return _COMPANION.validate_json(json.dumps(whole), strict=True)
    except ValidationError as error:
        raise ValueError(f"the facts of {one.source} are incomplete: {error}") from error


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
        InvalidSpecError: ``DraftVocabulary`` or ``CompanionMismatch``; the message names both figures.
    """
    named = {one.key: one for one in wanted(spec)}
    for one in companions:
        field = named[one.key].field if one.key in named else one.key
        if one.facts is not None:
            _refuse_draft(field, spec, facts, one, form)
        elif one.kind == LORA:
            _refuse_adapter(field, facts, one)
        else:
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
    if one.hidden_size and one.hidden_size != facts.hidden_size:
        raise _made_for_another(field, one, "hidden size", one.hidden_size, facts.hidden_size)
    if one.rank > LARGEST_RANK:
        raise InvalidSpecError(
            reasons.COMPANION_MISMATCH,
            f"{field}: {one.uri} has rank {one.rank}, and engines take at most {LARGEST_RANK}: merge it into "
            "its model, and name the result in spec.model.source.",
        )


def _refuse_heads(field: str, spec: ModelDeploymentSpec, facts: ModelFacts, one: Companion) -> None:
    if one.vocab_size and one.vocab_size != facts.vocab_size:
        raise InvalidSpecError(
            reasons.DRAFT_VOCABULARY,
            f"{field}: {one.uri} guesses {one.vocab_size} tokens, and {spec.model.source} has "
            f"{facts.vocab_size}: name heads that were trained for this model.",
        )
    if one.hidden_size and one.hidden_size != facts.hidden_size:
        raise _made_for_another(field, one, "hidden size", one.hidden_size, facts.hidden_size)
    guess = (spec.engine or Engine()).speculative
    if guess and one.heads and guess.count > one.heads:
        raise InvalidSpecError(
            reasons.COMPANION_MISMATCH,
            f"spec.engine.speculative.tokens: {one.uri} has {one.heads} heads, which guess no {guess.count} "
            f"tokens: set {one.heads} or less.",
        )


def _made_for_another(field: str, one: Companion, what: str, has: int, needs: int) -> InvalidSpecError:
    return InvalidSpecError(
        reasons.COMPANION_MISMATCH,
        f"{field}: {one.uri} was made for a model of {what} {has}, and this one has {needs}: name one that "
        "was trained for this very model.",
    )


@dataclass(frozen=True)
class Beside:
    """Memory of a model's companions, bytes.

    Attributes:
        weights: of draft or heads, and of the adapters' places.
        kv_token: KV cache of one token in the draft, 16 bits.
    """

    weights: int = 0
    kv_token: float = 0.0


def beside(facts: ModelFacts, companions: Sequence[Companion], kv_dtype: str = "") -> Beside:
    """Memory that companions take in an engine that loads safetensors, beside the model's own.

    Args:
        facts: of the model, whose matrices adapters add to.
        companions: of this spec.
        kv_dtype: of the KV cache, the draft's too.
    """
    guessing = [one for one in companions if one.kind != LORA]
    weights = sum(one.weight_bytes for one in guessing) + adapter_bytes(facts, companions)
    drafts = (one.facts for one in guessing if one.facts)
    return Beside(weights, sum(kv_bytes(one, kv_dtype) for one in drafts))


def adapter_bytes(facts: ModelFacts, companions: Sequence[Companion]) -> int:
    """Memory of the adapters' places: each is as large as the largest rank in every matrix, used or not.

    A matrix of n x m takes rank x (n + m) elements. Of the feed-forward part, whose width is not known, it is
    what a layer's weights leave beside attention, in three matrices. An adapter's file bounds it from below.
    """
    adapters = [one for one in companions if one.kind == LORA]
    if not adapters:
        return 0
    hidden, query, keys = facts.hidden_size, facts.heads * facts.head_dim, facts.kv_heads * facts.head_dim
    embedding = min(facts.vocab_size * hidden, facts.parameters)
    layer = (facts.parameters - embedding) / max(1, facts.layers)
    width = max(0.0, layer - 2 * hidden * (query + keys)) / (3 * max(1, hidden))
    sums = 2 * (hidden + query) + 2 * (hidden + keys) + 3 * (hidden + width)
    place = round(max(one.rank for one in adapters) * sums * max(1, facts.layers) * ELEMENT)
    return len(adapters) * max(place, *(one.weight_bytes for one in adapters))


def gguf_bytes(companions: Sequence[Companion], context_length: int, concurrency: int) -> int:
    """Memory of a draft beside its model in one llama-server: weights, KV cache of every slot, buffers.

    Measured with SmolLM2 (Q4_1) as its own draft and 2 slots of 2048 tokens: 207 MiB beside the mapped file,
    of which the KV cache is 90, buffers as the model's 22, and logits of a whole micro batch 96.
    """
    drafts = [one.facts for one in companions if one.facts]
    found = 0
    for one in drafts:
        memory = engine_memory(one, DRAFT_LEVEL, context_length, concurrency)
        found += memory.weights + memory.kv_cache + memory.activations + 4 * MICRO_BATCH * one.vocab_size
    return found


def with_artifacts(one: Companion, names: Sequence[str]) -> Companion:
    """The companion with the names of its chain."""
    return replace(one, artifacts=tuple(names))
