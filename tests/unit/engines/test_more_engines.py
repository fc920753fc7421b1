"""What single engines do otherwise than the rest, and the parts that they share."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from slipway.engines import ENGINES, Launch, decide, openai, problems
from slipway.engines.arguments import share_of_free, share_of_static
from slipway.plan.decision import Plan
from slipway.plan.nodes import node_facts
from slipway.settings import Settings
from tests.support.gpu_nodes import gpu_node
from tests.support.parsers import check_arguments
from tests.support.planning import MODELS, spec


def launch(name: str, **fields: Any) -> Launch:
    wish = spec(engine={"name": name, **fields})
    node = node_facts(gpu_node("h100", "h"))
    return Launch(wish, decide(wish, MODELS["llama3-8b"], [node], Settings()), "chat", "/models")


def pairs(name: str, **fields: Any) -> dict[str, str]:
    return dict(pairwise(ENGINES[name].args(launch(name, **fields))))


class Asked(BaseHTTPRequestHandler):
    """Answers as the test says, and keeps what was asked."""

    said = ""
    bodies: tuple[str, ...] = ()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        type(self).bodies = (self.path, body)
        answer = type(self).said.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_args: object) -> None:
        """Silence."""


@pytest.fixture
def server() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Asked) as found:
        threading.Thread(target=found.serve_forever, daemon=True).start()
        yield found.server_address[1]
        found.shutdown()


@pytest.mark.parametrize("name", ["lmdeploy", "ollama", "text-generation-webui"])
def test_a_probe_without_curl_needs_a_generated_token(name: str, server: int) -> None:
    given = launch(name)
    assert "curl" not in ENGINES[name].startup_probe(given)["exec"]["command"][-1]
    command = openai.startup_probe(given, server, curl=False)["exec"]["command"]
    for said, code in (('{"completion_tokens":1}', 0), ('{"completion_tokens": 1}', 0), ('{"error":1}', 1)):
        Asked.said = said
        assert (subprocess.run(command, check=False, stderr=subprocess.DEVNULL).returncode == 0) is (
            code == 0
        )
        path, body = Asked.bodies
        assert path == "/v1/completions"
        assert json.loads(body) == {"model": "chat", "prompt": "a", "max_tokens": 1, "temperature": 0}


def test_a_probe_fails_while_nobody_listens() -> None:
    command = openai.startup_probe(launch("lmdeploy"), 1, curl=False)["exec"]["command"]
    assert subprocess.run(command, check=False, stderr=subprocess.DEVNULL).returncode != 0


def test_tgi_is_asked_by_its_own_route() -> None:
    script = ENGINES["tgi"].startup_probe(launch("tgi"))["exec"]["command"][-1]
    assert """-d '{"inputs":"a","parameters":{"max_new_tokens":1,"details":true}}'""" in script
    assert "/generate | grep -Eq '\"generated_tokens\": ?1'" in script


def test_shares_leave_the_same_for_the_cache() -> None:
    plan = launch("vllm", gpuMemoryShare="80%").plan
    assert plan.accelerator is not None
    device, memory = plan.accelerator.memory, plan.memory
    taken = memory.weights + memory.overhead
    cache = device * 0.8 - taken - memory.activations
    assert float(share_of_free(plan)) == pytest.approx(cache / (device - taken), abs=0.01)
    static = float(share_of_static(plan)) * device
    assert static - memory.weights == pytest.approx(cache, abs=device * 0.01)
    with pytest.raises(ValueError, match="no share"):
        share_of_free(replace(plan, accelerator=None))


@pytest.mark.parametrize("name", ["vllm", "sglang"])
@pytest.mark.parametrize("index", ["0", "1"])
def test_pods_of_one_replica_know_their_rank(name: str, index: str) -> None:
    given = launch(name)
    plan: Plan = replace(given.plan, parallel=replace(given.plan.parallel, pipeline=2, pods=2))
    started = replace(given, plan=plan)
    command = ENGINES[name].command(started)
    assert command[:2] == ["/bin/sh", "-c"]
    lws = {"PATH": os.environ["PATH"], "LWS_WORKER_INDEX": index, "LWS_LEADER_ADDRESS": "lead.chat"}
    script = [*command[:2], command[2].replace('exec "$@"', 'printf "%s\\n" "$@"'), *command[3:]]
    done = subprocess.run(
        [*script, *ENGINES[name].args(started)], env=lws, check=True, capture_output=True, text=True
    )
    lines = done.stdout.splitlines()
    found = lines[len(command[4:]) :]
    assert check_arguments(name, found) == []
    assert found[found.index("--node-rank") + 1] == index
    assert found[found.index("--nnodes") + 1] == "2"
    assert any(one.startswith("lead.chat") for one in found)
    assert ("--headless" in found) is (name == "vllm" and index == "1")


def test_weights_are_quantised_while_they_are_loaded() -> None:
    for name, flag, words in (
        ("sglang", "--quantization", {"fp8": "fp8", "bnb": "bitsandbytes"}),
        ("tgi", "--quantize", {"fp8": "fp8", "bnb": "bitsandbytes-nf4"}),
    ):
        given = launch(name)
        for method, word in words.items():
            plan = replace(given.plan, method=method, at_load=True)
            args = ENGINES[name].args(replace(given, plan=plan))
            assert dict(pairwise(args))[flag] == word
            assert check_arguments(name, args) == []
    assert dict(pairwise(args)).get("--dtype") is None


def test_tensorrt_llm_gets_the_rest_by_a_file(tmp_path: Path) -> None:
    fields = {"prefixCaching": False, "speculative": {"tokens": 7, "window": 3}, "kvCacheDtype": "fp8"}
    given = launch("tensorrt-llm", **fields)
    command = [
        part.replace("/tmp/", f"{tmp_path}/").replace("trtllm-serve", "echo")  # noqa: S108 - the pod's
        for part in ENGINES["tensorrt-llm"].command(given)
    ]
    environment = {"PATH": os.environ["PATH"], **ENGINES["tensorrt-llm"].env(given)}
    for _ in range(2):
        subprocess.run([*command, "x"], env=environment, check=True, capture_output=True)
    said = json.loads((tmp_path / "options.yaml").read_text())
    assert said["speculative_config"] == {
        "decoding_type": "NGram", "max_draft_len": 7, "max_matching_ngram_size": 3,
    }  # fmt: skip
    assert said["kv_cache_config"]["enable_block_reuse"] is False
    assert said["kv_cache_config"]["dtype"] == "fp8"
    assert said["guided_decoding_backend"] == "xgrammar"
    assert (tmp_path / "served" / "chat").readlink() == Path("/models")
    assert ENGINES["tensorrt-llm"].args(given)[0].endswith("/served/chat")


def test_lmdeploys_kv_cache_keeps_16_bits_unless_a_type_is_named() -> None:
    assert "--quant-policy" not in pairs("lmdeploy")
    assert "--quant-policy" not in pairs("lmdeploy", kvCacheDtype="auto")
    assert pairs("lmdeploy", kvCacheDtype="int8")["--quant-policy"] == "8"
    assert pairs("lmdeploy", kvCacheDtype="int4")["--quant-policy"] == "4"
    assert (
        check_arguments("lmdeploy", ENGINES["lmdeploy"].args(launch("lmdeploy", kvCacheDtype="int4"))) == []
    )
    found = problems(spec(engine={"name": "lmdeploy", "kvCacheDtype": "fp8"}))
    assert any("it has int4, int8" in one.message for one in found), found


def test_a_prompt_that_can_not_be_cut_fits_into_one_step() -> None:
    assert pairs("tensorrt-llm", contextLength=8192, chunkedPrefill=False)["--max_num_tokens"] == "8192"
    assert "--enable_chunked_prefill" in ENGINES["tensorrt-llm"].args(launch("tensorrt-llm"))


@pytest.mark.parametrize(
    ("name", "fields", "words"),
    [
        ("sglang", {"generation": {"maxTokens": 5}}, "maxTokens"),
        ("lmdeploy", {"generation": {"maxTokens": 5}}, "maxTokens"),
        ("text-generation-webui", {"generation": {"maxTokens": 5}}, "maxTokens"),
        ("tgi", {"speculative": {"window": 3}}, "window"),
        ("vllm", {"args": {"chat-template": "/x"}, "generation": {"systemPrompt": "a"}}, "systemPrompt"),
        ("vllm", {"args": {"speculative-config.method": "ngram"}}, "spec.engine.speculative"),
        ("lmdeploy", {"args": {"tp": "2"}}, "spec.engine.tensorParallel"),
        ("tensorrt-llm", {"args": {"max_seq_len": "2"}}, "spec.engine.contextLength"),
    ],
)
def test_what_an_engine_can_not_grant_is_refused(name: str, fields: dict[str, Any], words: str) -> None:
    found = problems(spec(engine={"name": name, **fields}))
    assert any(words in one.message or words in one.path for one in found), found


def test_ollama_links_the_weights_in_place_of_a_copy() -> None:
    given = launch("ollama")
    assert "ln -sfn" in ENGINES["ollama"].command(given)[2]
    assert ENGINES["ollama"].args(given) == ["chat", "/models/model.gguf"]
    assert "PARAMETER num_gpu 999" in ENGINES["ollama"].env(given)["SLIPWAY_MODELFILE"]
