"""Every method and level that leaves safetensors, on the real small model: loaded, and saying something."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from slipway.api.optimize import CALIBRATED, FOLDERS
from tests.cluster import made
from tests.cluster.namespaces import Cluster, own_namespace
from tests.engines.asking import asked, endpoint

pytestmark = [pytest.mark.cluster, pytest.mark.engines]
FEW = {"calibration": {"samples": 16, "sequenceLength": 256}}
LEVELS = [(method, level) for method, levels in FOLDERS.items() for level in levels]


@pytest.fixture(scope="module")
def reading() -> Iterator[None]:
    """An engine that is said to read all of it."""
    Cluster("").apply(made.reader(made.optimizer_image()))
    yield
    Cluster("").kubectl("delete", "seng", made.READER, "--ignore-not-found", namespaced=False)


@pytest.mark.timeout(2400)
@pytest.mark.parametrize(("method", "level"), LEVELS)
def test_transformers_says_something_with_it(method: str, level: str, reading: None) -> None:
    more = FEW if level in CALIBRATED.get(method, ()) else {}
    with own_namespace("methods") as home:
        wish = {"method": method, "level": level, **more}
        home.model("made", engine={"name": made.READER, "contextLength": 512}, optimize=wish)
        artifact = made.artifact_ready(home, level, 1800)
        said = made.generated(home, artifact, "The capital of France is")
        assert said["finite"]
        # Four bits of 135 million weights may forget the answer; they still write words.
        assert len(said["text"].split()) >= 8, said["text"]
        if level not in ("W4A16", "NVFP4", "MXFP4", "NVFP4A16", "MXFP4A16"):
            assert "Paris" in said["text"]


@pytest.mark.timeout(2400)
@pytest.mark.parametrize(("method", "level"), [("gptq", "W4A16"), ("awq", "W4A16"), ("int8", "W8A8")])
def test_vllm_serves_it_on_cpu(method: str, level: str, home: Cluster) -> None:
    engine = {"name": "vllm", "contextLength": 1024, "concurrency": 1}
    home.model("chat", engine=engine, optimize={"method": method, "level": level, **FEW})
    status = home.wait_ready("chat", 2100)["status"]
    assert (status["plan"]["engine"], status["plan"]["level"]) == ("vllm", level)
    prompt = {"prompt": "The capital of France is", "temperature": 0, "max_tokens": 8}
    told = asked(endpoint(home, "chat"), prompt, "completions")
    assert told["usage"]["completion_tokens"] == 8
    assert told["choices"][0]["text"].strip()


@pytest.mark.unverified("Quantised weights on GPUs")
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("method", "level"), LEVELS)
def test_vllm_serves_it_on_a_device(method: str, level: str, home: Cluster) -> None:
    more = FEW if level in CALIBRATED.get(method, ()) else {}
    home.model("chat", engine={"name": "vllm"}, optimize={"method": method, "level": level, **more})

    def planned() -> str:
        found = home.condition("chat", "Planned")
        return str(found.get("message")) if found.get("status") in ("True", "False") else ""

    said = str(home.wait("the plan", planned, 300))
    if "FP8 units" in said or "compute capability" in said:
        pytest.skip(said)
    plan = home.wait_ready("chat", 3000)["status"]["plan"]
    assert plan["accelerator"]["vendor"]
    assert plan["level"] == level
    prompt = {"prompt": "The capital of France is", "temperature": 0, "max_tokens": 8}
    told = asked(endpoint(home, "chat"), prompt, "completions")
    assert told["choices"][0]["text"].strip()
