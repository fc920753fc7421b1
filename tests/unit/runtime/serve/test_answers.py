"""Bodies of answers and frames of streams, to the letter."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from slipway_runtime.serve.answers import DONE, Answer, Head, TgiStream, build_generate, build_models, sse
from slipway_runtime.serve.bodies import GenerateBody
from slipway_runtime.serve.engine import Piece
from slipway_runtime.serve.generator import Finish

CHAT = Head(kind="chat", ident="chatcmpl-1", created=5, model="smol", prompt_tokens=3)
ANSWER = Answer("Paris", 3, 2, "eos")


def read(frames: list[str]) -> list[Any]:
    """The bodies of frames; the end mark stays text."""
    assert all(frame.startswith("data: ") and frame.endswith("\n\n") for frame in frames)
    return [frame if frame == DONE else json.loads(frame.removeprefix("data: ")) for frame in frames]


def test_a_frame_is_one_line_of_plain_utf8() -> None:
    assert sse({"a": "🚢\n"}) == 'data: {"a":"🚢\\n"}\n\n'


def test_a_whole_chat() -> None:
    assert CHAT.whole(ANSWER) == {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 5,
        "model": "smol",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Paris"},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
    }


def test_a_whole_completion() -> None:
    body = replace(CHAT, kind="text").whole(replace(ANSWER, finish="length"))
    assert body["object"] == "text_completion"
    assert body["choices"] == [{"index": 0, "text": "Paris", "logprobs": None, "finish_reason": "length"}]


def test_a_streamed_chat() -> None:
    frames = [*CHAT.opening(), *CHAT.frames(Piece("Par", 1, 1)), *CHAT.frames(Piece("is", 2, 2, "eos"))]
    *chunks, done = read(frames)
    assert done == DONE
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert [chunk["choices"][0]["delta"] for chunk in chunks] == [
        {"role": "assistant", "content": ""},
        {"content": "Par"},
        {"content": "is"},
        {},
    ]
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None, None, None, "stop"]
    assert all("usage" not in chunk for chunk in chunks)


def test_a_streamed_completion_with_usage() -> None:
    head = replace(CHAT, kind="text", include_usage=True)
    *chunks, usage, done = read([*head.opening(), *head.frames(Piece("Paris", 1, 2, "length"))])
    assert done == DONE
    assert [chunk["choices"][0]["text"] for chunk in chunks] == ["Paris", ""]
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None, "length"]
    assert all(chunk["usage"] is None for chunk in chunks)
    assert usage["choices"] == []
    assert usage["usage"] == {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


@pytest.mark.parametrize(
    ("finish", "word"), [("eos", "eos_token"), ("stop", "stop_sequence"), ("length", "length")]
)
def test_tgi_tells_the_ends_apart(finish: Finish, word: str) -> None:
    body = GenerateBody.model_validate({"inputs": "Q: ", "parameters": {"details": True, "seed": 7}})
    built = build_generate(replace(ANSWER, finish=finish), body)
    assert built["generated_text"] == "Paris"
    assert built["details"]["finish_reason"] == word
    assert (built["details"]["generated_tokens"], built["details"]["seed"]) == (2, 7)


def test_tgi_without_details_and_with_the_full_text() -> None:
    body = GenerateBody.model_validate({"inputs": "Q: ", "parameters": {"return_full_text": True}})
    assert build_generate(ANSWER, body) == {"generated_text": "Q: Paris"}


def test_a_stream_of_tgi() -> None:
    stream = TgiStream(GenerateBody(inputs="Q: "))
    first, last = read([*stream.frames(Piece("Par", 8, 1)), *stream.frames(Piece("is", 9, 2, "eos"))])
    assert first["token"] == {"id": 8, "text": "Par", "logprob": None, "special": False}
    assert (first["generated_text"], first["details"]) == (None, None)
    assert last["generated_text"] == "Paris"
    assert last["details"] == {"finish_reason": "eos_token", "generated_tokens": 2, "seed": None}


def test_models() -> None:
    (model,) = build_models("smol", 5, 8192)["data"]
    assert (model["id"], model["max_model_len"]) == ("smol", 8192)
