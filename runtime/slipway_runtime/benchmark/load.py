"""The stage benchmark: a short load on the served model at each concurrency, by guidellm. Called by stage.py.

guidellm makes synthetic prompts with the model's own tokenizer, sends them to ``/v1/chat/completions``, and
writes a report, of which a few figures are kept. Nothing is asked of any hub. A model that makes vectors is
measured by embeddings.py.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from slipway_runtime import files
from slipway_runtime.benchmark import embeddings, guesses
from slipway_runtime.benchmark.endpoint import (
    METRIC_PREFIX,
    METRICS_PATH,
    NEVER,
    Load,
    read_load,
    read_metrics,
    require_answer,
)
from slipway_runtime.errors import ToolError
from slipway_runtime.gguf_files import ENDING
from slipway_runtime.gguf_tokenizer import write_tokenizer
from slipway_runtime.job import Job
from slipway_runtime.log import LOGGER
from slipway_runtime.tool import find_program, run_tool
from slipway_runtime.weights import CONFIG

MAX_REQUESTS = 100
"""At one concurrency; a fast server ends the measurement before its time is over."""
UPDATE = re.compile(r"Benchmark (\d+) .*elapsed=([\d.]+)s .*successful=(\d+) errored=(\d+)")


def benchmark(job: Job) -> dict[str, Any]:
    """Measure the endpoint.

    Returns:
        ``{"tool", "levels", "metricsOk"}``: the tool with its version; for each concurrency the figures of
        ``read_level`` (of an embedding model those of ``embeddings.read_level``); and whether ``/metrics``
        answered with the engine's names. With speculative decoding also ``{"acceptanceRate"}``, see
        ``guesses``.
    """
    load = read_load(job)
    require_answer(load.endpoint)
    path = job.environment.get("SLIPWAY_METRICS_PATH") or METRICS_PATH
    prefix = job.environment.get("SLIPWAY_METRICS_PREFIX") or METRIC_PREFIX
    counters = guesses.read_counters(job.environment)
    before = read_metrics(load.endpoint, path)
    measure = embeddings.measure if load.vectors else measure_text
    tool, levels = measure(job, load)
    for level in levels:
        LOGGER.info("%s", ", ".join(f"{name} {figure}" for name, figure in level.items()))
    metrics_ok = any(line.startswith(prefix) for line in (before or "").splitlines())
    found = {"tool": tool, "levels": levels, "metricsOk": metrics_ok}
    if counters is None:
        return found
    looks = (guesses.counted(metrics, counters) for metrics in (before, read_metrics(load.endpoint, path)))
    rate = guesses.acceptance(*looks)
    return found | ({"acceptanceRate": rate} if rate else {})


def measure_text(job: Job, load: Load) -> tuple[str, list[dict[str, Any]]]:
    """Return guidellm with its version, and the figures of ``read_level`` for each concurrency."""
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        tokenizer = find_tokenizer(job.parent_published, Path(folder) / "tokenizer")
        report = run_load(job, load, tokenizer, Path(folder))
    version = report.get("metadata", {}).get("guidellm_version", "")
    return f"guidellm {version}".strip(), [read_level(measured) for measured in report["benchmarks"]]


def find_tokenizer(source: Path, made: Path) -> Path:
    """Return the folder of the model's tokenizer; of a source that came as GGUF one is made from the file."""
    models = sorted(source.glob(f"model*{ENDING}"))
    if models and not (source / CONFIG).is_file():
        return write_tokenizer(models[0], made)
    files.require_file(source / CONFIG, "fetch of the source artifact")
    return source


