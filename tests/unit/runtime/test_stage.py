"""Every end of a stage leaves a result of at most 2048 bytes and the exit code that the operator knows."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from slipway_runtime import contract, stage
from slipway_runtime.__main__ import SUMMARIES, build_parser
from slipway_runtime.errors import StageError

from .conftest import Bench, HubServer


def test_every_stage_has_a_function_and_a_summary() -> None:
    assert set(stage.STAGE_FUNCTIONS) == set(contract.STAGES) == set(SUMMARIES)
    for name in contract.STAGES:
        assert callable(stage._function(name))


def test_help_teaches_and_starts_nothing() -> None:
    text = build_parser().format_help()
    for word in (*contract.STAGES, "SLIPWAY_SOURCE", "termination log", "143"):
        assert word in text


def test_the_command_of_the_image() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "slipway_runtime", "launch"],
        env={"PYTHONPATH": "runtime"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "invalid choice: 'launch'" in done.stderr


def test_success_and_failure_of_a_whole_process(bench: Bench, hub: HubServer) -> None:
    code, result, log = bench.run("inspect", HF_ENDPOINT=hub.url)
    assert (code, result["ok"], result["stage"]) == (0, True, "inspect"), log
    code, result, log = bench.run("inspect", HF_ENDPOINT=hub.url, SLIPWAY_SOURCE="hf://acme/absent")
    assert (code, result["ok"], result["reason"]) == (66, False, "RepositoryNotFound")
    assert set(result) == {"ok", "stage", "reason", "message"}
    records = [json.loads(line) for line in log.splitlines()]
    assert records[-1]["level"] == "ERROR"
    assert "RepositoryNotFound" in records[-1]["message"]


def test_a_bug_is_internal_with_its_traceback_in_the_log(bench: Bench) -> None:
    (bench.folder / "token").mkdir()  # a token that is a folder: nobody expects that
    code, result, log = bench.run("inspect")
    assert (code, result["reason"]) == (70, "InternalError")
    assert "IsADirectoryError" in result["message"]
    assert "Traceback" in json.loads(log.splitlines()[-1])["traceback"]


def test_a_token_is_never_printed(bench: Bench, hub: HubServer) -> None:
    bench.write_token("hf_secret_9")
    code, result, log = bench.run("inspect", HF_ENDPOINT=hub.url, SLIPWAY_SOURCE="hf://acme/hf_secret_9")
    assert code == 77
    assert "hf_secret_9" not in json.dumps(result) + log
    assert "[redacted]" in result["message"]


def test_missing_input_says_which(bench: Bench) -> None:
    code, result, _ = bench.run("inspect", SLIPWAY_SOURCE="")
    assert (code, result["reason"]) == (78, "MissingInput")
    assert "SLIPWAY_SOURCE" in result["message"]


@pytest.mark.parametrize("character", ["x", "\u00e9", "\u6f22", '"', "\n"])
def test_a_long_message_keeps_its_beginning_and_end(tmp_path: Path, character: str) -> None:
    path = tmp_path / "log"
    message = "begin " + character * 5000 + " end"
    stage.write_result(path, stage.failure("fetch", "InternalError", message), ())
    content = path.read_bytes()
    assert len(content) <= contract.RESULT_LIMIT
    kept = json.loads(content)["message"]
    assert kept.startswith("begin ")
    assert kept.endswith(" end")


def test_reasons_are_documented() -> None:
    assert all(text and text[0].islower() for text in contract.REASONS.values())
    with pytest.raises(KeyError):
        StageError("NoSuchReason", "message")


def test_every_reason_is_raised_somewhere() -> None:
    package = Path(stage.__file__).parent
    code = "".join(path.read_text() for path in package.rglob("*.py") if path.name != "contract.py")
    unused = {reason for reason in contract.REASONS if f'"{reason}"' not in code}
    assert unused == set()
