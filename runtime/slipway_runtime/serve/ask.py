"""What one request asks of the model, after its body was understood; and the defaults. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from slipway_runtime.serve.options import Options
from slipway_runtime.serve.refusal import Refusal

COMPLETION_TOKENS = 16
"""OpenAI's default of ``max_tokens`` for /v1/completions."""
GENERATE_TOKENS = 100
"""TGI's default of ``max_new_tokens`` for /generate."""
UNBOUNDED_TOKENS = 1024
"""Bound of a chat's answer where the model has no context length, which would bound it."""
TEMPERATURE, TOP_P, TOP_K = 1.0, 1.0, 0
"""OpenAI's defaults; a top-k of 0 is off."""


@dataclass(frozen=True)
class Wish:
    """What a body says of sampling; None is what it does not say.

    Attributes:
        max_tokens: bound of the answer.
        temperature: 0 is greedy.
        top_p: share of the probability to sample from.
        top_k: tokens to sample from; 0 is off.
        seed: decides the sampling.
        stop: texts that end the answer, and are no part of it.
    """

    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sampling:
    """How a token is chosen: a `Wish` of which nothing is open but the seed (None: a random one)."""

    max_tokens: int
    temperature: float = TEMPERATURE
    top_p: float = TOP_P
    top_k: int = TOP_K
    seed: int | None = None
    stop: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ask:
    """One request to the engine: the prompt's tokens and how to go on from there."""

    prompt: tuple[int, ...]
    sampling: Sampling


@dataclass(frozen=True)
class Defaults:
    """For what a request leaves open: the command line, then the model's generation config, then OpenAI's."""

    max_tokens: int | None = None
    temperature: float = TEMPERATURE
    top_p: float = TOP_P
    top_k: int = TOP_K


def build_defaults(options: Options, generation_config: Mapping[str, Any]) -> Defaults:
    """Return the defaults of this server; the mapping is the model's ``generation_config.json``."""
    # Some models say do_sample: false and leave figures beside that transformers itself does not use then.
    config = {} if generation_config.get("do_sample") is False else generation_config

    def first(name: str, last: float) -> float:
        said = (getattr(options, name), config.get(name), last)
        return next(value for value in said if value is not None)

    return Defaults(
        max_tokens=options.max_new_tokens_default,
        temperature=float(first("temperature", TEMPERATURE)),
        top_p=float(first("top_p", TOP_P)),
        top_k=int(first("top_k", TOP_K)),
    )


def build_ask(
    prompt: tuple[int, ...],
    wish: Wish,
    defaults: Defaults,
    context_length: int | None,
    usual_tokens: int | None,
) -> Ask:
    """Return what to ask of the model.

    Args:
        prompt: its tokens.
        wish: what the body says.
        defaults: what holds where the body says nothing.
        context_length: tokens of prompt and answer together; None: no bound.
        usual_tokens: the protocol's own bound of an answer; None: what the context leaves.

    Raises:
        Refusal: 400 when the prompt is empty or leaves no room for an answer.
    """
    if not prompt:
        raise Refusal(400, "the prompt is empty: send at least one token", param="prompt")
    room = _room(len(prompt), context_length)
    bounds = (wish.max_tokens, defaults.max_tokens, usual_tokens, room, UNBOUNDED_TOKENS)
    bound = next(value for value in bounds if value is not None)
    sampling = Sampling(
        max_tokens=bound if room is None else min(bound, room),
        temperature=defaults.temperature if wish.temperature is None else wish.temperature,
        top_p=defaults.top_p if wish.top_p is None else wish.top_p,
        top_k=defaults.top_k if wish.top_k is None else wish.top_k,
        seed=wish.seed,
        stop=wish.stop,
    )
    return Ask(prompt, sampling)


def _room(prompt_tokens: int, context_length: int | None) -> int | None:
    """Tokens that are left for the answer; Refusal when there is none."""
    if context_length is None:
        return None
    if prompt_tokens >= context_length:
        raise Refusal(
            400,
            f"This model's maximum context length is {context_length} tokens, and the prompt has "
            f"{prompt_tokens}: it must be shorter, so that there is room for an answer.",
            code="context_length_exceeded",
            param="prompt",
        )
    return context_length - prompt_tokens
