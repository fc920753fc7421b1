"""A repository of GGUF files from inspect to the published artifact, by the stages' own processes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from slipway_runtime.benchmark.load import find_tokenizer
from slipway_runtime.contract import RESULT_LIMIT, Exit
from slipway_runtime.errors import StageError
from slipway_runtime.fetch import fetch
from slipway_runtime.gguf_tokenizer import write_tokenizer
from slipway_runtime.inspection import inspect
from tests.support.gguf_models import SMALL, TEMPLATE, write_gguf

from .conftest import Bench, HubServer

SOURCE = {"SLIPWAY_SOURCE": "hf://acme/m-GGUF"}


@pytest.fixture
def levels(hub: HubServer) -> dict[str, Path]:
    """Three levels in the hub, one of them in parts in a folder of its own, beside a README."""
    home = hub.root / "acme" / "m-GGUF"
    found = {level: write_gguf(home / f"m-{level}.gguf", level) for level in ("Q4_K_M", "Q8_0")}
    found["F16"] = write_gguf(home / "F16" / "m-F16.gguf", "F16", parts=2)
    (home / "README.md").write_text("---\nlicense: mit\n---\n")
    (home / "config.json").write_text("{}")
    return found


def run(bench: Bench, hub: HubServer, stage: str, **environment: str) -> tuple[int, dict[str, Any], str]:
    return bench.run(stage, HF_ENDPOINT=hub.url, **SOURCE, **environment)


def test_inspect_lists_the_levels_and_downloads_none(
    bench: Bench, hub: HubServer, levels: dict[str, Path]
) -> None:
    code, result, log = run(bench, hub, "inspect")
    assert code == Exit.OK, log
    facts = result["facts"]
    assert facts["quantization"] == "gguf"
    assert facts["parameters"] == SMALL.parameters
    assert [word.split(":")[0] for word in facts["levels"].split(",")] == ["Q4_K_M", "Q8_0", "F16"]
    assert facts["levels"].endswith("/2")
    assert facts["weightBytes"] == levels["Q4_K_M"].stat().st_size


def test_sixty_levels_fit_into_a_result(bench: Bench, hub: HubServer) -> None:
    home = hub.root / "acme" / "m-GGUF"
    whole = write_gguf(home / "m-Q4_K_M.gguf", "Q4_K_M")
    for number in range(60):
        (home / f"m-UD-IQ{number % 9}_XX{number // 9}.gguf").symlink_to(whole)
    code, result, log = run(bench, hub, "inspect")
    assert code == Exit.OK, log
    assert len(result["facts"]["levels"].split(",")) > 40
    text = Path(bench.environment["SLIPWAY_TERMINATION_LOG"]).read_bytes()
    assert len(text) <= RESULT_LIMIT


@pytest.mark.parametrize(
    ("level", "names"),
    [
        ("Q8_0", ["chat_template.jinja", "model.gguf"]),
        ("F16", ["chat_template.jinja", "model-00001-of-00002.gguf", "model-00002-of-00002.gguf"]),
    ],
)
def test_fetch_publishes_one_level_untouched(
    level: str, names: list[str], bench: Bench, hub: HubServer, levels: dict[str, Path]
) -> None:
    code, result, log = run(bench, hub, "fetch", SLIPWAY_REVISION="main", SLIPWAY_LEVEL=level)
    assert code == Exit.OK, log
    published = bench.store / "published"
    assert sorted(path.name for path in published.iterdir()) == sorted([*names, "manifest.json"])
    origin = sorted(levels[level].parent.glob(f"m-{level}*.gguf"))
    for name, path in zip(names[1:], origin, strict=True):
        assert (published / name).read_bytes() == path.read_bytes()
    assert (published / "chat_template.jinja").read_text() == TEMPLATE
    manifest = json.loads((published / "manifest.json").read_text())
    assert manifest["recipe"]["level"] == level
    assert [one["path"] for one in manifest["files"]] == names
    assert result["files"] == len(names)
    fetched = {Path(path).name for path in hub.requests() if path.endswith(".gguf")}
    assert fetched == {path.name for path in origin}
    again = run(bench, hub, "fetch", SLIPWAY_REVISION="main", SLIPWAY_LEVEL=level)[1]
    assert again["resumed"]
    assert again["digest"] == result["digest"]


def test_a_download_that_was_cut_goes_on_under_the_published_name(
    bench: Bench, hub: HubServer, levels: dict[str, Path]
) -> None:
    content = levels["Q8_0"].read_bytes()
    partial = bench.store / "partial"
    partial.mkdir()
    (partial / "model.gguf.part").write_bytes(content[: len(content) // 2])
    code, _, log = run(bench, hub, "fetch", SLIPWAY_REVISION="main", SLIPWAY_LEVEL="Q8_0")
    assert code == Exit.OK, log
    assert (bench.store / "published/model.gguf").read_bytes() == content
    assert hub.sent_bytes() < len(content) * 0.6


def refused(bench: Bench, hub: HubServer, stage: str, **environment: str) -> StageError:
    job = bench.job(stage, **SOURCE, HF_ENDPOINT=hub.url, **environment)
    with pytest.raises(StageError) as caught:
        (inspect if stage == "inspect" else fetch)(job)
    return caught.value


def test_a_level_that_is_not_there_any_more_is_refused(
    bench: Bench, hub: HubServer, levels: dict[str, Path]
) -> None:
    error = refused(bench, hub, "fetch", SLIPWAY_LEVEL="Q2_K")
    assert (error.reason, "it has Q4_K_M, Q8_0, F16" in error.message) == ("UnknownLevel", True)
    assert not (bench.store / "published").exists()


def test_a_damaged_level_is_refused_before_and_after_its_download(
    bench: Bench, hub: HubServer, levels: dict[str, Path]
) -> None:
    broken = levels["Q8_0"]
    broken.write_bytes(b"GGUF" + b"\xff" * 200)
    assert inspect(bench.job("inspect", **SOURCE, HF_ENDPOINT=hub.url))["facts"]["layers"] == SMALL.layers
    assert refused(bench, hub, "fetch", SLIPWAY_LEVEL="Q8_0").reason == "BrokenWeights"
    assert not (bench.store / "published").exists()
    levels["Q4_K_M"].write_bytes(levels["Q4_K_M"].read_bytes()[:-100])
    assert refused(bench, hub, "inspect").reason == "TruncatedWeights"


def test_a_draft_of_gguf_alone_is_refused_with_the_way_out(
    bench: Bench, hub: HubServer, levels: dict[str, Path]
) -> None:
    error = refused(bench, hub, "inspect", SLIPWAY_ROLE="draft")
    assert error.reason == "NoWeights"
    assert "choose the repository that they were made from" in error.message


def test_the_load_tool_gets_a_tokenizer_made_of_the_vocabulary(tmp_path: Path) -> None:
    source = tmp_path / "published"
    write_gguf(source / "model.gguf", "Q8_0", parts=2)
    made = find_tokenizer(source, tmp_path / "made")
    tokenizer = Tokenizer.from_file(str(made / "tokenizer.json"))
    assert tokenizer.get_vocab_size() == SMALL.vocab
    assert tokenizer.token_to_id("t10") == 10
    (source / "config.json").write_text("{}")
    assert find_tokenizer(source, tmp_path / "made") == source, "a folder of safetensors has its own"


def test_a_vocabulary_of_pieces_becomes_a_tokenizer_too(tmp_path: Path) -> None:
    from gguf import GGUFWriter

    writer = GGUFWriter(tmp_path / "model.gguf", "llama")
    writer.add_tokenizer_model("llama")
    writer.add_token_list(
        ["<unk>", "\u2581hello", "\u2581", "h", "e", "l", "o", "w", "r", "d", "\u2581world"]
    )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    made = write_tokenizer(tmp_path / "model.gguf", tmp_path / "made")
    tokenizer = Tokenizer.from_file(str(made / "tokenizer.json"))
    encoded = tokenizer.encode("hello world")
    assert encoded.tokens == ["\u2581hello", "\u2581world"]
    assert tokenizer.decode(encoded.ids) == "hello world"
