"""Bodies of answers and frames of streams: OpenAI's, TGI's and our own /chat. Pure. For ``routes``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from slipway_runtime.serve.bodies import GenerateBody
from slipway_runtime.serve.engine import Piece
from slipway_runtime.serve.generator import Finish

DONE = "data: [DONE]\n\n"
"""The last frame of OpenAI's streams."""
MEDIA_TYPE = "text/event-stream"
OPENAI_FINISH: Mapping[Finish, str] = {"eos": "stop", "stop": "stop", "length": "length"}
TGI_FINISH: Mapping[Finish, str] = {"eos": "eos_token", "stop": "stop_sequence", "length": "length"}


@dataclass(frozen=True)
class Answer:
    """A whole answer."""

    text: str
    prompt_tokens: int
    tokens: int
    finish: Finish


@dataclass(frozen=True)
class Head:
    """What all chunks of one OpenAI answer have in common.

    Attributes:
        kind: which of the two protocols.
        ident: unique name of the answer.
        created: seconds since the epoch.
        model: the served name.
        prompt_tokens: for ``usage``.
        include_usage: whether a stream ends with ``usage``.
    """

    kind: Literal["chat", "text"]
    ident: str
    created: int
    model: str
    prompt_tokens: int
    include_usage: bool = False

    def whole(self, answer: Answer) -> dict[str, Any]:
        """Return the body of an answer that is no stream."""
        content = (
            {"message": {"role": "assistant", "content": answer.text}}
            if self.kind == "chat"
            else {"text": answer.text}
        )
        choice = {"index": 0, **content, "logprobs": None, "finish_reason": OPENAI_FINISH[answer.finish]}
        kind = "chat.completion" if self.kind == "chat" else "text_completion"
        return {
            **self._base(kind),
            "choices": [choice],
            "usage": build_usage(self.prompt_tokens, answer.tokens),
        }

    def opening(self) -> Iterator[str]:
        """Yield the frames before the first piece: a chat says its role."""
        if self.kind == "chat":
            yield self._frame({"delta": {"role": "assistant", "content": ""}}, None)

    def frames(self, piece: Piece) -> Iterator[str]:
        """Yield the frames of one piece; the last one is followed by usage and the end mark."""
        if piece.text:
            content = {"delta": {"content": piece.text}} if self.kind == "chat" else {"text": piece.text}
            yield self._frame(content, None)
        if piece.finish is None:
            return
        yield self._frame({"delta": {}} if self.kind == "chat" else {"text": ""}, piece.finish)
        if self.include_usage:
            usage = build_usage(self.prompt_tokens, piece.tokens)
            yield sse({**self._base(self._chunk_kind), "choices": [], "usage": usage})
        yield DONE

    @property
    def _chunk_kind(self) -> str:
        return "chat.completion.chunk" if self.kind == "chat" else "text_completion"

    def _base(self, kind: str) -> dict[str, Any]:
        return {"id": self.ident, "object": kind, "created": self.created, "model": self.model}

    def _frame(self, content: dict[str, Any], finish: Finish | None) -> str:
        choice = {"index": 0, **content, "logprobs": None, "finish_reason": finish and OPENAI_FINISH[finish]}
        # OpenAI: every chunk but the last has usage null when it was asked for.
        usage = {"usage": None} if self.include_usage else {}
        return sse({**self._base(self._chunk_kind), "choices": [choice], **usage})


def sse(body: Any) -> str:
    """Return one frame of server-sent events."""
    return f"data: {json.dumps(body, ensure_ascii=False, separators=(',', ':'))}\n\n"


def build_usage(prompt_tokens: int, completion_tokens: int) -> dict[str, int]:
    """Return OpenAI's ``usage``."""
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }


def build_models(name: str, created: int, context_length: int | None) -> dict[str, Any]:
    """Return the body of /v1/models; ``max_model_len`` is vLLM's name of the context length."""
    model = {"id": name, "object": "model", "created": created, "owned_by": "slipway"}
    return {"object": "list", "data": [{**model, "max_model_len": context_length}]}


def build_generate(answer: Answer, body: GenerateBody) -> dict[str, Any]:
    """Return the body of TGI's /generate."""
    before = body.inputs if body.parameters.return_full_text else ""
    built: dict[str, Any] = {"generated_text": before + answer.text}
    if body.parameters.details:
        more = {"prefill": [], "tokens": [], "prompt_tokens": answer.prompt_tokens}
        built["details"] = {**_details(answer.finish, answer.tokens, body.parameters.seed), **more}
    return built


class TgiStream:
    """The frames of TGI's stream; the last one has the whole text and the details."""

    def __init__(self, body: GenerateBody) -> None:
        self._seed = body.parameters.seed
        self._texts = [body.inputs] if body.parameters.return_full_text else []

    def frames(self, piece: Piece) -> Iterator[str]:
        """Yield the frame of a piece."""
        self._texts.append(piece.text)
        last = piece.finish is not None
        token = {"id": piece.token, "text": piece.text, "logprob": None, "special": not piece.text}
        yield sse(
            {
                "index": piece.tokens,
                "token": token,
                "generated_text": "".join(self._texts) if last else None,
                "details": _details(piece.finish, piece.tokens, self._seed) if piece.finish else None,
            }
        )


def _details(finish: Finish, tokens: int, seed: int | None) -> dict[str, Any]:
    return {"finish_reason": TGI_FINISH[finish], "generated_tokens": tokens, "seed": seed}
