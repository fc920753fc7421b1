"""Engines of one's own: llama-server as somebody else would describe it, and one that dies when asked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster.access import ROOT
from tests.cluster.hub import TINY
from tests.cluster.namespaces import Cluster, own_namespace
from tests.engines.asking import asked, endpoint

pytestmark = [pytest.mark.cluster, pytest.mark.engines]
EVERYWHERE = Cluster("")
DIES = """\
import http.server, os, sys
class Server(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b"ok")
    def do_POST(self):
        print("RuntimeError: no kernel image is available for this device", file=sys.stderr, flush=True)
        print("EngineDeadError: see the root cause above", file=sys.stderr, flush=True)
        os._exit(1)
http.server.HTTPServer(("0.0.0.0", int(sys.argv[1])), Server).serve_forever()
"""
"""Healthy by every health route, and dead at its first request: no real engine does that on purpose."""


def image(role: str) -> str:
    entry = json.loads((ROOT / ".cluster/images.json").read_text())[role]
    return f"{entry['ref'].rpartition(':')[0]}@{entry['digest']}"


def engine(name: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "slipway.dev/v1alpha1",
        "kind": "ServingEngine",
        "metadata": {"name": name},
        "spec": {"format": "gguf", "metrics": {"prefix": "llamacpp:"}, **spec},
    }


ANY = "0.0.0.0"  # noqa: S104 - a pod is reached from outside
OWN = {
    "command": ["/usr/bin/llama-server"],
    "args": [
        "--model", "{modelFile}", "--alias", "{modelName}", "--host", ANY, "--port", "{port}", "--metrics",
        "--ctx-size", "{contextLength}", "--parallel", "1", "--threads", "{threads}", "--offline",
    ],
    "capabilities": {"sampling-defaults": ["--temp", "{temperature}"]},
    "port": 9100,
}  # fmt: skip


@pytest.fixture
def home() -> Iterator[Cluster]:
    """A namespace of this test's own, and no ServingEngine after it."""
    try:
        with own_namespace("own-engine") as made:
            yield made
    finally:
        names = ("test-own", "test-dies")
        EVERYWHERE.kubectl("delete", "seng", *names, "--ignore-not-found", namespaced=False)


@pytest.mark.timeout(600)
def test_it_serves_and_a_revision_keeps_it_as_it_was(home: Cluster) -> None:
    wish = {"name": "test-own", "contextLength": 512, "concurrency": 1, "generation": {"temperature": "0.1"}}
    home.model("chat", TINY, engine=wish, optimize={"level": "Q8_0"})
    unknown = home.wait_reason("chat", "SourceResolved", "UnknownEngine")
    assert "test-own" in unknown["message"]
    EVERYWHERE.apply(engine("test-own", images={"cpu": image("llamacpp")}, **OWN))
    status = home.wait_ready("chat", 420)["status"]
    assert status["plan"]["engine"] == "test-own"
    (pod,) = home.engines("chat")
    container = pod["spec"]["containers"][0]
    assert container["args"][-2:] == ["--temp", "0.1"]
    assert container["ports"][0]["containerPort"] == 9100
    answer = asked(endpoint(home, "chat"), {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4})
    assert answer["usage"]["completion_tokens"] > 0
    EVERYWHERE.apply(engine("test-own", images={"cpu": image("llamacpp")}, **{**OWN, "port": 9200}))
    home.kubectl("annotate", "mdl", "chat", "test/look=1")
    home.wait_true("chat", "Ready")
    assert [one["metadata"]["name"] for one in home.engines("chat")] == [pod["metadata"]["name"]]


@pytest.mark.timeout(600)
def test_one_that_dies_at_its_first_request_gets_no_traffic_and_says_why(home: Cluster) -> None:
    dies = {"command": ["python3", "-c", DIES], "args": ["{port}"], "port": 9300}
    EVERYWHERE.apply(engine("test-dies", images={"cpu": image("runtime")}, **dies))
    wish = {"name": "test-dies", "contextLength": 512, "concurrency": 1}
    home.model("chat", TINY, engine=wish, optimize={"level": "Q8_0"})
    found = home.wait_reason("chat", "Available", "CrashLoop", 420)
    assert "RuntimeError: no kernel image is available for this device (exit code 1)" in found["message"]
    assert "root cause" not in found["message"]
    slices = home.list("endpointslices", "kubernetes.io/service-name=chat")
    assert not [one for item in slices for one in item.get("endpoints") or () if one["conditions"]["ready"]]


@pytest.mark.timeout(600)
def test_a_bad_change_leaves_the_old_revision_serving(home: Cluster) -> None:
    EVERYWHERE.apply(engine("test-own", images={"cpu": image("llamacpp")}, **OWN))
    wish = {"name": "test-own", "contextLength": 512, "concurrency": 1}
    home.model("chat", TINY, engine=wish, optimize={"level": "Q8_0"})
    home.wait_ready("chat", 420)
    home.model("chat", TINY, engine={**wish, "args": {"no-such-flag": ""}}, optimize={"level": "Q8_0"})
    found = home.wait_reason("chat", "Progressing", "CrashLoop", 240)
    assert "no-such-flag" in found["message"]
    assert home.condition("chat", "Available")["status"] == "True"
    answer = asked(endpoint(home, "chat"), {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4})
    assert answer["usage"]["completion_tokens"] > 0
