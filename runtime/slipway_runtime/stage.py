"""Runs one stage: inputs in, result and exit code out, whatever happens inside. Called by ``__main__``."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from slipway_runtime import contract, files, log
from slipway_runtime.errors import StageError, TerminatedError, ToolError
from slipway_runtime.job import Job, read_job
from slipway_runtime.progress import Progress, format_seconds

STAGE_FUNCTIONS = {
    "inspect": "slipway_runtime.inspection:inspect",
    "recall": "slipway_runtime.stores:recall",
    "fetch": "slipway_runtime.fetch:fetch",
    "merge": "slipway_runtime.methods:run",
    "prune": "slipway_runtime.methods:run",
    "distill": "slipway_runtime.methods:run",
    "convert": "slipway_runtime.methods:run",
    "imatrix": "slipway_runtime.methods:run",
    "quantize": "slipway_runtime.methods:run",
    "evaluate": "slipway_runtime.evaluate:evaluate",
    "publish": "slipway_runtime.publish:publish",
    "push": "slipway_runtime.stores:push",
    "benchmark": "slipway_runtime.benchmark.load:benchmark",
}
"""Where each stage's function lives; imported only when it runs, since each has heavy imports of its own."""
WRITERS = frozenset(contract.STAGES) - {"inspect", "recall", "push", "benchmark"}
"""The stages that write to the store."""


def run_stage(stage: str, environment: Mapping[str, str], clock: Callable[[], float] = time.monotonic) -> int:
    """Run a stage and write its result to the termination log.

    Returns:
        The exit code: 0, one of ``contract.Exit``, or 143 after SIGTERM.
    """
    signal.signal(signal.SIGTERM, _terminate)
    began = clock()
    secrets: tuple[str, ...] = ()
    log.configure(stage, secrets)
    try:
        job = read_job(stage, environment, lambda name: Progress(name, sys.stdout, clock))
        secrets = job.secrets()
        log.configure(stage, secrets)
        log.LOGGER.info("%s of %s begins", stage, log.plain(job.source) or job.model_name or "the model")
        with files.alone(job.store) if stage in WRITERS else nullcontext():
            result = log.redact_values({"ok": True, "stage": stage, **_function(stage)(job)}, secrets)
        require_room(result)
        code = int(contract.Exit.OK)
        log.LOGGER.info("%s done in %s: %s", stage, format_seconds(clock() - began), json.dumps(result))
    except StageError as error:
        result, code = failure(stage, error.reason, error.message), int(error.code)
        log.LOGGER.error("%s failed: %s: %s", stage, error.reason, error.message)
    except TerminatedError:
        message = "the pod was asked to stop; the next try goes on from here"
        result, code = failure(stage, "Terminated", message), contract.TERMINATED
        log.LOGGER.warning("%s stopped: %s", stage, message)
    except Exception as error:  # noqa: BLE001 - the last line: every end must leave a result
        message = f"{type(error).__name__}: {error}. This is a bug: the Job's log has the traceback"
        result, code = failure(stage, "InternalError", message), int(contract.Exit.INTERNAL)
        log.LOGGER.exception("%s failed", stage)
    path = Path(environment.get("SLIPWAY_TERMINATION_LOG") or contract.TERMINATION_LOG)
    write_result(path, log.redact_values(result, secrets))
    return code


def require_room(result: dict[str, Any]) -> None:
    """Refuse a result that the operator could not read whole: what names something bounds it where it reads.

    Raises:
        ToolError: InternalError, with the longest of what is in it.
    """
    size = len(_encode(result).encode())
    if size <= contract.RESULT_LIMIT:
        return
    parts = result.get("facts", result).items()
    longest = max(parts, key=lambda item: len(json.dumps(item[1])))[0]
    raise ToolError(
        "InternalError",
        f"the result has {size} bytes, and {contract.RESULT_LIMIT} are kept of it: {longest} is too long. "
        "What the model says of itself there has to be shorter",
    )


def failure(stage: str, reason: str, message: str) -> dict[str, Any]:
    """Return the result of a stage that failed."""
    return {"ok": False, "stage": stage, "reason": reason, "message": message}


def write_result(path: Path, result: dict[str, Any]) -> None:
    """Write the result as one line of JSON; a message too long for it loses its middle, never its JSON.

    Secrets are out of it already: of one at the cut the half would stay.

    The kubelet reads the file after the container ended, so a plain write is enough; it can't be renamed,
    since it is a mount.
    """
    text = _encode(result)
    message, kept = result.get("message", ""), contract.RESULT_LIMIT
    while len(text.encode()) > contract.RESULT_LIMIT and kept:
        kept = kept * 9 // 10  # escapes and UTF-8 make bytes of a character's length anyone's guess
        half = kept // 2
        text = _encode({**result, "message": f"{message[:half]} … {message[len(message) - half :]}"})
    path.write_text(text, encoding="utf-8")


def _encode(result: dict[str, Any]) -> str:
    return json.dumps(result, ensure_ascii=False, separators=(",", ":"))


def _function(stage: str) -> Callable[[Job], dict[str, Any]]:
    module, name = STAGE_FUNCTIONS[stage].split(":")
    function: Callable[[Job], dict[str, Any]] = getattr(import_module(module), name)
    return function


def _terminate(_number: int, _frame: FrameType | None) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough: a second one would break the clean-up
    raise TerminatedError
