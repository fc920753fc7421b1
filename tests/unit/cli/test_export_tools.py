"""What each tool gets, word for word; how progress reads; that the shell completes the command."""

from __future__ import annotations

import io
import json
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from slipway.__main__ import main
from slipway.api.modeldeployment import ModelDeploymentSpec
from slipway.cli import export
from slipway.cli._export_progress import Progress
from slipway.local import llamacpp, lmstudio, ollama
from slipway.local.package import TOOLS, build_package
from slipway.local.served import Served
from tests.support.export_double import TEMPLATE

ROOT = Path(__file__).resolve().parents[3]
GENERATION = {
    "temperature": "0.7",
    "topP": "0.95",
    "topK": 20,
    "maxTokens": 512,
    "systemPrompt": 'You\'re terse.\nSay "no".',
}
QWEN = (
    "{%- if tools %}{{- '<|im_start|>system\\n' }}{%- else %}{{- '<|im_start|>system\\nYou are Qwen, created "
    "by Alibaba Cloud. You are a helpful assistant.<|im_end|>\\n' }}{%- endif %}"
)
BASE = "The model has no chat template: it completes text."


def served(template: str = TEMPLATE, **engine: Any) -> Served:
    spec = ModelDeploymentSpec.model_validate({"model": {"source": "hf://acme/qwen"}, "engine": engine})
    return Served("qwen", "team", "Q4_K_M", "sha256:ab", 4096, spec, template)


def test_the_modelfile() -> None:
    assert (
        ollama.build_modelfile(served(generation=GENERATION))
        == '''\
# qwen of namespace team, Q4_K_M, sha256:ab
FROM ./model.gguf
PARAMETER num_ctx 4096
PARAMETER temperature 0.7
PARAMETER top_p 0.95
PARAMETER top_k 20
PARAMETER num_predict 512
PARAMETER stop "<|im_start|>"
PARAMETER stop "<|im_end|>"
TEMPLATE """{{- range .Messages }}<|im_start|>{{ .Role }}
{{ .Content }}<|im_end|>
{{ end }}<|im_start|>assistant
"""
SYSTEM """You're terse.
Say "no"."""
'''
    )


def test_a_base_model_s_modelfile_is_short() -> None:
    text = ollama.build_modelfile(served(""))
    assert text == "# qwen of namespace team, Q4_K_M, sha256:ab\nFROM ./model.gguf\nPARAMETER num_ctx 4096\n"
    assert ollama.build_package(served("")).notes == (BASE,)


@pytest.mark.parametrize(
    ("template", "family"),
    [
        (TEMPLATE, "ChatML"),
        (QWEN, "ChatML"),
        ("{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>' }}<|eot_id|>", "Llama 3"),
        ("<start_of_turn>user<end_of_turn>", "Gemma"),
        ("<|user|>\n<|end|>\n<|assistant|>\n", "Phi-3"),
        ("<|im_start|>system<|im_sep|>x<|im_end|>", ""),  # Phi-4
        ("[INST] {{ message }} [/INST]", ""),
        ("", ""),
    ],
)
def test_a_template_s_family(template: str, family: str) -> None:
    found = ollama.family_of(template)
    assert (found.name if found else "") == family


def test_the_template_s_own_system_message_is_kept() -> None:
    assert ollama.system_prompt(served()) == "You are a helpful AI assistant named SmolLM"
    words = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."
    assert ollama.system_prompt(served(QWEN)) == words
    assert ollama.system_prompt(served(generation={"systemPrompt": "Mine."})) == "Mine."
    assert ollama.system_prompt(served("<start_of_turn><end_of_turn>")) == ""


def test_an_unknown_template_is_said_so() -> None:
    package = ollama.build_package(served("[INST]"))
    assert b"TEMPLATE" not in package.texts[0].content
    assert "if `ollama show qwen --template` prints {{ .Prompt }}, it has none" in package.notes[0]


def test_quotes_that_a_modelfile_can_t_hold() -> None:
    package = ollama.build_package(served(generation={"systemPrompt": 'Say """\nhi'}))
    assert b'SYSTEM """Say \'\'\'\nhi"""\n' in package.texts[0].content
    assert "A Modelfile can't hold" in package.notes[-1]


