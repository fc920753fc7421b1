"""llama.cpp's arguments against its own parser's, and its scripts run by a real shell."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from slipway.api.validate import Problem
from slipway.engines import ENGINES, Launch, chat, decide, image_of, lifecycle, llamacpp, problems
from slipway.plan.decision import Plan
from slipway.plan.last_words import last_error
from slipway.plan.nodes import node_facts
from slipway.settings import Images, Settings
from tests.support.gpu_nodes import gpu_node
from tests.support.parsers import check_arguments
from tests.support.planning import MODELS, NODES, spec

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "engines" / "llama-server-flags.json"
ENGINE = ENGINES["llamacpp"]
EVERYTHING: dict[str, Any] = {
    "engine": {
        "concurrency": 2,
        "contextLength": 2048,
        "args": {"slot-prompt-similarity": "0.2", "no-perf": "", "s": "7"},
        "generation": {
            "temperature": "0.2",
            "topP": "0.9",
            "topK": 20,
            "maxTokens": 256,
            "systemPrompt": "Be brief.",
        },
    }
}


def plan(model: str = "smollm2-135m", **fields: Any) -> Plan:
    return decide(spec(**fields), MODELS[model], [NODES["server-64"]], Settings())


def launch(**fields: Any) -> Launch:
    return Launch(spec(**fields), plan(**fields), model_name="chat", model_path="/models")


def known_flags() -> set[str]:
    """Flags of the real binary; ``SLIPWAY_LLAMA_SERVER=PATH`` reads them anew into the golden file."""
    binary = os.environ.get("SLIPWAY_LLAMA_SERVER")
    if binary:
        said = subprocess.run([binary, "--help"], capture_output=True, text=True, check=True).stdout
        version = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True)
        text = (version.stdout + version.stderr).strip().splitlines()
        found = {flag for line in said.splitlines() if line.startswith("-") for flag in _flags(line)}
        named = next(line for line in text if line.startswith("version"))
        GOLDEN.write_text(json.dumps({"llama-server": named, "flags": sorted(found)}, indent=1) + "\n")
    return set(json.loads(GOLDEN.read_text())["flags"])


def _flags(line: str) -> list[str]:
    """Flags at the start of a line of ``--help``: ``-c,    --ctx-size N   size of …``."""
    return re.findall(r"(?:^|,\s+)(--?[A-Za-z][A-Za-z0-9.-]*)", re.split(r"\s{2,}(?![-\s])", line)[0])


def test_every_argument_is_known_to_the_real_parser() -> None:
    flags = known_flags()
    given = [argument for argument in ENGINE.args(launch(**EVERYTHING)) if re.match(r"--?[a-z]", argument)]
    assert len(given) > 15
    assert set(given) <= flags
    bare = {flag.lstrip("-") for flag in flags}
    assert set(ENGINE.reserved_args) <= bare


def test_every_flag_that_is_set_is_reserved() -> None:
    unset = {"generation": EVERYTHING["engine"]["generation"]}
    given = [argument[2:] for argument in ENGINE.args(launch(engine=unset)) if argument.startswith("--")]
    assert set(given) - set(ENGINE.reserved_args) == {"chat-template-file"}


def test_arguments_follow_plan_and_spec() -> None:
    given = ENGINE.args(launch(**EVERYTHING))
    pairs = dict(pairwise(given))
    assert pairs["--ctx-size"] == "4096"
    assert pairs["--parallel"] == "2"
    assert pairs["--threads"] == pairs["--threads-batch"] == "16"
    assert pairs["--alias"] == "chat"
    assert pairs["--model"] == "/models/model.gguf"
    assert pairs["--cache-ram"] == "0"
    assert (pairs["--temp"], pairs["--top-p"], pairs["--top-k"], pairs["--n-predict"]) == (
        "0.2",
        "0.9",
        "20",
        "256",
    )
    assert given[-5:] == ["--no-perf", "-s", "7", "--slot-prompt-similarity", "0.2"]


def test_without_wishes_nothing_of_generation_is_set() -> None:
    given = ENGINE.args(launch())
    assert not {"--temp", "--top-p", "--top-k", "--n-predict", "--chat-template-file"} & set(given)
    assert ENGINE.command(launch()) == ["/usr/bin/llama-server"]
    assert ENGINE.env(launch()) == {"HOME": "/tmp"}  # noqa: S108 - the pod's own


def test_image() -> None:
    settings = Settings(images=Images(llamacpp="site/llama@sha256:1"))
    assert image_of(settings, spec(), plan()) == "site/llama@sha256:1"
    assert image_of(settings, spec(engine={"image": "own/llama:2"}), plan()) == "own/llama:2"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ctx-size", "spec.engine.contextLength"),
        ("ctx_size", "spec.engine.contextLength"),
        ("c", "spec.engine.contextLength"),
        ("threads", "spec.engine.resources.cpu"),
        ("api-key", "spec.access.allowFrom"),
        ("hf-repo", "spec.model.source"),
        ("metrics", "itself"),
    ],
)
def test_reserved_arguments_are_refused_with_the_field_to_use(name: str, words: str) -> None:
    found = problems(spec(engine={"args": {name: "1"}}))
    assert [one.reason for one in found] == ["ReservedArgument"]
    assert found[0].path == f"spec.engine.args.{name}"
    assert words in found[0].message


@pytest.mark.parametrize("name", ["--seed", "-s", "seed=7", "se ed", "-"])
def test_arguments_are_names(name: str) -> None:
    assert [one.reason for one in problems(spec(engine={"args": {name: "1"}}))] == ["InvalidSpec"]


def test_a_system_prompt_and_an_own_template_exclude_each_other() -> None:
    own = {"args": {"chat-template-file": "/x"}}
    assert problems(spec(engine=own)) == []
    found = problems(spec(engine={**own, "generation": {"systemPrompt": "Be brief."}}))
    assert [one.reason for one in found] == ["ReservedArgument"]
    assert "spec.engine.generation.systemPrompt" in found[0].message


def test_all_problems_at_once_and_unknown_engines() -> None:
    found = problems(spec(engine={"args": {"port": "1", "host": "::", "seed": "7"}}))
    assert {one.path.rsplit(".", 1)[1] for one in found} == {"port", "host"}
    assert problems(spec(engine={"args": {"seed": "7"}})) == []
    unknown: Problem = problems(spec(engine={"name": "llama-cpp"}))[0]
    assert unknown.reason == "UnknownEngine"
    assert "did you mean llamacpp" in unknown.message


def test_startup_budget_grows_with_the_weights() -> None:
    small = ENGINE.startup_probe(launch())
    large = ENGINE.startup_probe(replace(launch(), plan=plan("llama2-70b")))
    assert 120 <= small["failureThreshold"] * small["periodSeconds"] < 180
    assert large["failureThreshold"] * large["periodSeconds"] > 40e9 / 20e6
    assert large["timeoutSeconds"] > small["timeoutSeconds"]
    assert small["periodSeconds"] <= 2


@pytest.fixture
def shell(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a command with a fake ``curl`` (a script) and a ``sleep`` that only counts."""
    (tmp_path / "sleep").write_text(f"#!/bin/sh\necho $1 >> {tmp_path}/slept\n")
    (tmp_path / "sleep").chmod(0o755)

    def run(command: Any, curl: str, **env: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / "curl").write_text(f"#!/bin/sh\ncd {tmp_path}\n{curl}\n")
        (tmp_path / "curl").chmod(0o755)
        path = f"{tmp_path}:/usr/bin:/bin"
        return subprocess.run(
            list(command), capture_output=True, text=True, check=False, timeout=30, env={"PATH": path, **env}
        )

    return run


