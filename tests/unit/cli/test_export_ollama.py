"""The Modelfile in Ollama's own hands: its parser, its templates; needs Go and the module proxy."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from slipway.local import ollama
from tests.support.export_double import TEMPLATE
from tests.unit.cli.test_export_tools import GENERATION, served

pytestmark = [
    pytest.mark.engines,
    pytest.mark.timeout(900),
    pytest.mark.skipif(shutil.which("go") is None, reason="no Go here"),
]
OLLAMA = "v0.17.4"
MODULE = f"module check\ngo 1.24.1\nrequire github.com/ollama/ollama {OLLAMA}\n"
PROGRAM = """\
package main

import (
	"bytes"
	"encoding/json"
	"os"

	"github.com/ollama/ollama/api"
	"github.com/ollama/ollama/parser"
	"github.com/ollama/ollama/template"
)

type question struct {
	Modelfile string
	Jinja     string
	Messages  []api.Message
}

func main() {
	var asked question
	check(json.NewDecoder(os.Stdin).Decode(&asked))
	file, err := parser.ParseFile(bytes.NewBufferString(asked.Modelfile))
	check(err)
	request, err := file.CreateRequest("/nowhere")
	check(err)
	said := map[string]any{
		"from": request.From, "system": request.System, "parameters": request.Parameters, "known": "",
	}
	if named, err := template.Named(asked.Jinja); err == nil {
		said["known"] = named.Name
	}
	if request.Template != "" {
		parsed, err := template.Parse(request.Template)
		check(err)
		var out bytes.Buffer
		check(parsed.Execute(&out, template.Values{Messages: asked.Messages}))
		said["prompt"] = out.String()
	}
	check(json.NewEncoder(os.Stdout).Encode(said))
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
"""
TALK = (("system", "Be terse."), ("user", "Hi"), ("assistant", "Yes?"), ("user", "Bye"))
HEADER = "<|start_header_id|>{}<|end_header_id|>\n\n"
CHATML = """\
<|im_start|>system
Be terse.<|im_end|>
<|im_start|>user
Hi<|im_end|>
<|im_start|>assistant
Yes?<|im_end|>
<|im_start|>user
Bye<|im_end|>
<|im_start|>assistant
"""
GEMMA = """\
<start_of_turn>user
Be terse.

Hi<end_of_turn>
<start_of_turn>model
Yes?<end_of_turn>
<start_of_turn>user
Bye<end_of_turn>
<start_of_turn>model
"""
PHI = """\
<|system|>
Be terse.<|end|>
<|user|>
Hi<|end|>
<|assistant|>
Yes?<|end|>
<|user|>
Bye<|end|>
<|assistant|>
"""
LLAMA = "".join(f"{HEADER.format(role)}{text}<|eot_id|>" for role, text in TALK) + HEADER.format("assistant")
PROMPTS = {
    "ChatML": (TEMPLATE, CHATML),
    "Llama 3": ("<|start_header_id|> <|eot_id|>", LLAMA),
    "Gemma": ("<start_of_turn> <end_of_turn>", GEMMA),
    "Phi-3": ("<|user|> <|end|> <|assistant|>", PHI),
}
"""Family to a Jinja template of it, and TALK as it writes it."""


@pytest.fixture(scope="module")
def checker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program; most of a minute when nothing is cached, so that only those who ask for it wait."""
    if "engines" not in request.config.getoption("markexpr"):
        pytest.skip("asked for by -m engines")
    folder = tmp_path_factory.mktemp("ollama")
    (folder / "go.mod").write_text(MODULE)
    (folder / "main.go").write_text(PROGRAM)
    for command in (["go", "mod", "tidy"], ["go", "build", "-o", "check", "."]):
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    return folder / "check"


def ask(checker: Path, modelfile: str, jinja: str = "") -> dict[str, Any]:
    messages = [{"role": role, "content": text} for role, text in TALK]
    asked = json.dumps({"Modelfile": modelfile, "Jinja": jinja, "Messages": messages})
    done = subprocess.run([checker], input=asked, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_ollama_reads_what_was_meant(checker: Path) -> None:
    said = ask(checker, ollama.build_modelfile(served(generation=GENERATION)))
    assert said["from"] == "./model.gguf"  # no file there: else it would be hashed
    assert said["system"] == GENERATION["systemPrompt"]
    assert said["parameters"] == {
        "num_ctx": 4096,
        "num_predict": 512,
        "stop": ["<|im_start|>", "<|im_end|>"],
        "temperature": pytest.approx(0.7),
        "top_k": 20,
        "top_p": pytest.approx(0.95),
    }


@pytest.mark.parametrize(
    "prompt", ['"quoted"', ' a"', "\ttab\n\n\n", "# no comment", 'x """\ny', '"""', "FROM x\nä"]
)
def test_any_system_prompt_comes_through(checker: Path, prompt: str) -> None:
    said = ask(checker, ollama.build_modelfile(served(generation={"systemPrompt": prompt})))
    assert said["system"] == prompt.replace('"""', "'''")


@pytest.mark.parametrize("family", [each.name for each in ollama.FAMILIES])
def test_a_family_s_template_writes_the_conversation(checker: Path, family: str) -> None:
    jinja, prompt = PROMPTS[family]
    assert ask(checker, ollama.build_modelfile(served(jinja)))["prompt"] == prompt


def test_ollama_s_own_list_knows_short_templates_only(checker: Path) -> None:
    modelfile = ollama.build_modelfile(served())
    assert ask(checker, modelfile, TEMPLATE)["known"] == "chatml"
    grown = TEMPLATE + "{%- if tools %}{{- 'You may call one or more functions.' }}{%- endif %}" * 2
    assert ask(checker, modelfile, grown)["known"] == ""
