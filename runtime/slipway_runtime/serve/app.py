"""The FastAPI application: routes, error bodies, the bound of a body's size, and the count of requests."""

from __future__ import annotations

import time

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from slipway_runtime.serve.answers import build_models
from slipway_runtime.serve.engine import Engine
from slipway_runtime.serve.metrics import Metrics
from slipway_runtime.serve.options import Options
from slipway_runtime.serve.refusal import Refusal
from slipway_runtime.serve.routes import ANSWERING, Service, build_router
from slipway_runtime.serve.stream import GONE

BODY_BYTES = 8 * 2**20
"""A prompt of 8 MiB is two million tokens, more than any context."""


def build_app(options: Options, engine: Engine) -> FastAPI:
    """Return the application; it answers 503 until the engine has its model."""
    # The interactive pages would load scripts from elsewhere.
    app = FastAPI(title="Slipway transformers", docs_url=None, redoc_url=None)
    app.add_middleware(BodyLimit, limit=BODY_BYTES)
    app.add_middleware(Measure, metrics=engine.metrics)
    app.add_exception_handler(Refusal, answer_refusal)
    app.add_exception_handler(RequestValidationError, answer_invalid)
    app.add_exception_handler(StarletteHTTPException, answer_http)
    app.include_router(build_router(Service(options, engine)))
    created = int(time.time())

    @app.get("/health")
    async def health() -> dict[str, str]:
        # Asked for its Refusal only.
        _ = engine.generator
        return {"status": "ok"}

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(engine.metrics.render(), media_type=CONTENT_TYPE_LATEST)

    @app.get("/v1/models")
    async def models() -> JSONResponse:
        return JSONResponse(build_models(options.name, created, engine.generator.context_length))

    return app


async def answer_refusal(_request: Request, error: Exception) -> Response:
    """Return a refusal in OpenAI's form."""
    refusal = error if isinstance(error, Refusal) else Refusal(500, str(error))
    return JSONResponse(refusal.body(), refusal.status, refusal.headers)


async def answer_invalid(request: Request, error: Exception) -> Response:
    """Return what is wrong with a body, as 400 like OpenAI, not FastAPI's 422."""
    faults = error.errors() if isinstance(error, RequestValidationError) else []
    # The place of a fault in JSON itself is an offset, which names no field.
    places = [".".join(map(str, f["loc"][1:])) if f["type"] != "json_invalid" else "" for f in faults]
    texts = [str(fault["msg"]).removeprefix("Value error, ") for fault in faults]
    said = [f"{place}: {text}" if place else text for place, text in zip(places, texts, strict=True)]
    param = places[0] if places and places[0] else None
    return await answer_refusal(request, Refusal(400, "; ".join(said) or "the body is wrong", param=param))


async def answer_http(request: Request, error: Exception) -> Response:
    """Return FastAPI's own errors (no such route, wrong method, too large) in OpenAI's form."""
    if not isinstance(error, StarletteHTTPException):
        return await answer_refusal(request, error)
    text = (
        f"{request.method} {request.url.path}: {error.detail}"
        if error.status_code != TOO_LARGE
        else error.detail
    )
    return await answer_refusal(request, Refusal(error.status_code, text, headers=error.headers))


TOO_LARGE = 413


class BodyLimit:
    """Refuses bodies that are too large before they are read, or as soon as they turn out to be."""

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand the request on, its body counted."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        said = dict(scope["headers"]).get(b"content-length", b"0")
        read = 0

        async def counted() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self._limit or int(said) > self._limit:
                # An HTTPException is what FastAPI lets through while it reads a body.
                raise HTTPException(
                    TOO_LARGE, f"the body is larger than the {self._limit} bytes that are taken"
                )
            return message

        await self._app(scope, counted, send)


class Measure:
    """Counts the requests for answers by route and status, and times them."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand the request on, and look at what comes back."""
        if scope["type"] != "http" or scope["path"] not in ANSWERING:
            await self._app(scope, receive, send)
            return
        began = time.monotonic()
        code, ended, gone = 500, False, False

        async def watched_receive() -> Message:
            nonlocal gone
            message = await receive()
            gone = gone or (message["type"] == "http.disconnect" and not ended)
            return message

        async def watched_send(message: Message) -> None:
            nonlocal code, ended
            code = message.get("status", code)
            ended = ended or (message["type"] == "http.response.body" and not message.get("more_body"))
            await send(message)

        try:
            await self._app(scope, watched_receive, watched_send)
        finally:
            self._metrics.requests.labels(scope["path"], str(GONE if gone else code)).inc()
            self._metrics.request_duration_seconds.observe(time.monotonic() - began)
