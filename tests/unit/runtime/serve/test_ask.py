"""What a request asks for: the order of the defaults, and the bound of the context."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from slipway_runtime.serve.ask import UNBOUNDED_TOKENS, Defaults, Wish, build_ask, build_defaults
from slipway_runtime.serve.options import Options
from slipway_runtime.serve.refusal import Refusal

PROMPT = (1, 2, 3)


@pytest.mark.parametrize(
    ("said", "config", "expected"),
    [
        ({}, {}, (1.0, 1.0, 0)),
        ({}, {"temperature": 0.6, "top_p": 0.9, "top_k": 20}, (0.6, 0.9, 20)),
        ({"temperature": 0.0}, {"temperature": 0.6, "top_k": 20}, (0.0, 1.0, 20)),
        ({"top_k": 0}, {"top_k": 20}, (1.0, 1.0, 0)),
        ({}, {"do_sample": False, "temperature": 0.6}, (1.0, 1.0, 0)),
        ({}, {"temperature": None}, (1.0, 1.0, 0)),
    ],
)
def test_the_command_line_comes_before_the_models_config(
    options: Options, said: dict[str, Any], config: dict[str, Any], expected: tuple[float, float, int]
) -> None:
    built = build_defaults(replace(options, **said), config)
    assert (built.temperature, built.top_p, built.top_k) == expected


@pytest.mark.parametrize(
    ("wish", "default", "usual", "context", "bound"),
    [
        (5, 7, 16, 100, 5),
        (None, 7, 16, 100, 7),
        (None, None, 16, 100, 16),
        (None, None, None, 100, 97),
        (None, None, None, None, UNBOUNDED_TOKENS),
        (500, None, 16, 100, 97),
        (500, None, 16, None, 500),
    ],
)
def test_bound_of_the_answer(
    wish: int | None, default: int | None, usual: int | None, context: int | None, bound: int
) -> None:
    ask = build_ask(PROMPT, Wish(max_tokens=wish), Defaults(max_tokens=default), context, usual)
    assert ask.sampling.max_tokens == bound


def test_a_request_comes_before_all_defaults() -> None:
    wish = Wish(temperature=0.0, top_p=0.5, top_k=3, seed=1, stop=("a",))
    sampling = build_ask(PROMPT, wish, Defaults(temperature=0.7, top_p=0.9, top_k=40), 100, 16).sampling
    assert (sampling.temperature, sampling.top_p, sampling.top_k) == (0.0, 0.5, 3)
    assert (sampling.seed, sampling.stop) == (1, ("a",))


def test_too_long_a_prompt_names_both_figures() -> None:
    with pytest.raises(Refusal) as refused:
        build_ask((1,) * 12, Wish(), Defaults(), 10, 16)
    assert refused.value.status == 400
    assert refused.value.code == "context_length_exceeded"
    assert "10 tokens" in refused.value.message
    assert "12" in refused.value.message


def test_an_empty_prompt_is_refused() -> None:
    with pytest.raises(Refusal, match="empty"):
        build_ask((), Wish(), Defaults(), 10, 16)
