"""The command line of the server, as a frozen dataclass. For ``__main__``."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

DTYPES = ("auto", "float32", "float16", "bfloat16")
DEVICES = ("auto", "cpu", "cuda", "xpu", "hpu", "npu")
QUANTIZATIONS = ("none", "nf4", "int8")
ATTENTIONS = ("sdpa", "eager", "flash_attention_2")
PORT = 8000
CONCURRENCY = 4
"""Requests that generate at once; each has its own KV cache, so memory grows with it."""

Number = TypeVar("Number", int, float)


@dataclass(frozen=True)
class Options:
    """What the server was started with.

    Attributes:
        model: folder with ``config.json``, a tokenizer and safetensors files.
        name: the served name; requests that name another model get 404.
        host: address to listen on.
        port: port to listen on.
        dtype: of the weights in memory; ``auto`` is what the model's config says.
        context_length: tokens of prompt and answer together; None is what the model's config says.
        concurrency: requests that generate at once.
        threads: of torch's operations on the CPU; None is torch's own choice.
        device: where the weights lie; ``auto`` takes the first accelerator that is there.
        quantization: of the weights while they are loaded, by bitsandbytes.
        max_new_tokens_default: for requests that bring no bound; None is each protocol's own default.
        system_prompt: for chats that bring none.
        temperature: for requests that bring none; None is what the model's generation config says.
        top_p: the same.
        top_k: the same.
        attention: implementation of attention; None is transformers' own choice.
        trust_remote_code: Python files of the model's folder may run.
    """

    model: Path
    name: str
    host: str = "0.0.0.0"  # noqa: S104 - a pod is reached from outside, and by its own probes
    port: int = PORT
    dtype: str = "auto"
    context_length: int | None = None
    concurrency: int = CONCURRENCY
    threads: int | None = None
    device: str = "auto"
    quantization: str = "none"
    max_new_tokens_default: int | None = None
    system_prompt: str | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    attention: str | None = None
    trust_remote_code: bool = False


def between(
    kind: Callable[[str], Number], low: Number, high: Number | None = None
) -> Callable[[str], Number]:
    """Return an argparse type: a number of this kind that is neither below `low` nor above `high`."""

    def read(text: str) -> Number:
        try:
            number = kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"must be a number, and is {text!r}") from None
        # Written so that NaN fails too.
        if not (low <= number and (high is None or number <= high)):
            bound = f"at least {low}" if high is None else f"from {low} to {high}"
            raise argparse.ArgumentTypeError(f"must be {bound}, and is {text}")
        return number

    return read


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m slipway_runtime.serve",
        description="Serves a model folder by transformers, with OpenAI's and TGI's protocols.",
    )
    add = parser.add_argument
    positive = between(int, 1)
    add("--model", type=Path, required=True, metavar="DIR", help="config, tokenizer and safetensors files")
    add("--name", required=True, help="served name; requests for another get 404")
    add("--host", default=Options.host, help="address to listen on")
    add("--port", type=between(int, 0, 65535), default=PORT, help="%(default)s")
    add("--dtype", choices=DTYPES, default="auto", help="of the weights; auto: the config's")
    add("--context-length", type=positive, metavar="N", help="prompt and answer; default: the config's")
    add("--concurrency", type=positive, default=CONCURRENCY, metavar="N", help="running at once; %(default)s")
    add("--threads", type=positive, metavar="N", help="torch's CPU threads")
    add("--device", choices=DEVICES, default="auto", help="auto: the first accelerator, else the CPU")
    add("--quantization", choices=QUANTIZATIONS, default="none", help="while loading, by bitsandbytes")
    add("--trust-remote-code", action="store_true", help="run Python files of the model's folder")
    add("--attention", choices=ATTENTIONS, help="default: transformers' choice")
    defaults = parser.add_argument_group("for requests that say nothing")
    add = defaults.add_argument
    add("--max-new-tokens-default", type=positive, metavar="N", help="bound of the answer")
    add("--system-prompt", metavar="TEXT", help="for chats without a system message")
    add("--temperature", type=between(float, 0.0, 2.0), help="0 is greedy")
    add("--top-p", type=between(float, 0.0, 1.0))
    add("--top-k", type=between(int, 0), help="0 is off")
    return parser


def read_options(words: Sequence[str] | None = None) -> Options:
    """Return the options that the words give; exits with code 2 and a message when they make no sense."""
    return Options(**vars(build_parser().parse_args(words)))