def run_load(job: Job, load: Load, tokenizer: Path, folder: Path) -> dict[str, Any]:
    """Run guidellm in the folder and return its report; ToolError LoadToolFailed when there is none."""
    path = folder / "report.json"
    count = len(load.concurrencies)

    def on_line(line: str) -> None:
        if match := UPDATE.search(line):
            index, elapsed, succeeded, failed = match.groups()
            share = min(1.0, float(elapsed) / max(1, load.seconds))
            job.progress.report(round(100 * (int(index) - 1 + share)), 100 * count)
            LOGGER.info("measurement %s of %d: %s answered, %s failed", index, count, succeeded, failed)

    command = build_command(load, tokenizer, path)
    outcome = run_tool(command, on_line, tool_environment(load, folder), cwd=folder)
    report = files.read_json(path)
    if outcome.code != 0 or report is None or len(report.get("benchmarks") or ()) != count:
        raise ToolError(
            "LoadToolFailed",
            f"guidellm ended with code {outcome.code}. Its last words:\n{outcome.last_words}",
        )
    return report


def build_command(load: Load, tokenizer: Path, report: Path) -> list[str]:
    """Return guidellm's command line; constraints hold for each concurrency by itself."""
    beside = Path(sys.executable).with_name("guidellm")
    streams = ",".join(str(streams) for streams in load.concurrencies)
    prompt, output = load.prompt_tokens, load.output_tokens
    return [
        *(str(beside) if beside.exists() else find_program("guidellm"), "run"),
        # It would ask /health, which not every engine has; require_answer has seen that the endpoint lives.
        *("--backend", f"kind=openai_http,target={load.endpoint},model={load.model},validate_backend=false"),
        *("--tokenizer", f"kind=huggingface_auto,model={tokenizer}"),
        *("--profile", f"kind=concurrent,streams={load.concurrencies[0]}"),
        *("--override", "profile.streams", streams),
        *("--constraint", f"kind=max_requests,count={MAX_REQUESTS}"),
        *("--constraint", f"kind=max_duration,seconds={load.seconds}"),
        *("--data", f"kind=synthetic_text,prompt_tokens={prompt},output_tokens={output}"),
        # Another seed each time: the same prompts again would come from the server's prompt cache.
        *("--seed", f"kind=static,value={load.seed}"),
        *("--output", f"kind=json,path={report}"),
        "--disable-console-interactive",
    ]


def tool_environment(load: Load, folder: Path) -> dict[str, str]:
    """Return what guidellm needs: no hub, a writable home, one worker, no proxy before the Service."""
    host = urlsplit(load.endpoint).hostname or ""
    no_proxy = ",".join(filter(None, (os.environ.get("NO_PROXY") or os.environ.get("no_proxy"), host)))
    return {
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(folder / "hf"),
        "HOME": str(folder),
        "GUIDELLM__MAX_WORKER_PROCESSES": "1",
        "NO_PROXY": no_proxy,
        "no_proxy": no_proxy,
        "NO_COLOR": "1",
    }


def read_level(measured: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures of one concurrency from guidellm's report.

    Returns:
        ``{"concurrency", "requests", "errors"}`` as numbers, ``{"requestsPerSecond", "tokensPerSecond"}``
        (output tokens of answered requests) and ``{"ttftP50Ms", "ttftP95Ms"}`` as strings. Requests that the
        time bound cut count as neither answered nor failed; their first tokens count only where none was
        answered. ``inf``: no first token came.
    """
    metrics = measured["metrics"]
    totals = metrics["request_totals"]
    kind = "successful" if totals["successful"] else "incomplete"
    first = metrics["time_to_first_token_ms"][kind]
    percentiles = first["percentiles"] if first["count"] else {}
    return {
        "concurrency": int(measured["config"]["strategy"]["streams"]),
        "requests": int(totals["successful"]),
        "errors": int(totals["errored"]),
        "requestsPerSecond": f"{metrics['requests_per_second']['successful']['mean']:.2f}",
        "tokensPerSecond": f"{metrics['output_tokens_per_second']['successful']['mean']:.1f}",
        "ttftP50Ms": f"{percentiles['p50']:.0f}" if percentiles else NEVER,
        "ttftP95Ms": f"{percentiles['p95']:.0f}" if percentiles else NEVER,
    }