def test_the_script_of_llamacpp() -> None:
    one = served(generation=GENERATION, args={"flash-attn": "on"}, kvCacheDtype="q8_0")
    options = (
        "--model ./model.gguf --ctx-size 4096 --temp 0.7 --top-p 0.95 --top-k 20 --n-predict 512 "
        "--cache-type-k q8_0 --cache-type-v q8_0 --chat-template-file ./chat_template.jinja --jinja"
    )
    assert (
        llamacpp.build_script(one)
        == f"""\
#!/bin/sh
# qwen of namespace team, Q4_K_M, sha256:ab
#   ./run.sh        the server, http://127.0.0.1:8080/v1
#   ./run.sh chat   a chat in this terminal
# More arguments are handed on.
set -eu
cd "$(dirname "$0")"
if [ "${{1:-}}" = chat ]; then
  shift
  exec llama-cli {options} "$@"
fi
exec llama-server {options} --alias qwen --parallel 1 --flash-attn on "$@"
"""
    )


def test_llamacpp_s_system_prompt_stands_before_the_template() -> None:
    package = llamacpp.build_package(served(generation={"systemPrompt": "Mine."}))
    template = {text.path: text.content.decode() for text in package.texts}["chat_template.jinja"]
    assert template.startswith("{%- if not messages")
    assert "Mine." in template
    assert template.endswith(TEMPLATE)
    assert [text.path for text in llamacpp.build_package(served()).texts] == ["run.sh"]


def test_every_flag_is_one_of_llama_server() -> None:
    known = json.dumps(json.loads((ROOT / "tests/golden/engines/llama-server-flags.json").read_text()))
    line = llamacpp.build_server(served(generation=GENERATION, kvCacheDtype="q8_0"))
    flags = [part for part in line if part.startswith("--")]
    assert [flag for flag in flags if f'"{flag}"' not in known] == []


def test_lm_studio_s_folders_and_what_to_enter() -> None:
    package = lmstudio.build_package(served(generation=GENERATION))
    assert package.copies == {"model.gguf": "team/qwen/qwen-Q4_K_M.gguf"}
    assert [text.path for text in package.texts] == ["team/qwen/system-prompt.txt"]
    assert package.notes[1] == (
        "From any other folder: lms import team/qwen/qwen-Q4_K_M.gguf --user-repo team/qwen --copy"
    )
    assert "enter there context length 4096, temperature 0.7, top P 0.95, top K 20" in package.notes[2]


def test_files_are_all_and_the_manifest() -> None:
    package = build_package("files", served(), ["a/b.safetensors", "config.json"], b"{}")
    assert set(package.copies) == {"a/b.safetensors", "config.json"}
    assert [(text.path, text.content) for text in package.texts] == [("manifest.json", b"{}")]
    assert package.commands == ()


def test_the_command_line_knows_every_tool() -> None:
    assert {*TOOLS, "files"} == set(export.TOOLS)


def test_progress_on_a_terminal_is_one_line_a_second() -> None:
    out, now = io.StringIO(), [0.0]
    progress = Progress(4 << 20, out, terminal=True, clock=lambda: now[0])
    progress.found(1 << 20)
    for second in (0.0, 0.5, 1.0, 1.2):
        now[0] = second
        progress.add("model.gguf", 1 << 19)
    progress.say("cut")
    now[0] = 3.0
    progress.add("model.gguf", 1 << 20)
    assert out.getvalue().split("\r\x1b[K") == [
        "",
        "model.gguf: 62% (2.5 MiB of 4.0 MiB), 1.6 MB/s, ETA 1s",
        "cut\n",
        "model.gguf: 100% (4.0 MiB of 4.0 MiB), 1.0 MB/s\n",
    ]


def test_progress_elsewhere_is_a_line_in_five_seconds() -> None:
    out, now = io.StringIO(), [0.0]
    progress = Progress(100, out, terminal=False, clock=lambda: now[0])
    for second in range(11):
        now[0] = float(second)
        progress.add("model.gguf", 5)
    progress.close()
    assert out.getvalue().splitlines() == [
        "model.gguf: 30% (30 B of 100 B), 0.0 MB/s, ETA 12s",
        "model.gguf: 55% (55 B of 100 B), 0.0 MB/s, ETA 8s",
    ]


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["slipway", "exp"], {"export"}),
        (["slipway", "export", "qwen", "--to", ""], set(export.TOOLS)),
        (["slipway", "export", "--to", "o"], {"ollama"}),
        (["slipway", "export", "--dr"], {"--dry-run"}),
        (["slipway", "export", "--out", ""], set()),  # then bash offers file names
    ],
)
def test_bash_completes(words: list[str], wanted: set[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "bash"]) == 0
    script = capsys.readouterr().out
    line = f"COMP_WORDS=({shlex.join(words)}); COMP_CWORD={len(words) - 1}"
    probe = f'{script}\n{line}; _slipway; echo "${{COMPREPLY[@]}}"'
    done = subprocess.run(["bash", "-c", probe], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == wanted
