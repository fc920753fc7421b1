"""The process: it answers while it loads, ends in order, and says why it can't start."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress

import pytest

pytest.importorskip("uvicorn")
pytest.importorskip("fastapi")

PROGRAM = """\
import sys, time
from pathlib import Path
from slipway_runtime import log
from slipway_runtime.errors import DataError
from slipway_runtime.serve.options import Options
from slipway_runtime.serve.server import run_server
from tests.unit.runtime.serve.conftest import FakeModel

class Slow(FakeModel):
    def decode(self, tokens):
        time.sleep(0.01)
        return super().decode(tokens)

def load(options):
    if sys.argv[2] == "broken":
        raise DataError("PickleOnly", "only pickle weights")
    time.sleep(60 if sys.argv[2] == "endless" else 0.3)
    return Slow()

log.configure("serve", ())
options = Options(Path("/model"), "fake", host="127.0.0.1", port=int(sys.argv[1]), concurrency=1)
code = run_server(options, load)
import os
os._exit(code)
"""
Start = Callable[[str], "tuple[subprocess.Popen[str], int]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts the server on a free port, with this kind of loading."""
    running: list[subprocess.Popen[str]] = []

    def run(kind: str) -> tuple[subprocess.Popen[str], int]:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = int(server.getsockname()[1])
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, "-c", PROGRAM, str(port), kind]
        running.append(subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True))
        return running[-1], port

    yield run
    for process in running:
        process.kill()
        process.communicate()


@contextmanager
def open_path(port: int, path: str, body: str | None = None) -> Iterator[http.client.HTTPResponse]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request("POST" if body else "GET", path, body, {"content-type": "application/json"})
        with connection.getresponse() as response:
            yield response


def wait_for(port: int, status: int) -> None:
    """Return once /health answers with this status."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        with suppress(OSError), open_path(port, "/health") as response:
            if response.status == status:
                return
        time.sleep(0.02)
    raise TimeoutError


def test_it_answers_503_while_it_loads_and_finishes_what_runs_at_sigterm(start: Start) -> None:
    process, port = start("slow")
    wait_for(port, 503)
    wait_for(port, 200)
    with open_path(port, "/v1/completions", '{"prompt": "a", "stream": true}') as response:
        assert response.readline().startswith(b"data: ")
        process.send_signal(signal.SIGTERM)
        time.sleep(0.2)
        with pytest.raises(ConnectionRefusedError), open_path(port, "/health"):
            pass
        assert response.read().endswith(b"data: [DONE]\n\n")
    assert process.wait(10) == 0


def test_sigterm_does_not_wait_for_the_loading(start: Start) -> None:
    process, port = start("endless")
    wait_for(port, 503)
    process.send_signal(signal.SIGTERM)
    assert process.wait(5) == 0


def test_a_model_that_can_not_be_loaded_ends_the_process_with_its_reason(start: Start) -> None:
    process, _ = start("broken")
    _, said = process.communicate(timeout=20)
    assert process.returncode == 65
    assert "PickleOnly" in said
    assert "only pickle weights" in said
