"""What a hub, or something in its place, answers: for good, for now, or nonsense."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler

import pytest

from tests.support.http_server import answering

from .conftest import Bench


@contextmanager
def always(status: int, body: str) -> Iterator[str]:
    """Answer everything alike."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the library
            pass

    with answering(Handler) as url:
        yield url


@pytest.mark.parametrize(
    ("status", "token", "code", "reason", "words"),
    [
        (400, "", 78, "HubRefused", "answered 400"),
        (451, "", 78, "HubRefused", "answered 451"),
        (408, "", 75, "HubUnavailable", "tried again by itself"),
        (500, "", 75, "HubUnavailable", "tried again by itself"),
        (403, "", 77, "AccessDenied", "name a token in spec.model.secretRef"),
        (403, "hf_reader", 77, "AccessDenied", "give the token's account access"),
        (200, "", 70, "NotAHub", "but not as a Hugging Face hub does"),
    ],
)
def test_an_answer_is_permanent_or_passing(
    bench: Bench, status: int, token: str, code: int, reason: str, words: str
) -> None:
    if token:
        bench.write_token(token)
    with always(status, "<html>Sign in</html>") as url:
        found, result, _ = bench.run("inspect", HF_ENDPOINT=url)
    assert (found, result["reason"]) == (code, reason)
    assert words in result["message"]
    assert "127.0.0.1" in result["message"]
