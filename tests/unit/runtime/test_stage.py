"""Every end of a stage leaves a result of at most 2048 bytes and the exit code that the operator knows."""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from slipway_runtime import contract, log, stage
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
    code, result, said = bench.run("inspect", HF_ENDPOINT=hub.url)
    assert (code, result["ok"], result["stage"]) == (0, True, "inspect"), said
    code, result, said = bench.run("inspect", HF_ENDPOINT=hub.url, SLIPWAY_SOURCE="hf://acme/absent")
    assert (code, result["ok"], result["reason"]) == (66, False, "RepositoryNotFound")
    assert set(result) == {"ok", "stage", "reason", "message"}
    records = [json.loads(line) for line in said.splitlines()]
    assert records[-1]["level"] == "ERROR"
    assert "RepositoryNotFound" in records[-1]["message"]


def test_a_bug_is_internal_with_its_traceback_in_the_log(bench: Bench) -> None:
    (bench.folder / "token").mkdir()  # a token that is a folder: nobody expects that
    code, result, said = bench.run("inspect")
    assert (code, result["reason"]) == (70, "InternalError")
    assert "IsADirectoryError" in result["message"]
    assert "Traceback" in json.loads(said.splitlines()[-1])["traceback"]


def test_a_token_is_never_printed(bench: Bench, hub: HubServer) -> None:
    bench.write_token("hf_secret_9")
    code, result, said = bench.run("inspect", HF_ENDPOINT=hub.url, SLIPWAY_SOURCE="hf://acme/hf_secret_9")
    assert code == 77
    assert "hf_secret_9" not in json.dumps(result) + said
    assert "[redacted]" in result["message"]


def test_missing_input_says_which(bench: Bench) -> None:
    code, result, _ = bench.run("inspect", SLIPWAY_SOURCE="")
    assert (code, result["reason"]) == (78, "MissingInput")
    assert "SLIPWAY_SOURCE" in result["message"]


@pytest.mark.parametrize("character", ["x", "\u00e9", "\u6f22", '"', "\n"])
def test_a_long_message_keeps_its_beginning_and_end(tmp_path: Path, character: str) -> None:
    path = tmp_path / "log"
    message = "begin " + character * 5000 + " end"
    stage.write_result(path, stage.failure("fetch", "InternalError", message))
    content = path.read_bytes()
    assert len(content) <= contract.RESULT_LIMIT
    kept = json.loads(content)["message"]
    assert kept.startswith("begin ")
    assert kept.endswith(" end")


FOUND = {
    "commit": "a" * 39 + "4",
    "facts": {"abcd": 1234, "layers": [12341234], "license": "x-abcd", "push": True},
    "image": f"r.example/x@sha256:{'abcd' * 16}",
}


def run_with(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, found: dict[str, Any], **environment: str
) -> tuple[int, dict[str, Any]]:
    """Run a stage in this process that finds what is given."""
    monkeypatch.setattr(stage, "_function", lambda _name: lambda _job: found)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    path = bench.folder / "result"
    given = {**bench.environment, "SLIPWAY_TERMINATION_LOG": str(path), **environment}
    code = stage.run_stage("inspect", given)
    return code, json.loads(path.read_text())


@pytest.mark.parametrize("secret", ["1", "ab", "1234", "abcd", "inspect", "a" * 12])
def test_a_short_secret_breaks_no_figure_no_key_and_no_digest(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, secret: str
) -> None:
    (bench.folder / "password").write_text(secret)
    code, result = run_with(bench, monkeypatch, FOUND)
    words = {"license": "x-abcd".replace(secret, "[redacted]") if len(secret) >= log.SHORTEST else "x-abcd"}
    assert (code, result) == (0, {"ok": True, "stage": "inspect", **FOUND, "facts": FOUND["facts"] | words})


@pytest.mark.parametrize("secret", ['pa"ss\\word', "p\u00e4ss w\u00f6rd", "7" * 40, "b" * 64])
@pytest.mark.parametrize("form", [str, repr, json.dumps, quote])
def test_a_secret_is_found_in_whatever_quotes_it(secret: str, form: Callable[[str], str]) -> None:
    assert form(secret).strip("\"'") not in log.redact(f"begin {form(secret)} end", (secret,))
    line = logging.LogRecord("x", logging.INFO, "", 1, form(secret), None, None)
    assert (
        json.loads(log.JsonFormatter("fetch", (secret,)).format(line))["message"].strip("\"'") == "[redacted]"
    )


def test_a_result_that_is_too_long_says_so(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    code, result = run_with(bench, monkeypatch, {"commit": "c", "facts": {"a": 1, "base": "x" * 3000}})
    assert (code, result["ok"], result["reason"]) == (contract.Exit.INTERNAL, False, "InternalError")
    assert "base is too long" in result["message"]


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        (
            "https://bob:hunter2@h.example/m.gguf?X-Signature=s#sha256=a",
            "https://h.example/m.gguf?…#sha256=a",
        ),
        ("https://bob:hun/ter2@h.example/m.gguf", "https://h.example/m.gguf"),
        ("oci://bob@r.example/m:v1", "oci://r.example/m:v1"),
        ("r.example/m:v1@sha256:aa", "r.example/m:v1@sha256:aa"),
        ("pvc://claim/a@b", "pvc://claim/a@b"),
        ("", ""),
    ],
)
def test_an_address_is_shown_without_password_and_signature(address: str, shown: str) -> None:
    assert log.plain(address) == shown


@pytest.mark.parametrize("scheme", ["https", "oci", "ollama", "s3", "hf", "modelscope", "pvc", "ftp"])
def test_no_refusal_and_no_log_shows_them(bench: Bench, scheme: str) -> None:
    source = f"{scheme}://bob:hun/ter2@h.invalid/a/m.gguf?X-Signature=SIGNED#"
    code, result, said = bench.run("inspect", SLIPWAY_SOURCE=source)
    assert code != 0
    assert not [word for word in ("hun", "ter2", "SIGNED") if word in json.dumps(result) + said]


def test_reasons_are_documented() -> None:
    assert all(text and text[0].islower() for text in contract.REASONS.values())
    with pytest.raises(KeyError):
        StageError("NoSuchReason", "message")


def test_every_reason_is_raised_somewhere() -> None:
    package = Path(stage.__file__).parent
    code = "".join(path.read_text() for path in package.rglob("*.py") if path.name != "contract.py")
    unused = {reason for reason in contract.REASONS if f'"{reason}"' not in code}
    assert unused == set()
