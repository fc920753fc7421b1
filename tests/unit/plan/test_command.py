"""``slipway plan`` and ``slipway render`` with what users give them."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
import yaml

from slipway.__main__ import main

GOLDEN = Path(__file__).resolve().parents[2] / "golden"
FILE = str(GOLDEN / "render/input/smallest.yaml")
MODEL = str(GOLDEN / "models/smollm2")
NODES = str(GOLDEN / "nodes/small.json")
MODEL_TEXT = """\
apiVersion: slipway.dev/v1alpha1
kind: ModelDeployment
metadata: {name: NAME}
spec: {model: {source: hf://acme/model}, EXTRA}
"""


def write(folder: Path, *texts: str) -> str:
    path = folder / "models.yaml"
    path.write_text("---\n".join(texts))
    return str(path)


def test_plan_without_nodes_says_what_it_assumes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", FILE, "--model", MODEL]) == 0
    printed = capsys.readouterr()
    assert "Q4_K_M" in printed.out
    assert "no --nodes" in printed.err


def test_plan_needs_the_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", FILE]) == 2
    assert "--model DIR is needed" in capsys.readouterr().err


def test_several_objects_are_a_list(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(
        tmp_path, *(MODEL_TEXT.replace("NAME", name).replace(", EXTRA", "") for name in ("one", "two"))
    )
    assert main(["plan", file, "--model", MODEL, "--nodes", NODES, "-o", "json"]) == 0
    assert [plan["level"] for plan in json.loads(capsys.readouterr().out)] == ["Q4_K_M", "Q4_K_M"]
    assert main(["plan", file, "--model", MODEL, "--nodes", NODES]) == 0
    assert "model       two" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ("optimize: {level: Q9_Z}", "Q9_Z"),
        ("engine: {name: vlm}", "did you mean vllm"),
        ("engine: {args: {ctx-size: '1'}}", "spec.engine.contextLength"),
        ("engine: {contextLength: 9000}", "limit of 8192"),
        ("engine: {resources: {memory: 900Gi}}", "900.0 GiB"),
    ],
)
def test_what_cannot_be_planned_is_said(
    extra: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(tmp_path, MODEL_TEXT.replace("NAME", "one").replace("EXTRA", extra))
    assert main(["plan", file, "--model", MODEL, "--nodes", NODES]) == 1
    assert words in capsys.readouterr().err


def test_wrong_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    no_yaml = tmp_path / "no.yaml"
    no_yaml.write_text("a: [")
    for argv in (
        ["plan", str(no_yaml), "--model", MODEL],
        ["plan", NODES, "--model", MODEL],
        ["plan", FILE, "--model", str(tmp_path)],
        ["plan", FILE, "--model", MODEL, "--nodes", FILE],
        ["plan", FILE, "--model", MODEL, "--nodes", str(no_yaml)],
        ["render", FILE, "--model", MODEL, "--commit", "main"],
    ):
        assert main(argv) == 2
        assert f"slipway {argv[0]}: " in capsys.readouterr().err


def test_parameters_from_headers_index_and_option(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.json").write_text((GOLDEN / "models/llama-7b/config.json").read_text())
    argv = ["plan", FILE, "--model", str(tmp_path), "--nodes", NODES, "-o", "json"]

    def weights(*more: str) -> int:
        assert main([*argv, *more]) == 0
        return int(json.loads(capsys.readouterr().out)["memory"]["weights"])

    counted = weights()
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {"total_parameters": 1_000_000_000}, "weight_map": {}}))
    assert weights() < counted / 5
    header = json.dumps(
        {"w": {"dtype": "F16", "shape": [2_000_000_000], "data_offsets": [0, 4_000_000_000]}}
    ).encode()
    file = tmp_path / "model.safetensors"
    with file.open("wb") as out:
        out.write(struct.pack("<Q", len(header)) + header)
        out.truncate(8 + len(header) + 4_000_000_000)
    assert counted / 5 < weights() < counted / 2
    assert weights("--parameters", "6738415616") == pytest.approx(counted, rel=0.01)
    file.write_bytes(struct.pack("<Q", len(header)) + header)
    assert main(argv) == 2
    assert "model.safetensors" in capsys.readouterr().err


def test_render_without_facts_prints_what_comes_first(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["render", FILE, "-n", "team"]) == 0
    printed = capsys.readouterr()
    found = list(yaml.safe_load_all(printed.out))
    assert [one["kind"] for one in found] == ["NetworkPolicy", "Job"]
    assert {one["metadata"]["namespace"] for one in found} == {"team"}
    assert "no --model" in printed.err


def test_render_says_what_it_cannot_know(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["render", FILE, "--model", MODEL, "--nodes", NODES]) == 0
    printed = capsys.readouterr()
    assert "the commit is unknown" in printed.err
    assert "digest is unknown" in printed.err
    names = [(one["kind"], one["metadata"]["name"]) for one in yaml.safe_load_all(printed.out)]
    assert len(set(names)) == len(names)
    assert "ownerReferences" not in printed.out
