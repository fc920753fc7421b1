"""The GGUF in the folders that LM Studio looks through, and what to enter there by hand. Called by package.

Layout: https://lmstudio.ai/docs/app/advanced/import-model (models/PUBLISHER/MODEL/FILE.gguf). Its presets
are files, too, but their format is not documented: none is written, the notes say what to enter.
"""

from __future__ import annotations

from slipway.local.served import Package, Served, Text

PROMPT = "system-prompt.txt"
MODELS = "~/.lmstudio/models"
"""Where LM Studio looks unless its settings name another folder."""


def build_package(served: Served) -> Package:
    """The model below PUBLISHER/MODEL, the publisher being the namespace; the system prompt as a text."""
    folder = f"{served.namespace}/{served.name}"
    copies = {
        file: f"{folder}/{file.replace('model', f'{served.name}-{served.level}', 1)}" for file in served.files
    }
    place = copies[served.files[0]]
    prompt = served.generation.system_prompt
    texts = () if prompt is None else (Text(f"{folder}/{PROMPT}", prompt.encode()),)
    return Package(copies, texts, (), tuple(_notes(served, folder, place)))


def _notes(served: Served, folder: str, place: str) -> list[str]:
    generation = served.generation
    values = {
        "context length": str(served.context_length),
        "temperature": generation.temperature,
        "top P": generation.top_p,
        "top K": None if generation.top_k is None else str(generation.top_k),
        "limit of the answer's length": None
        if generation.max_tokens is None
        else f"{generation.max_tokens} tokens",
    }
    known = ", ".join(f"{name} {value}" for name, value in values.items() if value is not None)
    notes = [
        f"LM Studio lists it as {folder} if its settings name this folder for models (its own is {MODELS}).",
        f"From any other folder: lms import {place} --user-repo {folder} --copy",
        f"LM Studio documents no file for presets: enter there {known}.",
    ]
    if generation.system_prompt is not None:
        notes.append(f"The system prompt to enter is in {folder}/{PROMPT}.")
    if not served.chat_template:
        notes.append("The model has no chat template: it completes text.")
    return notes
