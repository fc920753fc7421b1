"""Bodies of requests: what is understood, what is refused, what is ignored."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from slipway_runtime.serve.bodies import NEUTRAL, ChatBody, CompletionBody, GenerateBody

CHAT = [{"role": "user", "content": "Hi"}]


def completion(**fields: Any) -> CompletionBody:
    return CompletionBody.model_validate({"prompt": "a", **fields})


@pytest.mark.parametrize(
    ("prompt", "text", "tokens"),
    [
        ("a", "a", ()),
        (["a"], "a", ()),
        ([1, 2], None, (1, 2)),
        ([[1, 2]], None, (1, 2)),
        ([], None, ()),
        ([[]], None, ()),
    ],
)
def test_prompts(prompt: Any, text: str | None, tokens: tuple[int, ...]) -> None:
    body = completion(prompt=prompt)
    assert (body.text, body.tokens) == (text, tokens)


@pytest.mark.parametrize("prompt", [["a", "b"], [[1], [2]], 7, None])
def test_prompts_that_are_refused(prompt: Any) -> None:
    with pytest.raises(ValidationError):
        completion(prompt=prompt)


@pytest.mark.parametrize(("stop", "stops"), [("a", ("a",)), (["a", "b"], ("a", "b")), (None, ()), ([], ())])
def test_stop_is_a_text_or_a_list(stop: Any, stops: tuple[str, ...]) -> None:
    assert completion(stop=stop).wish.stop == stops


@pytest.mark.parametrize(
    "fields",
    [
        {"n": 2},
        {"max_tokens": 0},
        {"temperature": -0.1},
        {"temperature": 2.1},
        {"top_p": 1.5},
        {"top_k": -2},
        {"seed": 2**63},
        {"stop": ""},
        {"stop": ["a"] * 17},
        {"logprobs": 1},
        {"echo": True},
        {"tools": [{"type": "function"}]},
        {"response_format": {"type": "json_object"}},
        {"presence_penalty": 0.5},
        {"stream_options": {"include_usage": True}},
    ],
)
def test_what_would_change_the_answer_and_is_not_known_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        completion(**fields)


@pytest.mark.parametrize("name", NEUTRAL)
def test_values_that_ask_for_nothing_are_taken(name: str) -> None:
    for value in (None, *NEUTRAL[name]):
        assert completion(**{name: value}).wish == completion().wish


def test_unknown_fields_are_ignored() -> None:
    assert completion(user="me", store=True).wish == completion().wish


def test_the_newer_name_of_max_tokens_wins() -> None:
    assert completion(max_tokens=5, max_completion_tokens=7).wish.max_tokens == 7


@pytest.mark.parametrize(("given", "meant"), [(-1, 0), (0, 0), (5, 5), (None, None)])
def test_top_k_is_off_at_minus_one_too(given: int | None, meant: int | None) -> None:
    assert completion(top_k=given).wish.top_k == meant


@pytest.mark.parametrize(
    ("content", "text"),
    [("Hi", "Hi"), ([{"type": "text", "text": "H"}, {"type": "text", "text": "i"}], "Hi"), (None, "")],
)
def test_content_is_a_text_or_parts(content: Any, text: str) -> None:
    body = ChatBody.model_validate({"messages": [{"role": "user", "content": content}]})
    assert body.chat(None) == [{"role": "user", "content": text}]


def test_pictures_are_refused() -> None:
    with pytest.raises(ValidationError):
        ChatBody.model_validate({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]})


def test_the_system_prompt_comes_first_where_the_chat_brings_none() -> None:
    body = ChatBody.model_validate({"messages": CHAT})
    assert body.chat("Be kind.") == [{"role": "system", "content": "Be kind."}, *CHAT]
    own = [{"role": "developer", "content": "Be brief."}, *CHAT]
    assert ChatBody.model_validate({"messages": own}).chat("Be kind.") == [
        {"role": "system", "content": "Be brief."},
        *CHAT,
    ]


@pytest.mark.parametrize(
    ("parameters", "temperature"),
    [
        ({}, 0.0),
        ({"temperature": 0.7}, 0.7),
        ({"do_sample": True}, None),
        ({"top_p": 0.9}, None),
        ({"do_sample": False, "temperature": 0.7}, 0.0),
    ],
)
def test_tgi_is_greedy_unless_asked(parameters: dict[str, Any], temperature: float | None) -> None:
    body = GenerateBody.model_validate({"inputs": "a", "parameters": parameters})
    assert body.parameters.wish.temperature == temperature
