"""The GGUF with a Modelfile. Called by package.

Ollama doesn't run a GGUF's Jinja chat template (v0.17.4: ``server/model.go``, ``template/template.go``).
``ollama create`` compares it with those of its own list and takes the one that differs by less than 100
edits; else the model gets ``{{ .Prompt }}``, a prompt without any roles. Templates that grew since, such as
Qwen2.5's with its tools, match none, so that the template of a known family is written into the Modelfile.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from slipway.local.served import GGUF, Package, Served, Text

MODELFILE = "Modelfile"
QUOTES = '"""'
"""Ends a text in a Modelfile, and can't be escaped there."""


@dataclass(frozen=True)
class Family:
    """Chat templates that write a conversation in one way.

    Attributes:
        name: as people call it.
        marks: texts that all its Jinja templates hold, and no other family's.
        template: the same in Ollama's language, Go's text/template.
        stops: texts at which an answer ends.
        never: a text that shows a format of its own beside the marks.
    """

    name: str
    marks: tuple[str, ...]
    template: str
    stops: tuple[str, ...]
    never: str = "\0"


FAMILIES = (
    Family(
        "ChatML",
        ("<|im_start|>", "<|im_end|>"),
        "{{- range .Messages }}<|im_start|>{{ .Role }}\n{{ .Content }}<|im_end|>\n{{ end }}"
        "<|im_start|>assistant\n",
        ("<|im_start|>", "<|im_end|>"),
        "<|im_sep|>",  # Phi-4
    ),
    Family(
        "Llama 3",
        ("<|start_header_id|>", "<|eot_id|>"),
        "{{- range .Messages }}<|start_header_id|>{{ .Role }}<|end_header_id|>\n\n{{ .Content }}<|eot_id|>"
        "{{- end }}<|start_header_id|>assistant<|end_header_id|>\n\n",
        ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
    ),
    Family(
        "Gemma",
        ("<start_of_turn>", "<end_of_turn>"),
        '{{- range $i, $_ := .Messages }}{{ if eq .Role "user" }}<start_of_turn>user\n'
        "{{ if and $.System (le $i 1) }}{{ $.System }}\n\n{{ end }}{{ .Content }}<end_of_turn>\n"
        '{{ else if eq .Role "assistant" }}<start_of_turn>model\n{{ .Content }}<end_of_turn>\n'
        "{{ end }}{{ end }}"
        "<start_of_turn>model\n",
        ("<start_of_turn>", "<end_of_turn>"),
    ),
    Family(
        "Phi-3",
        ("<|user|>", "<|end|>", "<|assistant|>"),
        "{{- range .Messages }}<|{{ .Role }}|>\n{{ .Content }}<|end|>\n{{ end }}<|assistant|>\n",
        ("<|end|>", "<|system|>", "<|user|>", "<|assistant|>"),
    ),
)
OWN_PROMPT = re.compile(r"""<\|im_start\|>system(?:\\n|\n)([^'"{}]+?)<\|im_end\|>""")
"""The system message that a ChatML template itself gives to conversations without one."""


def build_package(served: Served) -> Package:
    """The model and its Modelfile."""
    joined = (f"llama-gguf-split --merge {served.files[0]} {GGUF}",) if served.files[1:] else ()
    commands = (*joined, f"ollama create {served.name} -f {MODELFILE}", f"ollama run {served.name}")
    text = Text(MODELFILE, build_modelfile(served).encode())
    return Package({file: file for file in served.files}, (text,), commands, tuple(_notes(served)))


def build_modelfile(served: Served) -> str:
    """The Modelfile: where the model lies, parameters of the plan and the spec, template, system prompt."""
    generation, family = served.generation, family_of(served.chat_template)
    parameters = {
        "num_ctx": served.context_length,
        "temperature": generation.temperature,
        "top_p": generation.top_p,
        "top_k": generation.top_k,
        "num_predict": generation.max_tokens,
    }
    lines = [f"# {served.title}", f"FROM ./{GGUF}"]
    lines += [f"PARAMETER {name} {value}" for name, value in parameters.items() if value is not None]
    if family is not None:
        lines += [f'PARAMETER stop "{stop}"' for stop in family.stops]
        lines.append(f"TEMPLATE {_quoted(family.template)}")
    if prompt := system_prompt(served):
        lines.append(f"SYSTEM {_quoted(prompt)}")
    return "\n".join(lines) + "\n"


def family_of(chat_template: str) -> Family | None:
    """The family of a Jinja chat template; None when it is of no family of the list."""
    found = [
        each
        for each in FAMILIES
        if each.never not in chat_template and all(mark in chat_template for mark in each.marks)
    ]
    return found[0] if len(found) == 1 else None


def system_prompt(served: Served) -> str:
    """The spec's; else the one that the model's own template gives, which Ollama would leave out."""
    given = served.generation.system_prompt
    if given is not None:
        return given
    own = OWN_PROMPT.search(served.chat_template)
    return own[1].replace("\\n", "\n") if own else ""


def _quoted(text: str) -> str:
    return QUOTES + text.replace(QUOTES, "'''") + QUOTES


def _notes(served: Served) -> list[str]:
    notes = [_template_note(served)]
    if served.files[1:]:
        notes.append("Ollama takes one file: llama.cpp's llama-gguf-split joins the parts first.")
    if QUOTES in system_prompt(served):
        notes.append(f"A Modelfile can't hold {QUOTES} in a text: in the system prompt it is ''' now.")
    return notes


def _template_note(served: Served) -> str:
    if not served.chat_template:
        return "The model has no chat template: it completes text."
    family = family_of(served.chat_template)
    if family is None:
        return (
            "Ollama can't run the model's Jinja chat template. It looks for a similar one in its list, and "
            f"only it can say whether there is one: if `ollama show {served.name} --template` prints "
            "{{ .Prompt }}, it has none and answers will be poor. Then write a TEMPLATE into the Modelfile, "
            "or use --to llamacpp, which runs the model's own."
        )
    return (
        "Ollama can't run the model's Jinja chat template: the Modelfile has that of its family, "
        f"{family.name}, for plain conversations. Tool calls and switches for thinking are not in it."
    )
