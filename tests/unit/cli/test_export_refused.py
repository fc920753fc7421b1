"""What ``slipway export`` refuses, or can't bring to its end: what it says, and that nothing is lost."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import socket
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest

from slipway.__main__ import main
from slipway.cli import _export_copy
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

pytestmark = pytest.mark.usefixtures("quick")


def test_wrong_bytes_never_get_the_name(double: Double, export: Export, tmp_path: Path) -> None:
    double.broken["model.gguf"] = MODEL[:-1] + b"x"
    done = export(double)
    assert done.code == 1
    assert hashlib.sha256(MODEL).hexdigest() in done.err
    assert "model.gguf.part is removed" in done.err
    assert list((tmp_path / "out").iterdir()) == []


def test_a_manifest_that_was_not_published(double: Double, export: Export, tmp_path: Path) -> None:
    published = double.digest
    double.pods = [Pod(digest=published)]
    honest = double.artifact()
    double.artifact = lambda: honest  # type: ignore[method-assign]
    double.manifest += b" "
    done = export(double)
    assert done.code == 1
    assert f"published with {published}" in done.err
    assert not (tmp_path / "out").exists()


def test_a_manifest_that_leads_out_of_the_folder(export: Export, tmp_path: Path) -> None:
    with served(Double({"../evil": b"x"})) as double:
        done = export(double, to="files")
    assert done.code == 1
    assert "leads out of the folder" in done.err
    assert not (tmp_path / "evil").exists()


def test_what_the_command_said_is_the_error(double: Double, export: Export) -> None:
    text = b"tail: cannot open '/models/model.gguf' for reading: Input/output error"
    double.faults["model.gguf"] = [Fault(after=0, stderr=text, status=failure(1))]
    done = export(double)
    assert done.code == 1
    assert f"pod qwen-0, container engine: {text.decode()} (exit code 1)" in done.err


def test_no_permission_names_the_verbs(double: Double, export: Export) -> None:
    double.faults["manifest.json"] = [Fault(http=403)]
    done = export(double)
    assert done.code == 1
    assert "verbs get and create on pods/exec in namespace team" in done.err


def test_a_server_that_speaks_another_protocol(export: Export) -> None:
    with served(Double(dict(FILES), protocols=("v1.channel.k8s.io",))) as double:
        done = export(double)
    assert done.code == 1
    assert "speaks none of v5.channel.k8s.io" in done.err


def test_another_file_of_the_name_stays(double: Double, export: Export, tmp_path: Path) -> None:
    mine = tmp_path / "out/Modelfile"
    mine.parent.mkdir()
    mine.write_text("FROM mine")
    done = export(double)
    assert done.code == 1
    assert f"{mine} is there and is another file: nothing was touched" in done.err
    assert mine.read_text() == "FROM mine"
    assert ("model.gguf", 0) not in double.asked
    assert export(double, "--force").code == 0
    assert mine.read_text() != "FROM mine"


def test_one_export_at_a_time_writes_a_part(double: Double, export: Export, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with (tmp_path / "out/model.gguf.part").open("wb") as part:
        fcntl.flock(part, fcntl.LOCK_EX)
        done = export(double)
    assert done.code == 1
    assert "another export writes" in done.err


def test_a_file_where_the_folder_goes(double: Double, export: Export, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    done = export(double)
    assert done.code == 1
    assert "out is a file" in done.err


def test_a_folder_where_a_file_goes(double: Double, export: Export, tmp_path: Path) -> None:
    (tmp_path / "out/model.gguf").mkdir(parents=True)
    done = export(double, "--force")
    assert done.code == 1
    assert "model.gguf is a folder" in done.err


def test_too_small_a_disk_is_refused_up_front(
    double: Double, export: Export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")  # noqa: PYI024 - as shutil's
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(1000, 0, 1000))
    done = export(double)
    assert done.code == 1
    assert "293.3 KiB are still to come, but 1000 B are free" in done.err
    assert not (tmp_path / "out").exists()


def test_a_disk_that_fills_up(double: Double, export: Export, monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(*_: Any) -> bool:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_export_copy, "_fill", full)
    done = export(double)
    assert done.code == 1
    assert "the disk is full: free some space" in done.err


def test_no_such_model_names_the_others(double: Double, export: Export) -> None:
    done = export(double, name="qwne")
    assert done.code == 2
    assert "no ModelDeployment qwne in namespace team: did you mean qwen?" in done.err


def test_no_ready_pod_says_which_condition(double: Double, export: Export) -> None:
    double.pods = [Pod(ready=False, digest=double.digest)]
    double.conditions = [
        {"type": "Ready", "status": "False", "reason": "NotAvailable", "message": "sum"},
        {"type": "Available", "status": "False", "reason": "Starting", "message": "0 of 1 pods are ready"},
    ]
    done = export(double)
    assert done.code == 2
    assert (
        "no engine pod of qwen is ready, and they hold the files: Available is False, Starting: 0 of 1"
        in done.err
    )
    double.spec = {"replicas": 0}
    assert "kubectl scale mdl/qwen --replicas=1" in export(double).err


def test_only_the_served_level(double: Double, export: Export) -> None:
    assert export(double, "--level", "q4_k_m").code == 0
    done = export(double, "--level", "Q8_0")
    assert done.code == 2
    assert "qwen serves Q4_K_M, not Q8_0" in done.err
    assert "spec.optimize.level" in done.err


def test_an_unknown_tool_gets_a_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["export", "qwen", "--to", "olama"])
    assert stop.value.code == 2
    assert "'olama' is no tool; did you mean ollama? Known: ollama, lmstudio" in capsys.readouterr().err


def test_no_kubeconfig(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    absent = str(tmp_path / "absent")
    assert main(["export", "qwen", "--to", "files", "--kubeconfig", absent]) == 2
    assert f"there is no file {absent}; name one by --kubeconfig" in capsys.readouterr().err


def test_a_cluster_that_does_not_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:  # bound and not listening: nobody else answers there
        taken.bind(("127.0.0.1", 0))
        double = Double({}, server=f"http://127.0.0.1:{taken.getsockname()[1]}")
        where = double.kubeconfig(tmp_path)
        assert main(["export", "qwen", "--to", "files", "--kubeconfig", where]) == 2
    assert "connection refused" in capsys.readouterr().err
