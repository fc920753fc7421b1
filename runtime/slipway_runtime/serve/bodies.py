"""The bodies of requests, as pydantic models: OpenAI's, TGI's and our own /chat. For ``routes``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from slipway_runtime.serve.ask import Wish

MAX_STOPS = 16
Stop = Annotated[str, Field(min_length=1, max_length=1000)]
Stops = Annotated[list[Stop], Field(max_length=MAX_STOPS)]

NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "n": (1,),
    "best_of": (1,),
    "echo": (False,),
    "suffix": ("",),
    "logprobs": (False,),
    "top_logprobs": (),
    "logit_bias": ({},),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "functions": ([],),
    "response_format": ({"type": "text"},),
}
"""Fields of OpenAI's that would change the answer and that this server doesn't know, with the values that ask
for nothing (beside null). Other unknown fields are ignored, as OpenAI's clients expect."""


class StreamOptions(BaseModel):
    """OpenAI's ``stream_options``."""

    include_usage: bool = False


class SamplingBody(BaseModel):
    """What OpenAI's two bodies and /chat say of sampling."""

    model_config = ConfigDict(extra="allow")

    model: str | None = None
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, ge=0, le=1)
    top_k: int | None = Field(None, ge=-1)
    """-1 and 0 are off."""
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    stop: Stop | Stops | None = None
    stream: bool | None = False
    stream_options: StreamOptions | None = None

    @model_validator(mode="after")
    def _refuse_unsupported(self) -> Self:
        for name, neutral in NEUTRAL.items():
            value = (self.model_extra or {}).get(name)
            if value is not None and value not in neutral:
                raise ValueError(f"{name}: this server does not support it; leave it out")
        if self.stream_options is not None and not self.stream:
            raise ValueError("stream_options: only allowed when stream is true")
        return self

    @property
    def wish(self) -> Wish:
        """What the body says of sampling."""
        stop = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())
        return Wish(
            max_tokens=self.max_completion_tokens or self.max_tokens,
            temperature=self.temperature,
            top_p=self.top_p,
            top_k=None if self.top_k is None else max(0, self.top_k),
            seed=self.seed,
            stop=stop,
        )

    @property
    def include_usage(self) -> bool:
        """Whether the stream ends with a chunk of ``usage``."""
        return self.stream_options is not None and self.stream_options.include_usage


class CompletionBody(SamplingBody):
    """Body of /v1/completions."""

    prompt: str | list[str] | list[int] | list[list[int]]

    @model_validator(mode="after")
    def _refuse_batches(self) -> Self:
        if (
            isinstance(self.prompt, list)
            and not isinstance(next(iter(self.prompt), 0), int)
            and len(self.prompt) != 1
        ):
            raise ValueError("prompt: one prompt a request, this server answers no lists of them")
        return self

    @property
    def text(self) -> str | None:
        """The prompt, when it is text."""
        first = self.prompt[0] if isinstance(self.prompt, list) and self.prompt else self.prompt
        return first if isinstance(first, str) else None

    @property
    def tokens(self) -> tuple[int, ...]:
        """The prompt, when it is tokens."""
        if isinstance(self.prompt, str):
            return ()
        nested = self.prompt[0] if self.prompt and isinstance(self.prompt[0], list) else self.prompt
        return tuple(token for token in nested if isinstance(token, int))


class TextPart(BaseModel):
    """A part of a message's content; this server knows text only."""

    type: Literal["text"]
    text: str


class Message(BaseModel):
    """One message of a chat; other fields (``name``) are ignored."""

    role: Annotated[str, Field(min_length=1, max_length=64)]
    content: str | list[TextPart] | None = None

    @property
    def plain(self) -> dict[str, str]:
        """Role and text, as chat templates want them."""
        parts = (
            [part.text for part in self.content] if isinstance(self.content, list) else [self.content or ""]
        )
        # OpenAI's newer name of the same role, which no template knows.
        role = "system" if self.role == "developer" else self.role
        return {"role": role, "content": "".join(parts)}


class ChatBody(SamplingBody):
    """Body of /v1/chat/completions and of /chat."""

    messages: Annotated[list[Message], Field(min_length=1)]

    def chat(self, system_prompt: str | None) -> list[dict[str, str]]:
        """Return the messages; the server's system prompt comes first where the chat brings none."""
        messages = [message.plain for message in self.messages]
        if system_prompt is None or messages[0]["role"] == "system":
            return messages
        return [{"role": "system", "content": system_prompt}, *messages]


class Parameters(BaseModel):
    """TGI's ``parameters``; others of its fields are ignored."""

    max_new_tokens: int | None = Field(None, ge=1)
    do_sample: bool | None = None
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, ge=0, le=1)
    top_k: int | None = Field(None, ge=0)
    seed: int | None = Field(None, ge=0, lt=2**63)
    stop: Stops = []
    details: bool = False
    return_full_text: bool | None = False

    @property
    def wish(self) -> Wish:
        """What the body says of sampling: greedy, like TGI, unless it asks for sampling in some way."""
        asked = any(value is not None for value in (self.temperature, self.top_p, self.top_k))
        greedy = self.do_sample is False or (self.do_sample is None and not asked)
        return Wish(
            max_tokens=self.max_new_tokens,
            temperature=0.0 if greedy else self.temperature,
            top_p=self.top_p,
            top_k=self.top_k,
            seed=self.seed,
            stop=tuple(self.stop),
        )


class GenerateBody(BaseModel):
    """Body of TGI's /generate and /generate_stream."""

    inputs: str
    parameters: Parameters = Parameters()
