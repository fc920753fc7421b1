"""What is written before a server starts, run by a real Python, and read as the server would."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from slipway.engines import ENGINES, Launch, chat, decide
from slipway.engines.llamacpp import WRITTEN_TEMPLATE, chat_prefix
from slipway.plan.nodes import node_facts
from slipway.settings import Settings
from tests.support.gpu_nodes import gpu_node
from tests.support.planning import MODELS, spec

GENERATION = {"temperature": "0.2", "topK": 20, "systemPrompt": "Be brief."}
TEMPLATE = "{% for message in messages %}{% endfor %}"


def launch(folder: Path, name: str = "sglang", **generation: Any) -> Launch:
    wish = spec(engine={"name": name, "generation": generation})
    node = node_facts(gpu_node("h100", "h"))
    return Launch(wish, decide(wish, MODELS["llama3-8b"], [node], Settings()), "chat", str(folder))


def run(given: Launch, to: Path) -> subprocess.CompletedProcess[str]:
    """The command with paths below ``to`` in place of /tmp, and echo in place of the server."""
    command = ENGINES[given.plan.engine].command(given)
    assert command[1:3] == ["-c", chat.WRITE]
    own = chat.WRITE.replace(WRITTEN_TEMPLATE, f"{to}/chat.jinja").replace(chat.WRITTEN_MODEL, f"{to}/model")
    environment = {"PATH": "/usr/bin:/bin", **ENGINES[given.plan.engine].env(given)}
    command = [sys.executable, "-c", own, given.model_path, "echo", *command[4:]]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "mount"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "generation_config.json").write_text(json.dumps({"top_k": 50, "eos_token_id": 2}))
    return folder


@pytest.mark.parametrize(
    "files",
    [
        {"chat_template.jinja": TEMPLATE, "tokenizer_config.json": json.dumps({"chat_template": "old"})},
        {"tokenizer_config.json": json.dumps({"chat_template": TEMPLATE})},
        {"chat_template.json": json.dumps({"chat_template": TEMPLATE})},
        {
            "tokenizer_config.json": json.dumps(
                {
                    "chat_template": [
                        {"name": "tool_use", "template": "other"},
                        {"name": "default", "template": TEMPLATE},
                    ]
                }
            )
        },
    ],
)
def test_the_prompt_goes_before_the_models_own_template(
    files: dict[str, str], model: Path, tmp_path: Path
) -> None:
    for name, text in files.items():
        (model / name).write_text(text)
    done = run(launch(model, **GENERATION), tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "python3 -m sglang.launch_server\n"
    assert (tmp_path / "chat.jinja").read_text() == chat_prefix("Be brief.") + TEMPLATE


def test_defaults_stand_beside_links_to_the_model_also_when_the_container_starts_again(
    model: Path, tmp_path: Path
) -> None:
    given = launch(model, temperature="0.2", topK=20)
    for _ in range(2):
        done = run(given, tmp_path)
        assert done.returncode == 0, done.stderr
    own = tmp_path / "model"
    assert (own / "config.json").resolve() == model / "config.json"
    said = json.loads((own / "generation_config.json").read_text())
    assert said == {"top_k": 20, "eos_token_id": 2, "temperature": 0.2}
    assert json.loads((model / "generation_config.json").read_text())["top_k"] == 50
    assert chat.WRITTEN_MODEL in ENGINES["sglang"].args(given)


def test_a_model_without_a_template_is_refused_with_the_field(model: Path, tmp_path: Path) -> None:
    done = run(launch(model, systemPrompt="Be brief."), tmp_path)
    assert done.returncode == 78
    assert "systemPrompt" in done.stderr


def test_nothing_is_written_that_nobody_asked_for(model: Path) -> None:
    assert ENGINES["sglang"].command(launch(model)) == ["python3", "-m", "sglang.launch_server"]
    assert ENGINES["vllm"].command(launch(model, "vllm", temperature="0.2")) == ["vllm", "serve"]
    assert str(model) in ENGINES["sglang"].args(launch(model))