def slept(tmp_path: Path) -> list[str]:
    return (tmp_path / "slept").read_text().split()


def test_startup_probe_needs_a_generated_token(shell: Callable[..., Any], tmp_path: Path) -> None:
    command = ENGINE.startup_probe(launch())["exec"]["command"]
    answer = """echo "$@" > asked; echo '{"content":"-","tokens_predicted":1,"stop":true}'"""
    assert shell(command, answer).returncode == 0
    asked = (tmp_path / "asked").read_text()
    assert '"n_predict":1' in asked
    assert asked.endswith("http://127.0.0.1:8080/completion\n")
    assert shell(command, """echo '{"content":"","tokens_predicted":0}'""").returncode != 0
    assert shell(command, """echo '{"status":"ok"}'""").returncode != 0
    assert shell(command, "exit 22").returncode != 0


@pytest.fixture
def caller() -> Iterator[tuple[socket.socket, int]]:
    """A connection to a server, and the server's port."""
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as client,
    ):
        accepted, _ = server.accept()
        with accepted:
            yield client, server.getsockname()[1]


def drain(port: int, bound: int = 300) -> list[str]:
    """The hook's command, on another port than the engine's."""
    assert ENGINE.drain.pre_stop[2] == lifecycle.WAIT.format(removal=5, bound=300, port="1F90")
    return ["/bin/sh", "-c", lifecycle.WAIT.format(removal=0, bound=bound, port=f"{port:04X}")]


