"""``slipway plan --model DIR`` with a folder of GGUF files; what an export makes of a model in parts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from slipway.__main__ import main
from slipway.api.modeldeployment import ModelDeploymentSpec
from slipway.api.validate import problems
from slipway.local.package import build_package
from slipway.local.served import Served
from tests.support.gguf_models import LLAMA_7B, write_gguf

NODES = str(Path(__file__).resolve().parents[2] / "golden/nodes/mixed.json")
OBJECT = """\
apiVersion: slipway.dev/v1alpha1
kind: ModelDeployment
metadata: {name: m}
spec: {model: {source: hf://acme/llama-7b-GGUF}, optimize: {OPTIMIZE}}
"""
PARTS = ["model-00001-of-00002.gguf", "model-00002-of-00002.gguf"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    home = tmp_path / "llama-7b-GGUF"
    for level in ("Q2_K", "Q4_K_M", "Q8_0"):
        write_gguf(home / level / f"llama-7b-{level}.gguf", level, LLAMA_7B)
    return home


def planned(folder: Path, optimize: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    file = folder.parent / "m.yaml"
    file.write_text(OBJECT.replace("OPTIMIZE", optimize))
    code = main(["plan", str(file), "--model", str(folder), "--nodes", NODES, "-o", "json"])
    done = capsys.readouterr()
    return code, done.out, done.err


def test_a_folder_of_levels_is_planned_offline(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = planned(folder, "goal: quality", capsys)
    plan = json.loads(out)
    assert (code, plan["level"], plan["engine"]) == (0, "Q8_0", "llamacpp")
    assert plan["memory"]["weights"] == (folder / "Q8_0/llama-7b-Q8_0.gguf").stat().st_size
    code, out, _ = planned(folder, "level: Q2_K", capsys)
    assert json.loads(out)["level"] == "Q2_K"
    code, out, err = planned(folder, "level: Q6_K", capsys)
    assert (code, out) == (1, "")
    assert "has none of level Q6_K; it has Q2_K" in err


def test_a_damaged_file_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "Q4_K_M/llama-7b-Q4_K_M.gguf").write_bytes(b"GGUF" + b"\xff" * 99)
    code, _, err = planned(folder, "", capsys)
    assert code == 2
    assert "Q4_K_M/llama-7b-Q4_K_M.gguf" in err


@pytest.mark.parametrize(
    ("source", "level", "refused"),
    [
        ("hf://acme/m-GGUF", "UD-Q4_K_XL", False),
        ("hf://acme/m-gguf", "IQ2_XXS", False),
        ("ollama://qwen:7b", "Q4_K_L", False),
        ("hf://acme/m", "UD-Q4_K_XL", True),
    ],
)
def test_levels_of_files_are_known_once_they_are_inspected(source: str, level: str, *, refused: bool) -> None:
    obj = {
        "apiVersion": "slipway.dev/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": "m"},
        "spec": {"model": {"source": source}, "optimize": {"level": level}},
    }
    reasons = [one.reason for one in problems(obj)]
    assert ("UnknownLevel" in reasons) is refused


def served() -> Served:
    spec = ModelDeploymentSpec.model_validate({"model": {"source": "hf://acme/m-GGUF"}})
    return Served("m", "team", "Q8_0", "sha256:ab", 4096, spec, "{{ x }}")


@pytest.mark.parametrize("tool", ["ollama", "lmstudio", "llamacpp", "files"])
def test_all_parts_are_exported_and_the_first_is_named(tool: str) -> None:
    paths = ["chat_template.jinja", *PARTS]
    package = build_package(tool, served(), paths, b"{}")
    assert set(PARTS) <= set(package.copies)
    said = " ".join([*package.commands, *package.notes, *(text.content.decode() for text in package.texts)])
    if tool == "lmstudio":
        assert list(package.copies.values()) == [
            "team/m/m-Q8_0-00001-of-00002.gguf",
            "team/m/m-Q8_0-00002-of-00002.gguf",
        ]
    elif tool == "ollama":
        assert package.commands[0] == "llama-gguf-split --merge model-00001-of-00002.gguf model.gguf"
        assert "FROM ./model.gguf" in said
        assert "Ollama takes one file" in said
    else:
        assert "model-00001-of-00002.gguf" in said
