"""The routes that answer: OpenAI's two, TGI's two and our own /chat. For ``app``."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Literal

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from slipway_runtime.serve.answers import Head, TgiStream, build_generate
from slipway_runtime.serve.ask import COMPLETION_TOKENS, GENERATE_TOKENS, Wish, build_ask, build_defaults
from slipway_runtime.serve.bodies import ChatBody, CompletionBody, GenerateBody, SamplingBody
from slipway_runtime.serve.engine import Engine
from slipway_runtime.serve.generator import Generator
from slipway_runtime.serve.options import Options
from slipway_runtime.serve.refusal import Refusal
from slipway_runtime.serve.stream import PieceResponse, Started, unless_gone

ANSWERING = frozenset({"/v1/completions", "/v1/chat/completions", "/generate", "/generate_stream", "/chat"})
"""What the metrics of requests count."""


@dataclass(frozen=True)
class Service:
    """What every route needs."""

    options: Options
    engine: Engine

    async def begin(
        self, encode: Callable[[Generator], tuple[int, ...]], wish: Wish, usual_tokens: int | None
    ) -> Started:
        """Return a generation that has its first piece; cancelling this leaves nothing behind.

        Args:
            encode: makes the prompt's tokens; runs in a thread, as a long prompt takes its time.
            wish: what the body says of sampling.
            usual_tokens: the protocol's own bound of an answer.

        Raises:
            Refusal: whatever stands against it.
        """
        began = time.monotonic()
        generator = self.engine.generator
        prompt = await asyncio.to_thread(encode, generator)
        defaults = build_defaults(self.options, generator.generation_config)
        ask = build_ask(prompt, wish, defaults, generator.context_length, usual_tokens)
        started = Started(await self.engine.start(ask, began))
        await started.wait_first()
        return started

    def require_name(self, body: SamplingBody) -> None:
        """Raise Refusal 404 when the body names a model that is not this one."""
        if body.model is not None and body.model != self.options.name:
            raise Refusal(
                404,
                f"The model `{body.model}` does not exist; this server has `{self.options.name}`.",
                code="model_not_found",
                param="model",
            )


def build_router(service: Service) -> APIRouter:
    """Return the routes of `ANSWERING`."""
    router = APIRouter()

    @router.post("/v1/completions")
    async def completions(body: CompletionBody, request: Request) -> Response:
        service.require_name(body)
        begin = service.begin(lambda model: encode_prompt(model, body), body.wish, COMPLETION_TOKENS)
        return await answer_openai(service, body, request, begin, "text")

    @router.post("/v1/chat/completions")
    async def chat_completions(body: ChatBody, request: Request) -> Response:
        return await answer_openai(service, body, request, begin_chat(service, body), "chat")

    @router.post("/chat")
    async def chat(body: ChatBody, request: Request) -> Response:
        if body.stream:
            raise Refusal(400, "/chat does not stream: use /v1/chat/completions", param="stream")
        started = await unless_gone(request, begin_chat(service, body))
        answer = await unless_gone(request, started.collect())
        return JSONResponse({"message": {"role": "assistant", "content": answer.text}})

    @router.post("/generate")
    async def generate(body: GenerateBody, request: Request) -> Response:
        started = await unless_gone(request, begin_generate(service, body))
        answer = await unless_gone(request, started.collect())
        return JSONResponse(build_generate(answer, body))

    @router.post("/generate_stream")
    async def generate_stream(body: GenerateBody, request: Request) -> Response:
        started = await unless_gone(request, begin_generate(service, body))
        return PieceResponse(started, (), TgiStream(body).frames)

    return router


def encode_prompt(model: Generator, body: CompletionBody) -> tuple[int, ...]:
    """Return the tokens of a prompt that is text or tokens already."""
    if body.text is not None:
        return model.encode(body.text)
    model.check(body.tokens)
    return body.tokens


def begin_chat(service: Service, body: ChatBody) -> Coroutine[Any, Any, Started]:
    """Return what begins the answer to a chat."""
    service.require_name(body)
    messages = body.chat(service.options.system_prompt)
    return service.begin(lambda model: model.encode_chat(messages), body.wish, None)


def begin_generate(service: Service, body: GenerateBody) -> Coroutine[Any, Any, Started]:
    """Return what begins the answer to TGI's request."""
    return service.begin(lambda model: model.encode(body.inputs), body.parameters.wish, GENERATE_TOKENS)


async def answer_openai(
    service: Service,
    body: SamplingBody,
    request: Request,
    begin: Coroutine[Any, Any, Started],
    kind: Literal["chat", "text"],
) -> Response:
    """Return OpenAI's answer, whole or as a stream."""
    started = await unless_gone(request, begin)
    head = Head(
        kind=kind,
        ident=f"{'chatcmpl' if kind == 'chat' else 'cmpl'}-{uuid.uuid4().hex}",
        created=int(time.time()),
        model=service.options.name,
        prompt_tokens=started.generation.prompt_tokens,
        include_usage=body.include_usage,
    )
    if body.stream:
        return PieceResponse(started, head.opening(), head.frames)
    return JSONResponse(head.whole(await unless_gone(request, started.collect())))
