"""The text that methods calibrate on: the image's own, or files of a source."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from slipway_runtime import files
from slipway_runtime.companion_files import select_texts
from slipway_runtime.contract import Exit
from slipway_runtime.errors import StageError
from slipway_runtime.evaluate.perplexity import TEXT
from slipway_runtime.fetch import fetch
from slipway_runtime.inspection import inspect
from slipway_runtime.job import Job
from slipway_runtime.methods._calibration import OWN_TEXT, calibration_files, sample_rows, tokenised
from slipway_runtime.sources import RemoteFile
from tests.unit.runtime.conftest import Bench, HubServer


def encode(text: str) -> list[int]:
    return [ord(one) for one in text]


def quantizing(bench: Bench) -> Job:
    return bench.job("quantize", SLIPWAY_INPUTS=str(bench.folder / "inputs"))


def source(bench: Bench, **contents: str) -> Path:
    folder = bench.folder / "inputs" / "calibration" / "published"
    folder.mkdir(parents=True)
    for name, text in contents.items():
        (folder / name.replace("_", ".")).write_text(text)
    return folder


def test_no_line_is_both_measured_and_calibrated_on() -> None:
    measured, own = (set(path.read_text().splitlines()) for path in (TEXT, OWN_TEXT))
    assert [line for line in measured & own if len(line) > 30] == []


def test_the_image_has_enough_for_the_usual_samples(bench: Bench) -> None:
    paths = calibration_files(quantizing(bench))
    assert paths == [OWN_TEXT]
    rows = sample_rows(paths, 128, 512)
    assert len(rows) == 128
    assert rows == sample_rows(paths, 128, 512)
    assert f"sha256: `{files.sha256_of(OWN_TEXT)}`" in OWN_TEXT.with_name("SOURCE.md").read_text()


def test_rows_come_from_anywhere_in_all_files(bench: Bench) -> None:
    lines = "\n".join(json.dumps({"text": f"a{number}"}) for number in range(100))
    folder = source(bench, b_jsonl=lines, a_txt="plain text", c_csv="no")
    (folder / "more").mkdir()
    (folder / "more" / "d.jsonl").write_text(json.dumps({"messages": [{"role": "user", "content": "hi"}]}))
    paths = calibration_files(quantizing(bench))
    assert [path.name for path in paths] == ["a.txt", "b.jsonl", "d.jsonl"]
    assert len(sample_rows(paths, 1000, 512)) == 102
    few = sample_rows(paths, 10, 512)
    assert len(few) == 10
    assert any(row not in [f"a{number}" for number in range(10)] for row in few)


def test_plain_text_is_cut_into_rows_of_about_a_sample(bench: Bench) -> None:
    source(bench, a_txt="word " * 100)
    rows = sample_rows(calibration_files(quantizing(bench)), 100, 25)
    assert [len(row) for row in rows] == [100] * 5


def test_samples_are_cut_and_conversations_go_through_the_template() -> None:
    messages = [{"role": "user", "content": "hi"}]
    samples = tokenised(["abcdef", messages], encode, lambda row: f"<{len(row)}>", 4)
    assert samples == [encode("abcd"), encode("<1>")]


@pytest.mark.parametrize(
    ("contents", "reason", "words"),
    [
        ({"a_csv": "text"}, "CalibrationEmpty", "holds no .txt, .jsonl, .parquet"),
        ({"a_txt": " \n"}, "CalibrationEmpty", "at least one row"),
        ({"a_jsonl": '{"text": ""}\n\n'}, "CalibrationEmpty", "at least one row"),
        ({"a_jsonl": "{text}"}, "CalibrationUnreadable", "a.jsonl"),
        ({"a_jsonl": '{"prompt": "x"}'}, "CalibrationUnreadable", "KeyError"),
        ({"a_jsonl": '{"text": 3}'}, "CalibrationUnreadable", "TypeError"),
        ({"a_jsonl": "[1]"}, "CalibrationUnreadable", "a.jsonl"),
    ],
)
def test_a_source_without_text_is_refused(
    bench: Bench, contents: dict[str, str], reason: str, words: str
) -> None:
    source(bench, **contents)
    with pytest.raises(StageError) as caught:
        tokenised(sample_rows(calibration_files(quantizing(bench)), 4, 64), encode, str, 64)
    assert (caught.value.reason, caught.value.code) == (reason, Exit.DATA)
    assert words in caught.value.message


def test_bytes_that_are_no_text_are_refused(bench: Bench) -> None:
    (source(bench) / "a.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(StageError, match="UnicodeDecodeError"):
        sample_rows(calibration_files(quantizing(bench)), 4, 64)


def repository(hub: HubServer, name: str, **contents: str) -> Path:
    folder = hub.root / "acme" / name
    (folder / "train").mkdir(parents=True)
    for path, text in contents.items():
        (folder / path.replace("__", "/").replace("_", ".")).write_text(text)
    return folder


@pytest.mark.parametrize(
    ("uri", "asked"),
    [
        ("hf://acme/texts", "GET /api/models/acme/texts/revision/main"),
        ("hf://datasets/acme/texts", "GET /api/datasets/acme/texts/revision/main"),
    ],
)
def test_texts_of_a_source_are_inspected_and_fetched(
    bench: Bench, hub: HubServer, uri: str, asked: str
) -> None:
    repository(hub, "texts", train__a_jsonl='{"text": "a"}', b_txt="b", LICENSE_txt="c", d_csv="d")
    source = {"HF_ENDPOINT": hub.url, "SLIPWAY_SOURCE": uri, "SLIPWAY_ROLE": "calibration"}
    found = inspect(bench.job("inspect", **source))
    assert hub.hub.requests[asked] == 1
    assert (found["files"], found["facts"]["downloadBytes"], found["facts"]["weightBytes"]) == (2, 14, 0)
    fetch(bench.job("fetch", **source, SLIPWAY_REVISION=found["commit"]))
    published = bench.store / "published"
    assert sorted(path.name for path in published.rglob("*") if path.is_file()) == [
        "a.jsonl", "b.txt", "manifest.json"
    ]  # fmt: skip


@pytest.mark.parametrize(
    "contents", [{"a_csv": "x"}, {"a_txt": "x", "config_json": "{}"}, {"LICENSE_txt": "x"}]
)
def test_a_source_that_is_no_text_is_refused(bench: Bench, hub: HubServer, contents: dict[str, str]) -> None:
    repository(hub, "texts", **contents)
    source = {"HF_ENDPOINT": hub.url, "SLIPWAY_SOURCE": "hf://acme/texts", "SLIPWAY_ROLE": "calibration"}
    with pytest.raises(StageError, match="name one with texts alone") as caught:
        inspect(bench.job("inspect", **source))
    assert caught.value.reason == "CalibrationEmpty"


def test_of_large_sources_the_first_gigabyte_is_enough() -> None:
    files_of = [RemoteFile(f"{number}.parquet", 400_000_000) for number in (3, 1, 2)]
    assert [file.path for file in select_texts(files_of)] == ["1.parquet", "2.parquet"]
    assert len(select_texts([RemoteFile("all.jsonl", 5_000_000_000)])) == 1
