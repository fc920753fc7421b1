"""Writes docs/methods.md from methods and engines: ``python -m slipway.cli._methods_page``."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence

from slipway.api.optimize import AT_LOAD, CALIBRATED, FOLDERS, GROUPED
from slipway.engines import ENGINES
from slipway.plan.facts import EngineFacts
from slipway.plan.methods import method_at

HEAD = """\
# Methods

`spec.optimize.method` says how weights are made smaller, `level` how far. `auto` leaves both to the
planner. This page is written by `python -m slipway.cli._methods_page > docs/methods.md`; a test compares
it with the code.

    spec:
      optimize:
        method: awq                    # Job: AWQ by llmcompressor
        groupSize: 64                  # default: the largest of 128, 64, 32 that divides every layer
        calibration: {samples: 128, sequenceLength: 512}

`gguf` is llama.cpp's and has levels of its own. The methods below leave a folder in Hugging Face's
layout: safetensors as compressed-tensors, with the source's own tokenizer, chat template and generation
defaults. Output layer, embeddings and the gates of a mixture of experts stay at 16 bits. Each is measured
before it is published. Models that see or hear, or make vectors, are not made: name a repository that is
quantised already.

Jobs for these run on CPU, also where nodes have GPUs."""
FOOT = """\
## Groups

Weights of `awq` and `gptq` share a scale in groups. A size that leaves a rest in some layer is refused
before anything is loaded (`GroupSize`); without one the largest of 128, 64 and 32 is taken that divides
all of them, and `status.made.groupSize` of the ModelArtifact says which. SmolLM2's hidden size of 576 is
no multiple of 128: it gets 64. NVFP4 has groups of 16, MXFP4 of 32; a model that these don't divide is
refused.

## Calibration

{samples} pieces of {tokens} tokens are run through the model unless `calibration` says otherwise. The text
is in the image: chapters of *Tom Sawyer*, in the public domain. Perplexity is measured on other chapters
of the same book: no line is in both, yet the same author flatters a little.

A text of one's own is better for a model that is to write code, or another language:

    calibration:
      source: hf://datasets/ORG/NAME   # any scheme that models have, too
      revision: v1                     # pinned to a commit, as the model

Files that end in `.txt`, `.jsonl` or `.parquet` are read, rows of the latter by their `text` or, through the
model's chat template, `messages`; of more than a gigabyte the first files in the order of their names. It is
an artifact of its own that models share. `CalibrationEmpty` and `CalibrationUnreadable` say what is wrong
with one.

The pieces and every random number are the same each time. Of the same source and recipe, one version of the
image made the same bytes again on one machine; other processors may sum in another order.

## FP8

`method: fp8` costs no Job where the engine makes it of 16-bit weights while it loads them. A Job makes it
when `level: FP8_STATIC` or `calibration` asks for scales of activations that are measured beforehand, or
where the engine can't. With `spec.engine.kvCacheDtype: fp8`, FP8_STATIC has scales of keys and values,
too."""


def page() -> Iterator[str]:
    """The page's paragraphs."""
    from slipway_runtime.methods._recipes import SAMPLES, TOKENS

    yield HEAD
    yield "## What each makes"
    yield "Bits count scales. The loss is the field's published increase in perplexity, no figure of ours."
    yield _table(("Method", "Level", "Bits a weight", "Loss", "Reads a text", "Options"), _methods())
    yield "## Which engine reads what"
    yield (
        "`Job`: it reads what a Job makes. `at load`: it makes it itself. `own`: it loads models that come\n"
        "so in a format of their method's own, and not what Jobs write, as far as its makers say."
    )
    yield _table(("Engine", "On", *_levels()), _engines())
    yield FOOT.format(samples=SAMPLES, tokens=TOKENS)


def _methods() -> Iterator[tuple[str, ...]]:
    for name, levels in FOLDERS.items():
        for level in levels:
            found = method_at(name, level)
            options = ["groupSize", "symmetric"] if name in GROUPED else []
            options += ["actOrder"] if name == "gptq" else []
            reads = level in CALIBRATED.get(name, ())
            options += ["calibration"] if reads else []
            loss = f"{found.loss:g}%"
            yield name, level, f"{found.bits:g}", loss, "yes" if reads else "", ", ".join(options)
    for name, levels in AT_LOAD.items():
        for level in levels:
            found = method_at(name, level)
            yield name, level, f"{found.bits:g}", f"{found.loss:g}%", "", "by the engine alone"


def _levels() -> tuple[str, ...]:
    return tuple(
        dict.fromkeys(level for levels in (*FOLDERS.values(), *AT_LOAD.values()) for level in levels)
    )


def _engines() -> Iterator[tuple[str, ...]]:
    for name, engine in ENGINES.items():
        for accelerator in engine.facts.loads:
            cells = tuple(_cell(engine.facts, accelerator, level) for level in _levels())
            if any(cells):
                yield name, accelerator, *cells


def _cell(facts: EngineFacts, accelerator: str, level: str) -> str:
    """What an engine does with a level there; empty for nothing."""
    loads = {one.method: one for one in facts.loads[accelerator]}
    of = [name for name, levels in {**FOLDERS, **AT_LOAD}.items() if level in levels and name in loads]
    usual = [name for name in of if level == method_at(name).level]
    said = ["at load"] if any(loads[name].at_load for name in usual) else []
    if level in facts.reads.get(accelerator, ()):
        said.append("Job")
    elif usual and not said:
        said.append("own")
    return ", ".join(said)


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = (f"| {' | '.join(row)} |" for row in (columns, ["---"] * len(columns), *rows))
    return "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write("\n\n".join(page()) + "\n")
