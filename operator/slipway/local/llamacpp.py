"""The GGUF with the command lines of llama-server and llama-cli that serve it alike. Called by package."""

from __future__ import annotations

import shlex

from slipway.engines.arguments import flags, user_args
from slipway.engines.chat import chat_prefix
from slipway.local.served import CHAT_TEMPLATE, Package, Served, Text

SCRIPT = "run.sh"
URL = "http://127.0.0.1:8080/v1"
RUN = """\
#!/bin/sh
# {title}
#   ./{script}        the server, {url}
#   ./{script} chat   a chat in this terminal
# More arguments are handed on.
set -eu
cd "$(dirname "$0")"
if [ "${{1:-}}" = chat ]; then
  shift
  exec {chat} "$@"
fi
exec {server} "$@"
"""


def build_package(served: Served) -> Package:
    """The model, ``run.sh``, and the chat template where a system prompt stands before it."""
    texts = [Text(SCRIPT, build_script(served).encode(), executable=True)]
    prompt = served.generation.system_prompt
    if prompt is not None:
        texts.append(Text(CHAT_TEMPLATE, (chat_prefix(prompt) + served.chat_template).encode()))
    commands = (f"./{SCRIPT}", f"./{SCRIPT} chat", shlex.join(build_server(served)))
    return Package({file: file for file in served.files}, tuple(texts), commands, tuple(_notes(served)))


def build_script(served: Served) -> str:
    """A shell script that becomes the server, or with ``chat`` a chat."""
    return RUN.format(
        title=served.title,
        script=SCRIPT,
        url=URL,
        chat=shlex.join(build_chat(served)),
        server=shlex.join(build_server(served)),
    )


def build_server(served: Served) -> list[str]:
    """The line of ``llama-server``: one conversation at a time has the whole context."""
    own = flags({"--alias": served.name, "--parallel": 1})
    return ["llama-server", *_model(served), *own, *user_args(served.spec)]


def build_chat(served: Served) -> list[str]:
    """The line of ``llama-cli``; the spec's own arguments are the server's, and may be unknown to it."""
    return ["llama-cli", *_model(served)]


def _model(served: Served) -> list[str]:
    """What both programs are told: as the engine's pod is, less what depends on its node."""
    generation = served.generation
    engine = served.spec.engine
    dtype = engine.kv_cache_dtype if engine else None
    cache = None if dtype in (None, "auto") else dtype
    valued = flags(
        {
            "--model": f"./{served.files[0]}",
            "--ctx-size": served.context_length,
            "--temp": generation.temperature,
            "--top-p": generation.top_p,
            "--top-k": generation.top_k,
            "--n-predict": generation.max_tokens,
            "--cache-type-k": cache,
            "--cache-type-v": cache,
            "--chat-template-file": None if generation.system_prompt is None else f"./{CHAT_TEMPLATE}",
        }
    )
    return [*valued, "--jinja"]


def _notes(served: Served) -> list[str]:
    given = (served.spec.engine.args if served.spec.engine else None) or {}
    notes = [] if served.chat_template else ["The model has no chat template: it completes text."]
    if given:
        notes.append("spec.engine.args are handed to llama-server, not to llama-cli.")
    return notes
