"""Python that a model brings: refused, unless trusted; then its own files are fetched, and no others."""

from __future__ import annotations

import json
from typing import Any

import pytest

from slipway_runtime import remote_code
from slipway_runtime.contract import Exit
from slipway_runtime.errors import StageError
from slipway_runtime.fetch import fetch
from slipway_runtime.inspection import inspect

from .conftest import CONFIG, Bench, HubServer

TRUSTED = {"SLIPWAY_TRUST_REMOTE_CODE": "true"}
OWN = {"AutoConfig": "configuration_x.XConfig", "AutoModelForCausalLM": "modeling_x.XModel"}


@pytest.fixture
def coded(hub: HubServer) -> HubServer:
    """acme/tiny with two modules of its own."""
    folder = hub.root / "acme" / "tiny"
    (folder / "config.json").write_text(json.dumps({**CONFIG, "auto_map": OWN}))
    for name in ("configuration_x", "modeling_x"):
        (folder / f"{name}.py").write_text("raise SystemExit\n")
    return hub


def write(hub: HubServer, name: str, **content: Any) -> None:
    (hub.root / "acme" / "tiny" / name).write_text(json.dumps(content))


def refuse(bench: Bench, hub: HubServer, **environment: str) -> StageError:
    with pytest.raises(StageError) as caught:
        inspect(bench.job("inspect", HF_ENDPOINT=hub.url, **environment))
    return caught.value


def test_a_model_that_brings_code_is_refused_with_what_it_names(bench: Bench, coded: HubServer) -> None:
    error = refuse(bench, coded)
    assert (error.reason, error.code) == ("RemoteCode", Exit.DATA)
    assert "modeling_x.XModel in config.json" in error.message
    assert "spec.model.trustRemoteCode" in error.message


@pytest.mark.parametrize(
    "given", [{"AutoTokenizer": ["tokenization_x.XTokenizer", None]}, ["tokenization_x.XTokenizer", None]]
)
def test_a_tokenizer_brings_code_too(bench: Bench, hub: HubServer, given: Any) -> None:
    write(hub, "tokenizer_config.json", auto_map=given)
    error = refuse(bench, hub)
    assert error.reason == "RemoteCode"
    assert "tokenization_x.XTokenizer in tokenizer_config.json" in error.message


@pytest.mark.parametrize(
    "name",
    ["processor_config.json", "preprocessor_config.json", "generation_config.json", "adapter_config.json"],
)
def test_so_does_any_other_configuration(bench: Bench, hub: HubServer, name: str) -> None:
    write(hub, name, image_processor={"auto_map": {"AutoImageProcessor": "other/code--proc.P"}})
    assert f"other/code--proc.P in {name}" in refuse(bench, hub).message
    assert "pinned by" in refuse(bench, hub, **TRUSTED).message


def test_a_configuration_that_is_too_large_to_look_into_is_refused(
    bench: Bench, hub: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_code, "LIMIT", 1000)
    write(hub, "preprocessor_config.json", auto_map={"AutoProcessor": "proc.P"}, padding="x" * 1000)
    error = refuse(bench, hub)
    assert (error.reason, error.code) == ("RemoteCode", Exit.DATA)
    assert "preprocessor_config.json has" in error.message


def test_nesting_without_end_names_no_class(bench: Bench, hub: HubServer) -> None:
    (hub.root / "acme" / "tiny" / "processor_config.json").write_text('{"a":' * 100_000)
    assert inspect(bench.job("inspect", HF_ENDPOINT=hub.url))["facts"]["remoteCode"] is False


def test_trusted_code_is_counted_and_fetched(bench: Bench, coded: HubServer) -> None:
    found = inspect(bench.job("inspect", HF_ENDPOINT=coded.url, **TRUSTED))
    assert found["facts"]["remoteCode"] is True
    given = {"HF_ENDPOINT": coded.url, "SLIPWAY_REVISION": found["commit"]}
    done = fetch(bench.job("fetch", **given, **TRUSTED))
    assert done["files"] == found["files"] == 7
    assert found["facts"]["downloadBytes"] == done["sizeBytes"]
    code = {path.name for path in (bench.store / "published").glob("*.py")}
    assert code == {"configuration_x.py", "modeling_x.py", "modeling_llama.py"}


def test_without_trust_no_python_is_fetched(bench: Bench, coded: HubServer) -> None:
    fetch(bench.job("fetch", HF_ENDPOINT=coded.url))
    assert list((bench.store / "published").rglob("*.py")) == []


def test_trust_changes_nothing_of_a_model_without_code(bench: Bench, hub: HubServer) -> None:
    found = inspect(bench.job("inspect", HF_ENDPOINT=hub.url, **TRUSTED))
    assert (found["files"], found["facts"]["remoteCode"]) == (4, False)


def test_code_of_another_repository_is_never_trusted(bench: Bench, coded: HubServer) -> None:
    write(coded, "config.json", **CONFIG, auto_map={"AutoModel": "other/code--modeling_x.XModel"})
    error = refuse(bench, coded, **TRUSTED)
    assert (error.reason, error.code) == ("RemoteCode", Exit.DATA)
    assert "other/code--modeling_x.XModel" in error.message


def test_a_module_that_is_not_there_is_named(bench: Bench, coded: HubServer) -> None:
    (coded.root / "acme" / "tiny" / "modeling_x.py").unlink()
    error = refuse(bench, coded, **TRUSTED)
    assert (error.reason, error.code) == ("FileNotFound", Exit.NO_INPUT)
    assert "modeling_x.py" in error.message


@pytest.mark.parametrize("given", ["{", "[]", '{"auto_map": 7}', '{"auto_map": {"AutoTokenizer": [null]}}'])
def test_what_names_no_class_is_no_code(bench: Bench, hub: HubServer, given: str) -> None:
    (hub.root / "acme" / "tiny" / "tokenizer_config.json").write_text(given)
    assert inspect(bench.job("inspect", HF_ENDPOINT=hub.url))["files"] == 4
