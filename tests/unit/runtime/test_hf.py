"""The hub source against a hub: what inspect says of good and bad repositories."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from slipway_runtime.contract import Exit
from slipway_runtime.errors import StageError
from slipway_runtime.inspection import inspect
from slipway_runtime.sources import RemoteFile, connect
from tests.support.http_server import answering

from .conftest import CONFIG, Bench, HubServer, build_repository, build_safetensors


def refuse(bench: Bench, hub: HubServer, **environment: str) -> StageError:
    with pytest.raises(StageError) as caught:
        inspect(bench.job("inspect", HF_ENDPOINT=hub.url, **environment))
    return caught.value


def write_settings(hub: HubServer, name: str, **settings: Any) -> None:
    (hub.root / "acme" / name / "repo.json").write_text(json.dumps(settings))


def test_inspect_reads_facts_without_weights(bench: Bench, hub: HubServer) -> None:
    found = inspect(bench.job("inspect", HF_ENDPOINT=hub.url))
    assert len(found["commit"]) == 40
    assert found["files"] == 4
    facts = found["facts"]
    assert (facts["architecture"], facts["parameters"], facts["dtype"]) == (
        "LlamaForCausalLM",
        8192,
        "bfloat16",
    )
    assert facts["license"] == "apache-2.0"
    assert facts["weightBytes"] == (hub.root / "acme/tiny/model.safetensors").stat().st_size
    assert facts["downloadBytes"] > facts["weightBytes"]


def test_inspect_moves_no_more_than_headers(bench: Bench, hub: HubServer) -> None:
    size = 4 << 20
    build_repository(
        hub.root / "acme" / "large", build_safetensors({"a": ("BF16", [size // 2], b"\0" * size)})
    )
    inspect(bench.job("inspect", HF_ENDPOINT=hub.url, SLIPWAY_SOURCE="hf://acme/large"))
    assert hub.sent_bytes() < size // 8


def test_shards_are_summed_and_checked_against_the_index(bench: Bench, hub: HubServer) -> None:
    folder = build_repository(hub.root / "acme" / "sharded")
    (folder / "model.safetensors").unlink()
    for number in (1, 2):
        shard = build_safetensors({f"t{number}": ("F16", [2, 5], b"x" * 20)})
        (folder / f"model-0000{number}-of-00002.safetensors").write_bytes(shard)
    index = {
        "weight_map": {"t1": "model-00001-of-00002.safetensors", "t2": "model-00002-of-00002.safetensors"}
    }
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    found = inspect(bench.job("inspect", HF_ENDPOINT=hub.url, SLIPWAY_SOURCE="hf://acme/sharded"))
    assert found["facts"]["parameters"] == 20
    (folder / "model-00002-of-00002.safetensors").unlink()
    error = refuse(bench, hub, SLIPWAY_SOURCE="hf://acme/sharded")
    assert (error.reason, error.code) == ("BrokenWeights", Exit.DATA)


@pytest.mark.parametrize(
    ("source", "reason", "code"),
    [
        ("hf://acme/absent", "RepositoryNotFound", Exit.NO_INPUT),
        ("ftp://acme/tiny", "UnknownScheme", Exit.CONFIG),
        ("acme/tiny", "UnknownScheme", Exit.CONFIG),
        ("hf://acme/tiny/model.safetensors", "UnknownScheme", Exit.CONFIG),
        ("hf://../tiny", "UnknownScheme", Exit.CONFIG),
    ],
)
def test_addresses_that_lead_nowhere(
    bench: Bench, hub: HubServer, source: str, reason: str, code: Exit
) -> None:
    error = refuse(bench, hub, SLIPWAY_SOURCE=source)
    assert (error.reason, error.code) == (reason, code)
    assert "acme" in error.message or "hf://" in error.message


def test_a_revision_that_is_not_there(bench: Bench, hub: HubServer) -> None:
    error = refuse(bench, hub, SLIPWAY_REVISION="v9")
    assert (error.reason, error.code) == ("RevisionNotFound", Exit.NO_INPUT)
    assert "v9" in error.message


def test_private_and_absent_look_alike_but_say_what_to_do(bench: Bench, hub: HubServer) -> None:
    write_settings(hub, "tiny", private=True, tokens=["hf_reader"])
    error = refuse(bench, hub)
    assert (error.reason, error.code) == ("RepositoryNotFound", Exit.NO_INPUT)
    assert "spec.model.secretRef" in error.message
    bench.write_token("hf_reader")
    assert inspect(bench.job("inspect", HF_ENDPOINT=hub.url))["files"] == 4


def test_gated_without_and_with_tokens(bench: Bench, hub: HubServer) -> None:
    write_settings(hub, "tiny", gated="manual", tokens=["hf_reader"])
    error = refuse(bench, hub)
    assert (error.reason, error.code) == ("GatedRepository", Exit.NO_PERMISSION)
    bench.write_token("hf_stranger")
    error = refuse(bench, hub)
    assert (error.reason, error.code) == ("GatedRepository", Exit.NO_PERMISSION)
    assert "accept the terms" in error.message
    bench.write_token("hf_reader")
    assert inspect(bench.job("inspect", HF_ENDPOINT=hub.url))["files"] == 4


def test_a_token_that_the_hub_does_not_know(bench: Bench, hub: HubServer) -> None:
    bench.write_token("hf_typo")
    error = refuse(bench, hub)
    assert (error.reason, error.code) == ("TokenRejected", Exit.NO_PERMISSION)
    assert "hf_typo" not in error.message


def test_a_token_of_the_machine_is_never_used(
    bench: Bench, hub: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_settings(hub, "tiny", private=True, tokens=["hf_reader"])
    monkeypatch.setenv("HF_TOKEN", "hf_reader")
    assert refuse(bench, hub).reason == "RepositoryNotFound"


def test_a_hub_that_is_down_or_answers_503(bench: Bench, hub: HubServer) -> None:
    hub.fail(unavailable=1)
    error = refuse(bench, hub)
    assert (error.reason, error.code) == ("HubUnavailable", Exit.TRANSIENT)
    hub.fail(down=True)
    error = refuse(bench, hub)
    assert (error.reason, error.code) == ("HubUnavailable", Exit.TRANSIENT)
    assert hub.url in error.message


@pytest.mark.parametrize(
    ("change", "reason", "code"),
    [
        ({"config.json": None}, "NoConfig", Exit.NO_INPUT),
        ({"config.json": b"{"}, "BrokenConfig", Exit.DATA),
        ({"config.json": b"[]"}, "BrokenConfig", Exit.DATA),
        ({"config.json": b""}, "BrokenConfig", Exit.DATA),
        ({"model.safetensors": None, "pytorch_model.bin": b"\x80"}, "PickleOnly", Exit.DATA),
        ({"model.safetensors": b"\7"}, "TruncatedWeights", Exit.DATA),
    ],
)
def test_repositories_that_cannot_be_served(
    bench: Bench, hub: HubServer, change: dict[str, bytes | None], reason: str, code: Exit
) -> None:
    for name, content in change.items():
        path = hub.root / "acme" / "tiny" / name
        path.unlink(missing_ok=True)
        if content is not None:
            path.write_bytes(content)
    error = refuse(bench, hub)
    assert (error.reason, error.code) == (reason, code)


def write_config(hub: HubServer, **change: Any) -> None:
    (hub.root / "acme" / "tiny" / "config.json").write_text(json.dumps({**CONFIG, **change}))


VISION = {"vision_config": {"hidden_size": 8}}
LANGUAGE = {key: value for key, value in CONFIG.items() if key != "architectures"}


@pytest.mark.parametrize(
    ("change", "modality", "convertible"),
    [
        ({"architectures": ["Qwen2ForCausalLM"]}, "text", True),
        ({"architectures": ["AquilaForCausalLM"]}, "text", False),
        ({"architectures": ["LlamaForCausalLM"], **VISION}, "multimodal", True),
        ({"architectures": ["NewVisionForCausalLM"], **VISION}, "multimodal", False),
        (
            {
                "architectures": ["InternVLChatModel"],
                "llm_config": LANGUAGE | {"architectures": ["Qwen2ForCausalLM"]},
            },
            "multimodal",
            True,
        ),
        ({"architectures": ["BertModel"]}, "embedding", False),
    ],
)
def test_what_llama_cpp_cannot_serve_is_left_to_the_planner(
    bench: Bench, hub: HubServer, change: dict[str, Any], modality: str, *, convertible: bool
) -> None:
    write_config(hub, **change)
    found = inspect(bench.job("inspect", HF_ENDPOINT=hub.url))["facts"]
    assert (found["modality"], found["convertible"]) == (modality, convertible)


@pytest.mark.parametrize(
    "name", ["BertForSequenceClassification", "Eagle3LlamaForCausalLM", "T5WithLMHeadModel"]
)
def test_what_neither_writes_nor_embeds_is_refused_early(bench: Bench, hub: HubServer, name: str) -> None:
    write_config(hub, architectures=[name])
    error = refuse(bench, hub)
    assert (error.reason, error.code) == ("UnsupportedArchitecture", Exit.DATA)
    assert error.message.startswith(f"{name} neither writes text nor embeds")


def test_an_embedding_models_modules_are_fetched_and_counted(bench: Bench, hub: HubServer) -> None:
    pooling = hub.root / "acme" / "tiny" / "1_Pooling" / "config.json"
    pooling.parent.mkdir()
    pooling.write_text("{}")
    found = inspect(bench.job("inspect", HF_ENDPOINT=hub.url))
    assert (found["files"], found["facts"]["modality"]) == (5, "embedding")


def test_the_method_that_modelopt_says_beside_is_read(bench: Bench, hub: HubServer) -> None:
    beside = {"producer": {"name": "modelopt"}, "quantization": {"quant_algo": "FP8"}}
    (hub.root / "acme" / "tiny" / "hf_quant_config.json").write_text(json.dumps(beside))
    assert inspect(bench.job("inspect", HF_ENDPOINT=hub.url))["facts"]["quantization"] == "fp8"


def test_a_range_is_right_with_and_without_a_server_that_knows_ranges(bench: Bench, hub: HubServer) -> None:
    repository = connect(bench.job("inspect", HF_ENDPOINT=hub.url))
    listing = repository.list_files("main")
    config = next(file for file in listing.files if file.path == "config.json")
    content = (hub.root / "acme" / "tiny" / "config.json").read_bytes()
    assert repository.read_range(listing.commit, config, 3, 10) == content[3:13]
    plain = bench.folder / "plain" / "acme" / "tiny" / "resolve" / "main"
    plain.mkdir(parents=True)
    (plain / "config.json").write_bytes(content)
    with plain_server(bench.folder / "plain") as url:
        deaf = connect(bench.job("inspect", HF_ENDPOINT=url))
        assert deaf.read_range("main", config, 3, 10) == content[3:13]


def test_a_file_that_the_hub_would_not_send_is_refused(bench: Bench, hub: HubServer) -> None:
    repository = connect(bench.job("fetch", HF_ENDPOINT=hub.url))
    with pytest.raises(StageError) as caught:
        repository.download("main", RemoteFile("model.safetensors", 60 * 10**9), bench.folder / "part")
    assert (caught.value.reason, caught.value.code) == ("FileTooLarge", Exit.DATA)
    assert hub.requests() == {}


@contextmanager
def plain_server(root: Path) -> Iterator[str]:
    """Serve a folder with Python's own server, which ignores Range."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the library
            pass

    with answering(partial(Quiet, directory=str(root))) as url:
        yield url
