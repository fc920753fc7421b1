"""``slipway plan`` and ``slipway render`` with drafts, heads and adapters in folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from hack.hub.adapter import lora_adapter
from hack.hub.model import SMOLLM2
from slipway.__main__ import main

GOLDEN = Path(__file__).resolve().parents[2] / "golden"
MODEL = str(GOLDEN / "models/smollm2")
NODES = str(GOLDEN / "nodes/small.json")
DRAFT = {"source": "hf://acme/draft"}


def written(folder: Path, adapters: tuple[str, ...] = (), **engine: Any) -> str:
    beside = [{"name": name, "source": f"hf://acme/{name}", "mode": "serve"} for name in adapters]
    model = {"source": "hf://acme/model"} | ({"adapters": beside} if beside else {})
    spec = {"model": model, "engine": engine}
    obj = {"apiVersion": "slipway.dev/v1alpha1", "kind": "ModelDeployment", "spec": spec}
    file = folder / "model.yaml"
    file.write_text(yaml.safe_dump(obj | {"metadata": {"name": "chat"}}))
    return str(file)


def plan(*args: str) -> int:
    return main(["plan", *args, "--model", MODEL, "--nodes", NODES])


def test_a_draft_is_planned_with(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path, speculative={"draft": DRAFT})
    assert plan(file, "--draft", MODEL) == 0
    assert ", companions " in capsys.readouterr().out
    assert plan(file, "--draft", MODEL, "-o", "json") == 0
    assert json.loads(capsys.readouterr().out)["memory"]["companions"] > 0


def test_what_is_missing_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert plan(written(tmp_path, speculative={"draft": DRAFT})) == 1
    err = capsys.readouterr().err
    assert "spec.engine.speculative.draft" in err
    assert "--draft DIR" in err
    file = written(tmp_path, ("sql",), name="vllm")
    assert plan(file, "--adapter", "other=.") == 1
    assert "--adapter sql=DIR" in capsys.readouterr().err
    assert main(["render", file, "--model", MODEL, "--nodes", NODES]) == 1
    assert "--adapter sql=DIR" in capsys.readouterr().err


def test_a_draft_of_another_vocabulary_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path, speculative={"draft": DRAFT})
    assert plan(file, "--draft", str(GOLDEN / "models/llama-7b")) == 1
    err = capsys.readouterr().err
    assert "another vocabulary: 32000 tokens" in err
    assert "49152" in err


def test_tokens_of_the_folders_are_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = [tmp_path / name for name in ("base", "draft")]
    for index, folder in enumerate(folders):
        folder.mkdir()
        (folder / "config.json").write_text((Path(MODEL) / "config.json").read_text())
        (folder / "tokenizer.json").write_text(json.dumps({"model": {"vocab": {"a": index}}}))
    file = written(tmp_path, speculative={"draft": DRAFT})
    argv = ["plan", file, "--model", str(folders[0]), "--nodes", NODES, "--draft", str(folders[1])]
    assert main(argv) == 1
    assert "their hashes are" in capsys.readouterr().err


def test_adapters_are_rendered_with_their_inspections(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = lora_adapter(tmp_path / "sql", SMOLLM2, "acme/model")
    file = written(tmp_path, ("sql",), name="vllm")
    assert main(["render", file, "--model", MODEL, "--nodes", NODES, "--adapter", f"sql={folder}"]) == 0
    objects = list(yaml.safe_load_all(capsys.readouterr().out))
    stages = [one["metadata"]["labels"]["slipway.dev/stage"] for one in objects if one["kind"] == "Job"]
    assert stages == ["inspect", "inspect", "fetch", "fetch", "benchmark"]
    (deployment,) = [one for one in objects if one["kind"] == "Deployment"]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert "sql=/companions/adapter-sql" in container["args"]
    (job,) = [one for one in objects if "sql-source" in one["metadata"]["name"] and one["kind"] == "Job"]
    volumes = {one["name"]: one for one in job["spec"]["template"]["spec"]["volumes"]}
    # It lies where the model lies: one node must mount both.
    assert volumes["parent"]["persistentVolumeClaim"]["claimName"].startswith("model-source-")


def test_heads_are_planned_with(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    heads = tmp_path / "heads"
    heads.mkdir()
    config = {"model_type": "medusa", "num_heads": 2, "hidden_size": 576, "vocab_size": 49152}
    (heads / "config.json").write_text(json.dumps(config))
    file = written(tmp_path, name="vllm", speculative={"method": "medusa", "draft": DRAFT})
    assert plan(file, "--draft", str(heads)) == 1
    assert "2 heads" in capsys.readouterr().err
    file = written(tmp_path, name="vllm", speculative={"method": "medusa", "draft": DRAFT, "tokens": 2})
    assert plan(file, "--draft", str(heads)) == 0


@pytest.mark.parametrize("given", ["sql", "=x", "sql="])
def test_an_adapter_without_a_name_or_a_folder_is_a_usage_error(tmp_path: Path, given: str) -> None:
    with pytest.raises(SystemExit) as caught:
        plan(written(tmp_path, ("sql",), name="vllm"), "--adapter", given)
    assert caught.value.code == 2


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({}, "holds no adapter_config.json"),
        ({"adapter_config.json": "{"}, "is no JSON"),
        ({"adapter_config.json": '{"peft_type": "LORA", "r": 8}'}, "holds no adapter_model.safetensors"),
        (
            {"adapter_config.json": '{"peft_type": "IA3"}', "adapter_model.safetensors": "x" * 9},
            "adapter_model.safetensors",
        ),
    ],
)
def test_a_folder_that_holds_no_adapter(
    tmp_path: Path, content: dict[str, str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "sql"
    folder.mkdir()
    for name, text in content.items():
        (folder / name).write_text(text)
    file = written(tmp_path, ("sql",), name="vllm")
    assert plan(file, "--adapter", f"sql={folder}") == 2
    assert words in capsys.readouterr().err


def test_a_calibration_text_is_rendered_as_an_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    optimize = {"method": "awq", "calibration": {"source": "hf://acme/texts"}}
    spec = {"model": {"source": "hf://acme/model"}, "optimize": optimize}
    obj = {"apiVersion": "slipway.dev/v1alpha1", "kind": "ModelDeployment", "metadata": {"name": "chat"}}
    file = tmp_path / "model.yaml"
    file.write_text(yaml.safe_dump(obj | {"spec": spec}))
    assert plan(str(file)) == 1
    assert "--calibration DIR" in capsys.readouterr().err
    texts = tmp_path / "texts"
    texts.mkdir()
    assert plan(str(file), "--calibration", str(texts)) == 2
    assert "texts alone" in capsys.readouterr().err
    (texts / "a.txt").write_text("some words")
    argv = ["render", str(file), "--model", MODEL, "--nodes", NODES, "--calibration", str(texts)]
    assert main(argv) == 0
    objects = list(yaml.safe_load_all(capsys.readouterr().out))
    jobs = {one["metadata"]["labels"]["slipway.dev/stage"]: one for one in objects if one["kind"] == "Job"}
    quantize = jobs["quantize"]["spec"]["template"]["spec"]
    (container,) = quantize["containers"]
    assert "/inputs/calibration" in {mount["mountPath"] for mount in container["volumeMounts"]}
    assert "optimizer" in container["image"]
    (deployment,) = [one for one in objects if one["kind"] == "Deployment"]
    assert "texts" not in json.dumps(deployment)
