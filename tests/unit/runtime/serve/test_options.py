"""The command line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from slipway_runtime.serve.loading import local
from slipway_runtime.serve.options import CONCURRENCY, Options, read_options

GIVEN = ["--model", "/model", "--name", "smol"]


def test_defaults() -> None:
    assert read_options(GIVEN) == Options(Path("/model"), "smol", concurrency=CONCURRENCY)


def test_everything() -> None:
    words = (
        "--host 127.0.0.1 --port 9 --dtype bfloat16 --context-length 64 --concurrency 2 --threads 3 "
        "--device cpu --quantization nf4 --max-new-tokens-default 5 --system-prompt Hi --temperature 0.5 "
        "--top-p 0.9 --top-k 4"
    )
    options = read_options([*GIVEN, *words.split(), "--attention", "eager"])
    assert options == Options(
        Path("/model"),
        "smol",
        "127.0.0.1",
        9,
        "bfloat16",
        64,
        2,
        3,
        "cpu",
        "nf4",
        5,
        "Hi",
        0.5,
        0.9,
        4,
        "eager",
    )


@pytest.mark.parametrize(
    "words",
    [
        ["--temperature", "nan"],
        ["--temperature", "3"],
        ["--top-p", "1.1"],
        ["--top-k", "-1"],
        ["--concurrency", "0"],
        ["--port", "70000"],
        ["--threads", "many"],
        ["--dtype", "int4"],
    ],
)
def test_what_makes_no_sense_is_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        read_options([*GIVEN, *words])
    assert words[0] in capsys.readouterr().err


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import runpy, sys\n"
        "sys.argv = ['serve', '--help']\n"
        "try: runpy.run_module('slipway_runtime.serve', run_name='__main__')\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch', 'transformers', 'fastapi', 'uvicorn', 'pydantic'} & set(sys.modules)))\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("trusts", [False, True])
def test_the_models_own_code_runs_only_when_it_is_trusted(*, trusts: bool) -> None:
    options = read_options([*GIVEN, *(["--trust-remote-code"] if trusts else [])])
    assert local(options) == {"local_files_only": True, "trust_remote_code": trusts}
