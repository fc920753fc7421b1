"""``slipway plan`` as users call it: several objects, half a model's folder, a terminal that has a width."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from slipway.__main__ import main
from slipway.api.modeldeployment import MemoryStatus, PlanStatus, RejectedOption
from slipway.cli import wrap
from slipway.cli.plan import table

GOLDEN = Path(__file__).resolve().parents[2] / "golden"
EXAMPLE = str(Path(__file__).resolve().parents[3] / "examples/smollm2.yaml")
MODEL = str(GOLDEN / "models/smollm2")
NODES = str(GOLDEN / "nodes/edge.json")
OBJECT = """\
apiVersion: slipway.dev/v1alpha1
kind: ModelDeployment
metadata: {name: NAME}
spec: {model: {source: hf://acme/model}, engine: {ENGINE}}
"""


def models(folder: Path, **engines: str) -> str:
    file = folder / "models.yaml"
    texts = [OBJECT.replace("NAME", name).replace("ENGINE", text) for name, text in engines.items()]
    file.write_text("---\n".join(texts))
    return str(file)


@pytest.fixture
def three(tmp_path: Path) -> str:
    """One that fits, one that does not, one that is wrong."""
    return models(
        tmp_path, fits="", big="resources: {memory: 900Gi}", wrong="resources: {cpu: 0}, contextLength: 1"
    )


def test_each_object_has_its_own_outcome(three: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", three, "--model", MODEL, "--nodes", NODES]) == 1
    out, err = capsys.readouterr()
    assert out.startswith("model       fits\n")
    assert "big" not in out
    lines = [line.split(": ")[1:3] for line in err.splitlines() if line.startswith("slipway plan: ")]
    assert lines == [
        ["big", "Nothing fits"],
        ["wrong", "spec.engine.contextLength"],
        ["wrong", "spec.engine.resources.cpu"],
    ]


def test_json_keeps_the_place_of_what_has_no_plan(three: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", three, "--model", MODEL, "--nodes", NODES, "-o", "json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert [plan and plan["level"] for plan in found] == ["Q4_K_M", None, None]


@pytest.mark.parametrize("output", ["json", "table"])
def test_nothing_is_printed_for_the_only_one_without_a_plan(
    output: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = models(tmp_path, big="resources: {memory: 900Gi}")
    assert main(["plan", file, "--model", MODEL, "--nodes", NODES, "-o", output]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "slipway plan: big: Nothing fits" in err


def test_render_prints_all_objects_or_none(three: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["render", three, "--model", MODEL, "--nodes", NODES]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "slipway render: big: Nothing fits" in err
    assert "slipway render: wrong: spec.engine.contextLength" in err


def test_json_has_the_fields_of_the_status(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", EXAMPLE, "--model", MODEL, "--nodes", NODES, "-o", "json"]) == 0
    PlanStatus.model_validate_json(capsys.readouterr().out, by_alias=True, by_name=False)


@pytest.mark.parametrize("number", ["-5", "0", "7B"])
def test_a_number_of_weights_is_one_or_more(number: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["plan", EXAMPLE, "--model", MODEL, "--parameters", number])
    assert stop.value.code == 2
    assert f"--parameters: '{number}' is no number of weights" in capsys.readouterr().err


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model's folder with nothing but its config.json."""
    (tmp_path / "config.json").write_text((GOLDEN / "models/llama-7b/config.json").read_text())
    return tmp_path


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("model.safetensors.index.json", "{", "model.safetensors.index.json is no JSON: "),
        ("model.safetensors.index.json", "[1]", "is no JSON object, but a list"),
        ("config.json", "null", "is no JSON object, but null"),
        ("config.json", "[" * 100_000, "is nested too deeply"),
        ("config.json", '{"architectures": ["X"]}', "lacks num_hidden_layers, hidden_size"),
    ],
)
def test_a_broken_file_of_the_model_is_named(
    name: str, text: str, words: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / name).write_text(text)
    assert main(["plan", EXAMPLE, "--model", str(folder), "--nodes", NODES]) == 2
    err = capsys.readouterr().err
    assert str(folder) in err
    assert words in err


@pytest.mark.parametrize("metadata", ["[1]", "null", '{"total_parameters": "many", "total_size": -1}'])
def test_an_index_without_figures_leaves_the_count_to_config(
    metadata: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "model.safetensors.index.json").write_text(f'{{"metadata": {metadata}}}')
    assert main(["plan", EXAMPLE, "--model", str(folder)]) == 0
    assert "computed from config.json" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "words"),
    [("absent", "no such folder"), ("config.json", "no such folder"), ("empty", "no config")],
)
def test_what_is_no_models_folder(
    given: str, words: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "empty").mkdir()
    assert main(["plan", EXAMPLE, "--model", str(folder / given)]) == 2
    assert words in capsys.readouterr().err


def test_a_computed_count_is_said_and_a_known_one_is_not(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["plan", EXAMPLE, "--model", str(folder), "--nodes", NODES]
    main(argv)
    assert "6.74 billion parameters, computed from config.json" in capsys.readouterr().err
    main([*argv, "--parameters", "6738415616"])
    assert "computed" not in capsys.readouterr().err
    index = {"metadata": {"total_parameters": 6738415616}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    main(argv)
    assert "computed" not in capsys.readouterr().err


def test_a_wrong_variable_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SLIPWAY_JOB_DEADLINE_SECONDS", "soon")
    assert main(["plan", EXAMPLE, "--model", MODEL]) == 2
    assert "SLIPWAY_JOB_DEADLINE_SECONDS=soon of the environment can't be read" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["[]", '{"items": [1]}', "7", '{"kind": "Node", "metadata": []}'])
def test_what_is_no_list_of_nodes(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "nodes.json"
    file.write_text(text)
    code = main(["plan", EXAMPLE, "--model", MODEL, "--nodes", str(file)])
    assert code == (1 if text == "[]" else 2)  # no nodes is an answer, not a mistake
    assert ("no nodes" if text == "[]" else str(file)) in capsys.readouterr().err


PLAN = PlanStatus(
    engine="llamacpp",
    method="gguf",
    level="Q4_K_M",
    context_length=4096,
    concurrency=4,
    threads=8,
    memory=MemoryStatus(weights=1, kv_cache=2, activations=3, overhead=4, total=10),
    resources={"cpu": "2"},
    reason="because " * 40,
    rejected=[
        RejectedOption(option="Q8_0", reason="slower " * 20),
        RejectedOption(option="node " + ", ".join(["ip-10-0-0-1.eu-west-1.compute"] * 3), reason="no room"),
    ],
)


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_terminal_gets_lines_of_its_width(width: int) -> None:
    lines = table("one", PLAN, width).splitlines()
    assert max(len(line) for line in lines) <= width
    labels = [line[:12].strip() for line in lines[: lines.index("")] if not line.startswith(" ")]
    assert labels == [
        "model", "engine", "method", "level", "context", "threads", "nodes", "memory", "resources", "reason",
    ]  # fmt: skip


def test_a_pipe_gets_whole_lines_with_a_gap_between_columns() -> None:
    lines = table("one", PLAN).splitlines()
    assert f"reason      {PLAN.reason}" in lines
    assert lines[-1].endswith("compute  no room")


def test_wrapping_keeps_the_column() -> None:
    assert wrap("ab  one two three", 12, 4) == ["ab  one two", "    three"]
    assert wrap("ab  one two three", 0, 4) == ["ab  one two three"]
