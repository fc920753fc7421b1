"""The command ``slipway-runtime STAGE``, what every Job's container runs; also for runs by hand."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

from slipway_runtime import __version__
from slipway_runtime.contract import EMBEDDINGS, ROLES, STAGES, Exit

if TYPE_CHECKING:
    import argparse

SUMMARIES = {
    "inspect": "resolve the revision to a commit and read the model's facts, without its weights",
    "recall": "look whether the registry has the artifact already",
    "fetch": "download the commit's files into the store; resumes where a killed try stopped",
    "merge": "fold LoRA adapters into the model's weights",
    "prune": "remove weights or layers that the model misses least",
    "distill": "teach a smaller model what the model says",
    "convert": "turn the fetched files into one GGUF file of 16-bit floats",
    "imatrix": "measure which weights of the parent's GGUF file matter",
    "quantize": "bring the parent's GGUF file to a lower level",
    "evaluate": "measure perplexity on the image's text, and the distance from the unquantised model",
    "publish": "verify the result, add its manifest and chat template, and show it whole at once",
    "push": "copy the published artifact to the registry, as an image that nodes mount",
    "benchmark": "load the served model at each concurrency and report TTFT, tokens/s and errors",
}
EPILOG = f"""\
Everything else comes by environment:
  SLIPWAY_SOURCE            hf://ORG/NAME, s3://BUCKET/FOLDER, https://HOST/NAME.gguf#sha256=HEX,
                            oci://REGISTRY/NAME:TAG, ollama://NAME:TAG   (inspect, fetch)
  SLIPWAY_REVISION          branch, tag, commit or pin; main  (inspect, fetch: the commit or pin)
  SLIPWAY_ROLE              of a source beside another one: {", ".join(ROLES)}   (inspect)
  SLIPWAY_TRUST_REMOTE_CODE true: with the repository's own Python files   (inspect, fetch)
  HF_ENDPOINT               another hub than the public one   (inspect, fetch)
  SLIPWAY_ENDPOINT_S3       another service than AWS          (inspect, fetch)
  SLIPWAY_S3_REGION         us-east-1                         (inspect, fetch)
  SLIPWAY_ENDPOINT_MODELSCOPE, _OCI, _OLLAMA   in place of the public service   (inspect, fetch)
  SLIPWAY_ENDPOINT_HTTPS    a mirror: URL/HOST/PATH is asked  (inspect, fetch)
  SLIPWAY_ENDPOINT_OCI, SLIPWAY_ENDPOINT_OLLAMA   a mirror, asked with ns=REGISTRY   (inspect, fetch)
  SLIPWAY_ALLOWED_HOSTS     hub.example.com,.example.org; all (inspect, fetch)
  SLIPWAY_ORIGIN=/origin    where the claim of pvc:// is      (inspect, fetch)
  SLIPWAY_CA_FILE           authorities trusted beside the public ones   (inspect, fetch)
  SLIPWAY_METHOD            gguf, awq, merge, ...             (all but inspect and fetch)
  SLIPWAY_LEVEL             Q4_K_M, Q8_0, W4A16, ...          (the same; fetch: of GGUF files)
  SLIPWAY_OPTIONS           {{"groupSize": "128"}}              (the same)
  SLIPWAY_PUSH_TO           oci://REGISTRY/NAME[:TAG], an image for nodes to mount   (recall, push)
  SLIPWAY_ENDPOINT_PUSH     where that registry is reached, if not by its name        (recall, push)
  SLIPWAY_COPY=true, SLIPWAY_DIGEST   the source is an image that push made, of this artifact   (fetch)
  SLIPWAY_EXPECTED_BYTES    bytes to be written, for the check of free space
  SLIPWAY_THREADS           threads of llama.cpp's tools; the CPU limit
  SLIPWAY_IMATRIX_CHUNKS    windows of 512 tokens for an importance matrix
  SLIPWAY_EVALUATE_CHUNKS   windows of 512 tokens to measure
  SLIPWAY_WORK_BYTES        room for what the unquantised model says of them   (evaluate)
  SLIPWAY_ENDPOINT, SLIPWAY_MODEL_NAME, SLIPWAY_CONCURRENCIES=1,4, SLIPWAY_PROMPT_TOKENS=128,
  SLIPWAY_OUTPUT_TOKENS=32, SLIPWAY_BENCHMARK_SECONDS=20      (benchmark)
  SLIPWAY_BENCHMARK_ROUTE   {EMBEDDINGS} for a model that makes vectors   (benchmark)
  SLIPWAY_METRICS_PATH=/metrics, SLIPWAY_METRICS_PREFIX=llamacpp:   (benchmark)
  SLIPWAY_GUESSES           counters of taken and of guessed tokens   (benchmark)
  A Secret's keys           files beside SLIPWAY_TOKEN_FILE   (inspect, fetch)
  SLIPWAY_STORE=/store, SLIPWAY_PARENT=/parent, SLIPWAY_TOKEN_FILE=/credentials/token,
  SLIPWAY_TERMINATION_LOG=/dev/termination-log                (to run a stage by hand)

The result is one JSON object in the termination log. Exit codes:
  {Exit.OK:d}    done
  {Exit.DATA:d}   the model's files are wrong        {Exit.NO_INPUT:d}   not found
  {Exit.NO_SPACE:d}   the store is full                  {Exit.NO_PERMISSION:d}   no access
  {Exit.CONFIG:d}   the request is wrong
  {Exit.TRANSIENT:d}   try again                          143  stopped by SIGTERM
  {Exit.INTERNAL:d}   a bug of ours or of a tool

By hand, a source artifact and its GGUF file:
  export SLIPWAY_SOURCE=hf://HuggingFaceTB/SmolLM2-135M-Instruct SLIPWAY_TERMINATION_LOG=result.json
  slipway-runtime inspect && cat result.json
  SLIPWAY_REVISION=<the commit> SLIPWAY_STORE=source slipway-runtime fetch
  SLIPWAY_PARENT=source SLIPWAY_STORE=f16 slipway-runtime convert
"""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser: one subcommand a stage, none of which takes arguments."""
    import argparse

    parser = argparse.ArgumentParser(
        prog="slipway-runtime",
        description="Runs one stage of a Slipway Job.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"slipway-runtime {__version__}")
    stages = parser.add_subparsers(dest="stage", metavar="STAGE", required=True)
    for stage in STAGES:
        stages.add_parser(stage, help=SUMMARIES[stage], description=SUMMARIES[stage])
    return parser


def read_stage(words: Sequence[str]) -> str:
    """Return the stage that the words name; a Job's single word needs no parser, whose import takes 10 ms."""
    if len(words) == 1 and words[0] in STAGES:
        return words[0]
    return str(build_parser().parse_args(words).stage)


def main() -> NoReturn:
    """Run the stage that the command line names, and end the process."""
    stage = read_stage(sys.argv[1:])
    from slipway_runtime.stage import run_stage

    code = run_stage(stage, os.environ)
    sys.stdout.flush()
    sys.stderr.flush()
    # Not sys.exit: it would wait for download threads that a SIGTERM left behind.
    os._exit(code)


if __name__ == "__main__":
    main()