def test_drain_waits_until_nobody_is_connected(caller: tuple[socket.socket, int]) -> None:
    client, port = caller
    with subprocess.Popen(drain(port)) as hook:
        with pytest.raises(subprocess.TimeoutExpired):
            hook.wait(2.5)  # more than two looks
        client.close()
        assert hook.wait(30) == 0


def test_drain_ends_at_once_when_nobody_is_connected(
    shell: Callable[..., Any], caller: tuple[socket.socket, int], tmp_path: Path
) -> None:
    client, port = caller
    client.close()
    assert shell(drain(port), "exit 1").returncode == 0
    assert slept(tmp_path) == ["0"]


def test_drain_is_bounded(
    shell: Callable[..., Any], caller: tuple[socket.socket, int], tmp_path: Path
) -> None:
    fake_date = tmp_path / "date"
    fake_date.write_text(
        f"#!/bin/sh\nt=$(cat {tmp_path}/t 2>/dev/null || echo 0); echo $((t + 50)) > {tmp_path}/t; echo $t\n"
    )
    fake_date.chmod(0o755)
    assert shell(drain(caller[1]), "exit 1").returncode == 0
    assert slept(tmp_path) == ["0", *["1"] * 5]
    assert ENGINE.drain.grace_seconds > 5 + 300


def test_prologue_puts_the_prompt_before_the_models_template(
    shell: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "chat_template.jinja").write_text("{% for message in messages %}{% endfor %}")
    started = Launch(spec(**EVERYTHING), plan(**EVERYTHING), "chat", str(tmp_path))
    command = [
        part.replace(llamacpp.WRITTEN_TEMPLATE, f"{tmp_path}/chat.jinja") for part in ENGINE.command(started)
    ]
    command[-1] = "/bin/echo"
    done = shell([*command, "--port", "8080"], "", **ENGINE.env(started))
    assert done.stdout == "--port 8080\n"
    written = (tmp_path / "chat.jinja").read_text()
    assert written == chat.chat_prefix("Be brief.") + "{% for message in messages %}{% endfor %}"


def test_prologue_says_when_there_is_no_template(shell: Callable[..., Any], tmp_path: Path) -> None:
    started = Launch(spec(**EVERYTHING), plan(**EVERYTHING), "chat", str(tmp_path))
    done = shell(ENGINE.command(started), "", **ENGINE.env(started))
    assert done.returncode == 78
    assert "systemPrompt" in done.stderr


