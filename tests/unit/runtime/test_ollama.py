"""Models of Ollama's registry."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from slipway_runtime.contract import Exit
from slipway_runtime.errors import StageError
from slipway_runtime.fetch import fetch_all
from slipway_runtime.sources import Repository, connect
from slipway_runtime.sources.ollama import full_name
from tests.support.registry_double import Double, serving
from tests.support.registry_models import DOCKER, GGUF, OLLAMA, OLLAMA_LAYERS
from tests.support.web_files import closing_clients

from .conftest import Bench


@pytest.fixture(autouse=True)
def _closing(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with closing_clients(monkeypatch):
        yield


@pytest.fixture
def double() -> Iterator[Double]:
    with serving(Double()) as served:
        yield served


def repository(bench: Bench, double: Double, source: str = "ollama://tiny:135m") -> Repository:
    return connect(bench.job("fetch", SLIPWAY_SOURCE=source, SLIPWAY_ENDPOINT_OLLAMA=double.url))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("tiny:7b", "registry.ollama.ai/library/tiny:7b"),
        ("acme/tiny", "registry.ollama.ai/acme/tiny"),
        ("hf.co/bartowski/Tiny-GGUF:Q4_K_M", "hf.co/bartowski/Tiny-GGUF:Q4_K_M"),
        ("localhost:5000/acme/tiny:7b", "localhost:5000/acme/tiny:7b"),
    ],
)
def test_names_are_completed_as_ollama_does(name: str, expected: str) -> None:
    assert full_name(name) == expected


def test_the_gguf_file_and_the_licences_are_brought(bench: Bench, double: Double) -> None:
    pin = double.add_layers("135m", OLLAMA_LAYERS, mediaType=DOCKER)
    found = repository(bench, double)
    listing = found.list_files("main")
    assert listing.commit == pin
    fetch_all(found, pin, list(listing.files), bench.store)
    brought = {path.name: path.read_bytes() for path in bench.store.iterdir()}
    assert brought == {"model.gguf": GGUF, "LICENSE": b"Apache License", "LICENSE-1": b"Use policy"}
    assert found.read_range(pin, listing.files[0], 0, 4) == b"GGUF"
    assert double.asked("GET")[0] == "/v2/library/tiny/manifests/135m?ns=registry.ollama.ai"


def test_without_a_tag_it_is_the_latest(bench: Bench, double: Double) -> None:
    pin = double.add_layers("latest", OLLAMA_LAYERS, mediaType=DOCKER)
    assert repository(bench, double, "ollama://tiny").list_files("main").commit == pin


def test_a_pin_is_found_by_its_tag_where_the_registry_knows_no_digests(bench: Bench, double: Double) -> None:
    pin = double.add_layers("135m", OLLAMA_LAYERS, mediaType=DOCKER)
    del double.manifests[pin]
    assert repository(bench, double).list_files(pin).commit == pin
    double.add_layers("135m", OLLAMA_LAYERS[:1], mediaType=DOCKER)
    with pytest.raises(StageError) as caught:
        repository(bench, double).list_files(pin)
    assert caught.value.reason == "SourceChanged"


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ([*OLLAMA_LAYERS, (f"{OLLAMA}adapter", b"x", {})], "spec.model.adapters"),
        ([(f"{OLLAMA}tensor", b"x", {})], "has not one layer with a GGUF file"),
        ([*OLLAMA_LAYERS, (f"{OLLAMA}model", b"x", {})], "has not one layer with a GGUF file"),
        ([], "but nothing"),
    ],
)
def test_what_would_be_served_as_something_else_is_refused(
    bench: Bench, double: Double, layers: list[tuple[str, bytes, dict[str, str]]], words: str
) -> None:
    double.add_layers("135m", layers, mediaType=DOCKER)
    with pytest.raises(StageError) as caught:
        repository(bench, double).list_files("main")
    assert (caught.value.reason, caught.value.code) == ("UnsupportedLayout", Exit.DATA)
    assert words in caught.value.message
