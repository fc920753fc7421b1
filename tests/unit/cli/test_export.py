"""``slipway export`` against a cluster's double: what is copied, continued, refused, and said."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from slipway.__main__ import main
from slipway.cli import _export_cluster
from tests.support.export_double import (
    FILES,
    MODEL,
    Double,
    Export,
    Fault,
    Pod,
    failure,
    served,
)

ROOT = Path(__file__).resolve().parents[3]
PATHS = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "operator"), str(ROOT / "runtime")])}

pytestmark = pytest.mark.usefixtures("quick")


def test_ollama_gets_the_model_and_a_modelfile(double: Double, export: Export, tmp_path: Path) -> None:
    done = export(double)
    assert done.code == 0, done.err
    out = tmp_path / "out"
    assert {path.name for path in out.iterdir()} == {"model.gguf", "Modelfile"}
    assert (out / "model.gguf").read_bytes() == MODEL
    assert (out / "Modelfile").read_text().splitlines()[1:3] == [
        "FROM ./model.gguf",
        "PARAMETER num_ctx 4096",
    ]
    assert "ollama create qwen -f Modelfile" in done.out
    assert "model.gguf: 100% (293.0 KiB of 293.0 KiB)" in done.err


def test_files_are_the_folder_as_published(double: Double, export: Export, tmp_path: Path) -> None:
    assert export(double, to="files").code == 0
    out = tmp_path / "out"
    assert {path.name: path.read_bytes() for path in out.iterdir()} == {
        **FILES,
        "manifest.json": double.manifest,
    }


@pytest.mark.parametrize(("method", "level"), [("awq", "W4A16"), ("merge", "MERGED"), ("prune", "SPARSE")])
def test_what_a_method_leaves_says_who_reads_it(
    export: Export, tmp_path: Path, method: str, level: str
) -> None:
    files = {"config.json": b"{}", "model.safetensors": MODEL}
    with served(Double(files, method=method, level=level)) as double:
        refused = export(double, to="ollama")
        assert refused.code == 2
        assert "is served from safetensors, which ollama does not read" in refused.err
        assert export(double, to="files").code == 0
    assert (tmp_path / "out/model.safetensors").read_bytes() == MODEL


def test_a_source_that_came_as_gguf_is_one(export: Export, tmp_path: Path) -> None:
    with served(Double(dict(FILES), method="source")) as double:
        assert export(double, to="ollama").code == 0
    assert (tmp_path / "out/model.gguf").read_bytes() == MODEL


def test_safetensors_go_nowhere_but_to_files(export: Export, tmp_path: Path) -> None:
    files = {"config.json": b"{}", "model-00001.safetensors": MODEL, "original/params.json": b"{}"}
    with served(Double(files, method="source", level=None)) as double:
        refused = export(double)
        assert refused.code == 2
        assert "spec.optimize.method to gguf" in refused.err
        assert "--to files" in refused.err
        assert export(double, to="files").code == 0
    assert (tmp_path / "out/original/params.json").read_bytes() == b"{}"


def test_lmstudio_s_own_folder_when_it_exists(
    double: Double, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    own = tmp_path / "home/.lmstudio/models"
    own.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert main(["export", "qwen", "--to", "lmstudio", "--kubeconfig", double.kubeconfig(tmp_path)]) == 0
    assert (own / "team/qwen/qwen-Q4_K_M.gguf").read_bytes() == MODEL
    assert "team/qwen" in capsys.readouterr().out


def test_llamacpp_s_script_runs_the_server(double: Double, export: Export, tmp_path: Path) -> None:
    assert export(double, to="llamacpp").code == 0
    fake = tmp_path / "bin/llama-server"
    fake.parent.mkdir()
    fake.write_text('#!/bin/sh\npwd; printf "%s\\n" "$@"\n')
    fake.chmod(0o755)
    env = {**os.environ, "PATH": f"{fake.parent}:{os.environ['PATH']}"}
    script = [str(tmp_path / "out/run.sh"), "--port", "9"]
    said = subprocess.run(script, env=env, capture_output=True, text=True, check=True).stdout.split()
    assert said[0] == str(tmp_path / "out")
    assert said[1:5] == ["--model", "./model.gguf", "--ctx-size", "4096"]
    assert said[-2:] == ["--port", "9"]


def test_json_says_what_is_where(double: Double, export: Export, tmp_path: Path) -> None:
    report = json.loads(export(double, "-o", "json").out)
    assert report["digest"] == double.digest
    assert report["files"][0] == {
        "path": str(tmp_path / "out/model.gguf"),
        "bytes": len(MODEL),
        "state": "copied",
        "sha256": hashlib.sha256(MODEL).hexdigest(),
    }
    again = json.loads(export(double, "-o", "json").out)
    assert [one["state"] for one in again["files"]] == ["kept", "kept"]


def test_a_dry_run_shows_everything_and_writes_nothing(
    double: Double, export: Export, tmp_path: Path
) -> None:
    done = export(double, "--dry-run")
    assert done.code == 0
    assert "to copy" in done.out
    assert "FROM ./model.gguf" in done.out
    assert not (tmp_path / "out").exists()
    assert ("model.gguf", 0) not in double.asked


def test_a_cut_stream_goes_on_where_it_was(double: Double, export: Export, tmp_path: Path) -> None:
    double.faults["model.gguf"] = [
        Fault(after=100_000),
        Fault(after=50_000, status=failure(137)),
        Fault(http=500),
    ]
    done = export(double)
    assert done.code == 0, done.err
    assert (tmp_path / "out/model.gguf").read_bytes() == MODEL
    offsets = [offset for path, offset in double.asked if path == "model.gguf"]
    assert len(offsets) == 4
    assert offsets[0] == 0
    assert 0 < offsets[1] <= 100_000  # what was under way when the connection was reset may be lost
    assert offsets[2] == offsets[3] == offsets[1] + 50_000
    assert "going on at" in done.err


def test_a_stream_that_ends_too_early_goes_on(double: Double, export: Export, tmp_path: Path) -> None:
    double.faults["model.gguf"] = [Fault(after=100_000, status={"status": "Success"})]
    assert export(double).code == 0
    assert (tmp_path / "out/model.gguf").read_bytes() == MODEL


def test_a_stream_that_falls_silent_goes_on(
    double: Double, export: Export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_export_cluster, "SILENCE_SECONDS", 0.2)
    double.faults["model.gguf"] = [Fault(after=100_000, stall=5.0)]
    begun = time.monotonic()
    done = export(double)
    assert done.code == 0
    assert "sent nothing for 0.2 s" in done.err
    assert time.monotonic() - begun < 4
    assert (tmp_path / "out/model.gguf").read_bytes() == MODEL


def test_another_pod_takes_over(double: Double, export: Export, tmp_path: Path) -> None:
    double.faults["model.gguf"] = [Fault(after=100_000)]
    double.pods = [
        Pod("other", digest="sha256:other"),
        Pod("starts", ready=False, digest=double.digest),
        Pod(digest=double.digest),
    ]
    assert export(double).code == 0
    assert (tmp_path / "out/model.gguf").read_bytes() == MODEL


def test_the_next_command_goes_on_where_the_last_gave_up(
    double: Double, export: Export, tmp_path: Path
) -> None:
    double.faults["model.gguf"] = [Fault(after=100_000, status={}), *[Fault(http=503)] * 5]
    done = export(double)
    assert done.code == 1
    part = tmp_path / "out/model.gguf.part"
    assert part.read_bytes() == MODEL[:100_000]
    assert f"{part} keeps 97.7 KiB, the same command goes on from there" in done.err
    assert not (tmp_path / "out/model.gguf").exists()
    assert not (tmp_path / "out/Modelfile").exists()
    double.asked.clear()
    again = export(double)
    assert again.code == 0
    assert ("model.gguf", 100_000) in double.asked
    assert "97.7 KiB are there" in again.err
    assert not part.exists()


@pytest.mark.parametrize("left", [b"of another artifact", MODEL + b"longer"])
def test_a_part_of_something_else_is_copied_anew(
    left: bytes, double: Double, export: Export, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/model.gguf.part").write_bytes(left)
    assert export(double).code == 0
    assert (tmp_path / "out/model.gguf").read_bytes() == MODEL


def test_an_older_server_speaks_v4(export: Export) -> None:
    with served(Double(dict(FILES), protocols=("v4.channel.k8s.io",))) as double:
        assert export(double).code == 0


def test_the_same_file_is_kept(double: Double, export: Export, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/model.gguf").write_bytes(MODEL)
    (tmp_path / "out/notes.txt").write_text("mine")
    done = export(double)
    assert done.code == 0
    assert "kept" in done.out
    assert ("model.gguf", 0) not in double.asked
    assert (tmp_path / "out/notes.txt").read_text() == "mine"


def test_ctrl_c_keeps_what_came(double: Double, tmp_path: Path) -> None:
    double.faults["model.gguf"] = [Fault(after=100_000, stall=20.0)]
    out = tmp_path / "out"
    # Where the tests run in a shell's background, SIGINT is ignored, and so it is by their children.
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from slipway.__main__ import main; sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, "export", "qwen", "--to", "ollama", "--out", str(out)]
    command += ["--kubeconfig", double.kubeconfig(tmp_path)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=PATHS) as process:
        part, deadline = out / "model.gguf.part", time.monotonic() + 30
        while not (part.exists() and part.stat().st_size) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=10)
    assert process.returncode == 130
    assert "stopped: " in said
    assert "the same command goes on from there" in said
    assert "Traceback" not in said
    assert MODEL.startswith(part.read_bytes())


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    # Not getrusage: its ru_maxrss begins with what the parent had, that is, the double's file.
    code = (
        "import sys; from slipway.__main__ import main; code = main(sys.argv[1:]); "
        "status = open('/proc/self/status').read(); "
        "print(code, status.partition('VmHWM:')[2].split()[0])"
    )
    peaks = []
    for size in (1 << 20, 96 << 20):
        with served(Double({"model.gguf": bytes(size)})) as double:
            out = tmp_path / str(size)
            args = ["export", "qwen", "--to", "files", "-o", "json", "--out", str(out)]
            command = [sys.executable, "-c", code, *args, "--kubeconfig", double.kubeconfig(tmp_path)]
            done = subprocess.run(command, capture_output=True, text=True, check=True, env=PATHS)
        exit_code, peak = done.stdout.split()[-2:]
        assert (exit_code, (out / "model.gguf").stat().st_size) == ("0", size)
        peaks.append(int(peak) << 10)
    assert peaks[1] - peaks[0] < 50 << 20