DEVICES = {
    "a device": (
        "Available devices:\\n  Vulkan0: Intel(R) Arc(tm) A770 (DG2) (16288 MiB, 15000 MiB free)",
        0,
    ),
    "as SYCL says it": ("Available devices:\\n  SYCL0: Intel(R) Data Center GPU Max 1550 (62244 MiB, …)", 0),
    "none": ("ggml_vulkan: No devices found.\\nAvailable devices:\\n  (none)", 78),
    "nothing": ("Available devices:", 78),
    "no driver": ("terminate called: vk::createInstance: ErrorIncompatibleDriver", 78),
}


@pytest.mark.parametrize(("listed", "code"), DEVICES.values(), ids=DEVICES)
@pytest.mark.parametrize("prompt", [False, True])
def test_without_its_device_intels_server_does_not_go_on_with_the_cpu(
    shell: Callable[..., Any], tmp_path: Path, listed: str, code: int, *, prompt: bool
) -> None:
    (tmp_path / "chat_template.jinja").write_text("{{ messages }}")
    server = tmp_path / "llama-server"
    server.write_text(f"""#!/bin/sh
if [ "$1" = --list-devices ]; then printf '{listed}\\n'; else echo "$@"; fi
""")
    server.chmod(0o755)
    fields = EVERYTHING if prompt else {}
    node = node_facts(gpu_node("arc-a770", "a"))
    asked = spec(**{**fields, "engine": {**fields.get("engine", {}), "name": "llamacpp"}})
    given = Launch(asked, decide(asked, MODELS["llama3-8b"], [node], Settings()), "chat", str(tmp_path))
    command = [
        part.replace("/app/llama-server", str(server)).replace(llamacpp.WRITTEN_TEMPLATE, f"{tmp_path}/c")
        for part in ENGINE.command(given)
    ]
    done = shell([*command, "--port", "8080"], "", **ENGINE.env(given))
    assert done.returncode == code, done.stderr
    assert done.stdout == ("" if code else "--port 8080\n")
    assert not code or "error: llama.cpp sees no device: may user" in last_error(done.stderr)


def test_system_prompt_is_one_jinja_literal() -> None:
    prefix = chat.chat_prefix('It\'s "a\\b".\r\n\t{{ x }} %}')
    assert "'content': 'It\\'s \"a\\\\b\".\\r\\n\\t{{ x }} %}'" in prefix
    assert "\n" not in prefix


def test_layers_on_a_device_and_all_wishes_pass_the_real_parser() -> None:
    node = node_facts(gpu_node("rtx-4060-laptop", "laptop"))
    wish = {
        "name": "llamacpp", "contextLength": 2048, "kvCacheDtype": "q8_0", "prefixCaching": False,
        "speculative": {"tokens": 7}, "generation": {"temperature": "0.1"},
    }  # fmt: skip
    asked = spec(engine=wish)
    found = decide(asked, MODELS["llama2-13b"], [node], Settings())
    assert found.accelerator is not None
    args = ENGINE.args(Launch(asked, found, "chat", "/models"))
    assert check_arguments("llama-server", args) == []
    given = dict(pairwise(args))
    assert given["--n-gpu-layers"] == str(found.gpu_layers)
    assert (given["--cache-type-v"], given["--flash-attn"]) == ("q8_0", "on")
    assert (given["--spec-ngram-simple-size-m"], given["--spec-ngram-simple-size-n"]) == ("7", "4")
    assert "--no-cache-prompt" in args
    assert ENGINE.command(Launch(asked, found, "chat", "/models")) == ["/app/llama-server"]
    whole = decide(spec(), MODELS["llama3-8b"], [node], Settings())
    assert dict(pairwise(ENGINE.args(Launch(spec(), whole, "chat", "/models"))))["--n-gpu-layers"] == "999"
    assert check_arguments("llama-server", ENGINE.args(launch(**EVERYTHING))) == []
