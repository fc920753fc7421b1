"""Files that a server reads at its start, made of the mounted model's: its chat template, its defaults.

For engine files. The mount is read-only, so a short Python program writes to /tmp and becomes the server.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

from slipway.api.modeldeployment import Engine, Generation
from slipway.engines.base import Launch

PREFIX_VARIABLE: Final = "SLIPWAY_CHAT_PREFIX"
WRITTEN_TEMPLATE: Final = "/tmp/chat.jinja"  # noqa: S108 - the pod's own emptyDir
GENERATION_VARIABLE: Final = "SLIPWAY_GENERATION"
WRITTEN_MODEL: Final = "/tmp/model"  # noqa: S108 - the pod's own emptyDir
WRITE: Final = f"""\
import json, os, pathlib, sys
folder = pathlib.Path(sys.argv[1])
prefix, generation = os.environ.get("{PREFIX_VARIABLE}"), os.environ.get("{GENERATION_VARIABLE}")


def read(name):
    path = folder / name
    return json.loads(path.read_text("utf-8")) if path.is_file() else {{}}


def template():
    path = folder / "chat_template.jinja"
    if path.is_file():
        return path.read_text("utf-8")
    for name in ("chat_template.json", "tokenizer_config.json"):
        found = read(name).get("chat_template")
        if isinstance(found, list):
            found = {{one["name"]: one["template"] for one in found}}.get("default")
        if found:
            return found
    print("this model has no chat template: remove spec.engine.generation.systemPrompt", file=sys.stderr)
    sys.exit(78)


if prefix is not None:
    pathlib.Path("{WRITTEN_TEMPLATE}").write_text(prefix + template(), "utf-8")
if generation is not None:
    own = pathlib.Path("{WRITTEN_MODEL}")
    own.mkdir(exist_ok=True)
    for path in folder.iterdir():
        (own / path.name).unlink(missing_ok=True)
        (own / path.name).symlink_to(path)
    said = {{**read("generation_config.json"), **json.loads(generation)}}
    (own / "generation_config.json").unlink(missing_ok=True)
    (own / "generation_config.json").write_text(json.dumps(said), "utf-8")
os.execvp(sys.argv[2], sys.argv[2:])
"""
"""Arguments: the model's folder, then the server's command line.

A system prompt goes before the model's own template, wherever that stands in Hugging Face's layout. Defaults
of requests go into a folder of links beside the model, over its own generation_config.json. A container that
starts again finds the volume as it left it.
"""


def chat_prefix(system_prompt: str) -> str:
    """Jinja that adds a system message to conversations that bring none, to stand before any chat template.

    Only the escapes that both Jinja2 and llama.cpp's own Jinja know are used.
    """
    text = system_prompt.replace("\\", "\\\\").replace("'", "\\'")
    text = text.replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")
    return (
        "{%- if not messages or messages[0]['role'] != 'system' -%}"
        f"{{%- set messages = [{{'role': 'system', 'content': '{text}'}}] + messages -%}}"
        "{%- endif -%}"
    )


def writes(
    command: Sequence[str],
    launch: Launch,
    *,
    template: bool = True,
    defaults: bool = False,
    python: str = "python3",
) -> list[str]:
    """The command, behind the program that writes what it reads where the spec asks for any of it.

    Args:
        command: of the server.
        launch: says what is asked for, and where the model lies.
        template: the server takes ``WRITTEN_TEMPLATE``.
        defaults: the server reads ``model_folder`` in place of the mount.
        python: of the image.
    """
    wanted = (template and prefixed(launch)) or (defaults and bool(sampling(launch)))
    return [python, "-c", WRITE, launch.model_path, *command] if wanted else list(command)


def variables(launch: Launch, *, template: bool = True, defaults: bool = False) -> dict[str, str]:
    """What the program reads from its environment."""
    prompt, said = _generation(launch).system_prompt, sampling(launch)
    given = {PREFIX_VARIABLE: chat_prefix(prompt)} if template and prompt is not None else {}
    return given | ({GENERATION_VARIABLE: json.dumps(said)} if defaults and said else {})


def prefixed(launch: Launch) -> bool:
    """There is a system prompt, and so a template of ours."""
    return _generation(launch).system_prompt is not None


def template_path(launch: Launch) -> str | None:
    """Of the template with the system prompt; None without one."""
    return WRITTEN_TEMPLATE if prefixed(launch) else None


def model_folder(launch: Launch) -> str:
    """The mount, or the folder of links when defaults of requests are written beside it."""
    return WRITTEN_MODEL if sampling(launch) else launch.model_path


def sampling(launch: Launch) -> dict[str, float | int]:
    """Defaults of sampling in the names of a generation_config.json, without the answer's length."""
    wished = _generation(launch)
    named = {
        "temperature": None if wished.temperature is None else float(wished.temperature),
        "top_p": None if wished.top_p is None else float(wished.top_p),
        "top_k": wished.top_k,
    }
    return {name: value for name, value in named.items() if value is not None}


def _generation(launch: Launch) -> Generation:
    return (launch.spec.engine or Engine()).generation or Generation()
