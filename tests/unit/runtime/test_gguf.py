"""Convert and quantize, with stand-ins for llama.cpp's programs: what is kept, refused and resumed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from slipway_runtime import files, methods
from slipway_runtime.artifact import find_model
from slipway_runtime.contract import LEVELS, Exit
from slipway_runtime.errors import StageError
from slipway_runtime.llamacpp import architectures, parse_architectures
from slipway_runtime.tool import Outcome

from .conftest import SUPPORTED, Bench, build_repository, write_program


@pytest.fixture
def source(bench: Bench) -> Path:
    """A fetched source artifact as the parent."""
    return build_repository(bench.parent / "published")


@pytest.fixture
def f16(bench: Bench) -> Path:
    """A published f16 artifact as the parent."""
    (bench.parent / "published").mkdir()
    model = bench.parent / "published" / "model.gguf"
    model.write_bytes(b"GGUF f16")
    return model


@pytest.fixture(autouse=True)
def _programs_on_path(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", bench.environment["PATH"])


def work(bench: Bench) -> list[str]:
    return sorted(path.name for path in (bench.store / "work").iterdir())


def refuse(bench: Bench, stage: str, **environment: str) -> StageError:
    with pytest.raises(StageError) as caught:
        methods.run(bench.job(stage, **environment))
    return caught.value


def test_convert_leaves_a_whole_file_and_its_record(bench: Bench, source: Path) -> None:
    result = methods.run(bench.job("convert"))
    assert work(bench) == ["convert.json", "model.gguf"]
    assert result["sizeBytes"] == (bench.store / "work" / "model.gguf").stat().st_size
    assert json.loads((bench.store / "work" / "convert.json").read_text()) == result
    assert find_model(bench.job("evaluate")) == (bench.store / "work" / "model.gguf", result["sha256"])


@pytest.mark.parametrize(("level", "output_type"), [("", "f16"), ("F16", "f16"), ("BF16", "bf16")])
def test_convert_keeps_16_bits(bench: Bench, source: Path, level: str, output_type: str) -> None:
    methods.run(bench.job("convert", SLIPWAY_LEVEL=level))
    assert (bench.store / "work" / "model.gguf").read_bytes().endswith(b"16" + output_type.encode())


def test_a_rerun_starts_no_program(bench: Bench, source: Path) -> None:
    first = methods.run(bench.job("convert"))
    Path(bench.environment["SLIPWAY_CONVERT"]).unlink()
    assert methods.run(bench.job("convert")) == {**first, "resumed": True}


def test_a_record_without_its_bytes_counts_for_nothing(bench: Bench, source: Path) -> None:
    first = methods.run(bench.job("convert"))
    (bench.store / "work" / "model.gguf").write_bytes(b"GGUF damaged")
    assert methods.run(bench.job("convert")) == first


def test_bytes_without_a_record_count_for_nothing(bench: Bench, source: Path) -> None:
    (bench.store / "work").mkdir()
    (bench.store / "work" / "model.gguf").write_bytes(b"GGUF of a try that was killed before its record")
    (bench.store / "work" / ".model.gguf.tmp").write_bytes(b"half")
    with pytest.raises(StageError, match="was not finished"):
        find_model(bench.job("publish"))
    assert "resumed" not in methods.run(bench.job("convert"))
    assert work(bench) == ["convert.json", "model.gguf"]


def test_bytes_without_a_record_make_room_for_the_next_try(
    bench: Bench, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = bench.store / "work" / "model.gguf"
    left.parent.mkdir()
    left.write_bytes(b"x" * 1000)

    def usage(_folder: Path) -> SimpleNamespace:
        return SimpleNamespace(total=1200, free=200 if left.exists() else 1200)

    monkeypatch.setattr(files.shutil, "disk_usage", usage)  # a claim of 1.2 times what is written
    assert "resumed" not in methods.run(bench.job("convert", SLIPWAY_EXPECTED_BYTES="1000"))


@pytest.mark.parametrize(
    ("behaviour", "reason", "code"),
    [
        ("refuse", "ConversionFailed", Exit.DATA),
        ("import", "ToolMissing", Exit.INTERNAL),
        ("disk", "StoreFull", Exit.NO_SPACE),
    ],
)
def test_what_the_converter_says_becomes_a_reason(
    bench: Bench, source: Path, behaviour: str, reason: str, code: Exit
) -> None:
    (source / "behaviour").write_text(behaviour)
    error = refuse(bench, "convert")
    assert (error.reason, error.code) == (reason, code)
    if behaviour == "refuse":
        assert error.message.endswith("NotImplementedError: BPE pre-tokenizer was not recognized")
    assert work(bench) == [], "a half file is not kept"


def test_convert_without_a_fetched_source(bench: Bench) -> None:
    error = refuse(bench, "convert")
    assert (error.reason, error.code) == ("FileNotFound", Exit.NO_INPUT)


def test_quantize_reports_each_tensor(bench: Bench, f16: Path) -> None:
    result = methods.run(bench.job("quantize", SLIPWAY_LEVEL="q4_k_m"))
    assert (bench.store / "work" / "model.gguf").read_bytes() == b"Q4_K_M" * 100
    assert result["sizeBytes"] == 600
    assert '"percent": 100' in bench.out.getvalue()


@pytest.mark.parametrize("level", ["", "Q9_0", "--help"])
def test_an_unknown_level_lists_the_known(bench: Bench, f16: Path, level: str) -> None:
    error = refuse(bench, "quantize", SLIPWAY_LEVEL=level)
    assert (error.reason, error.code) == ("UnknownLevel", Exit.CONFIG)
    assert all(known in error.message for known in LEVELS)


def test_an_unknown_method_lists_the_known(bench: Bench) -> None:
    error = refuse(bench, "convert", SLIPWAY_METHOD="magic")
    assert (error.reason, error.code) == ("UnknownMethod", Exit.CONFIG)
    assert "gguf" in error.message


def test_a_killed_tool_leaves_nothing(bench: Bench, f16: Path) -> None:
    f16.with_name("behaviour").write_text("kill")
    error = refuse(bench, "quantize", SLIPWAY_LEVEL="Q8_0")
    assert (error.reason, error.code) == ("OutOfMemory", Exit.INTERNAL)
    assert work(bench) == []


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 20
    while not (path.exists() and path.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_sigterm_stops_the_tool_and_leaves_nothing(bench: Bench, f16: Path) -> None:
    f16.with_name("behaviour").write_text("wait")
    process = bench.start("quantize", SLIPWAY_LEVEL="Q8_0")
    pid_file = Path(f"{f16}.pid")
    wait_for(pid_file)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    assert process.returncode == 143
    assert bench.result()["reason"] == "Terminated"
    assert work(bench) == []
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_file.read_text()), 0)


def test_kill_9_leaves_no_final_name_and_the_next_try_starts_anew(bench: Bench, f16: Path) -> None:
    f16.with_name("behaviour").write_text("wait")
    process = bench.start("quantize", SLIPWAY_LEVEL="Q8_0")
    pid_file = Path(f"{f16}.pid")
    wait_for(pid_file)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    os.kill(int(pid_file.read_text()), signal.SIGKILL)  # in a container it dies with us
    assert work(bench) == [".model.gguf.tmp"]
    f16.with_name("behaviour").unlink()
    code, result, log = bench.run("quantize", SLIPWAY_LEVEL="Q8_0")
    assert (code, result["ok"]) == (0, True), log
    assert work(bench) == ["model.gguf", "quantize.json"]


def test_crashes_are_ours_and_refusals_are_the_models(bench: Bench) -> None:
    from slipway_runtime.methods.gguf import explain

    job = bench.job("quantize")
    for outcome, reason, code in (
        (Outcome(-11, ("[ 1/ 4]",)), "QuantizationFailed", Exit.INTERNAL),
        (Outcome(1, ("unsupported quantization of a norm",)), "QuantizationFailed", Exit.DATA),
        (Outcome(1, ("terminate called after throwing std::bad_alloc",)), "OutOfMemory", Exit.INTERNAL),
    ):
        error = explain("QuantizationFailed", "llama-quantize", outcome, job)
        assert (error.reason, error.code) == (reason, code)


def test_architectures_come_from_the_list_or_from_the_converter(bench: Bench) -> None:
    wanted = {"LlamaForCausalLM", "Qwen2ForCausalLM"}
    assert architectures(bench.environment) == wanted
    programs = Path(bench.environment["SLIPWAY_CONVERT"]).parent
    (programs / "architectures.txt").unlink()
    write_program(programs / "convert.py", f"import sys\nprint({SUPPORTED!r}, file=sys.stderr)\n")
    assert architectures(bench.environment) == wanted
    (programs / "convert.py").write_text("raise SystemExit(1)")
    with pytest.raises(StageError, match="can't list its models"):
        architectures(bench.environment)


def test_projectors_are_no_language_models() -> None:
    assert parse_architectures(SUPPORTED.splitlines()) == {"LlamaForCausalLM", "Qwen2ForCausalLM"}


def test_the_catalogue_is_light() -> None:
    code = (
        "import sys, slipway_runtime.sources, slipway_runtime.methods; slipway_runtime.methods.methods();"
        "print(sorted(set(sys.modules) & {'numpy', 'gguf', 'huggingface_hub', 'safetensors', 'torch'}))"
    )
    import sys

    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": "runtime"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[]\n"
