"""A causal language model of transformers, asked for the log-probabilities of a window. For ``divergence``.

Imports torch when it is asked for something, never before.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from slipway_runtime.errors import DataError, ToolError
from slipway_runtime.evaluate.question import CONTEXT, SCORED, Question
from slipway_runtime.files import FULL
from slipway_runtime.log import LOGGER

LOCAL: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
FIRST = CONTEXT // 2
RANGE = 16.0
"""Nats below the likeliest token that are kept: llama.cpp's own; what is rarer adds 1e-7 at most."""
EDGE = 0.001
"""Of that range, what is taken for its end: a row is read back with errors of 0.0001."""
STEPS = 65535.0
HEAD_BYTES = 4
"""A row's largest log-probability, float32, before the row."""
FLOAT = 4
SLACK = 2 << 30
"""Bytes beside the weights: libraries, activations, logits of a window."""


def prepare(threads: int) -> None:
    """Set what the libraries read when they are imported."""
    os.environ.update(HF_HUB_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1", TOKENIZERS_PARALLELISM="false")
    import torch

    torch.set_num_threads(threads)


def read_windows(folder: Path, question: Question) -> list[list[int]]:
    """Return the text's first windows as ``CONTEXT`` tokens each, cut and begun as llama.cpp does it.

    The whole text is one sequence with the tokenizer's own first token; each window's first token is that one
    again, where the tokenizer has one.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, **LOCAL)
        tokens = tokenizer(question.text.read_text(encoding="utf-8"))["input_ids"]
    except (OSError, ValueError) as error:
        raise DataError("PerplexityFailed", f"transformers can't load the tokenizer: {error}") from error
    windows = [tokens[at : at + CONTEXT] for at in range(0, len(tokens) - CONTEXT + 1, CONTEXT)]
    if not windows:
        raise DataError("PerplexityFailed", f"the text has {len(tokens)} tokens, fewer than one window")
    start = tokenizer.bos_token_id
    if start is not None and tokens[0] == start:
        windows = [[start, *window[1:]] for window in windows]
    return windows[: question.chunks]


def load(folder: Path) -> Causal:
    """Return the model, computing in 32 bits where that fits the Job's memory, else in 16.

    Raises:
        ToolError: OutOfMemory, it fits in neither.
        DataError: PerplexityFailed, transformers can't load it.
    """
    import torch
    from transformers import AutoModelForCausalLM

    dtype = getattr(torch, choose_type(folder, memory_limit()))
    LOGGER.info("loading %s as %s", folder, dtype)
    try:
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, **LOCAL)
    except MemoryError as error:
        raise ToolError("OutOfMemory", f"no memory to load {folder}") from error
    except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
        raise DataError("PerplexityFailed", f"transformers can't load {folder}: {error}") from error
    return Causal(model.eval())


def choose_type(folder: Path, limit: int) -> str:
    """Return ``float32`` or ``bfloat16``; ToolError when the limit, bytes, holds neither.

    In 32 bits nothing but the weights differs between two models: rounding sums to 16 bits costs as much
    divergence as FP8 does.
    """
    from slipway_runtime.quantised import real_weights
    from slipway_runtime.weights import CONFIG, check_weights

    headers = [check_weights(path) for path in sorted(folder.glob("*.safetensors"))]
    weights, _ = real_weights(headers, _config(folder / CONFIG))
    for name, size in (("float32", FLOAT), ("bfloat16", FLOAT // 2)):
        if weights * size + SLACK <= limit:
            return name
    raise ToolError(
        "OutOfMemory",
        f"{folder} has {weights} weights, {2 * weights >> 20} MiB in 16 bits, and the Job may use "
        f"{limit >> 20} MiB",
    )


def _config(path: Path) -> dict[str, Any]:
    from slipway_runtime import files

    return files.read_json(path) or {}


def memory_limit(cgroup: Path = Path("/sys/fs/cgroup"), machine: Path = Path("/proc/meminfo")) -> int:
    """Return the bytes that this container may use: its limit, at most the machine's memory."""
    total = 1 << 62
    for line in machine.read_text(encoding="ascii").splitlines():
        if line.startswith("MemTotal:"):
            total = int(line.split()[1]) << 10
    for path in (cgroup / "memory.max", cgroup / "memory" / "memory.limit_in_bytes"):
        try:
            text = path.read_text(encoding="ascii").strip()
        except OSError:
            continue
        return min(total, int(text)) if text.isdecimal() else total
    return total


def base_bytes(windows: int, vocabulary: int) -> int:
    """Return the bytes that ``Writer`` writes."""
    return windows * SCORED * (HEAD_BYTES + 2 * vocabulary)


def summary(divergences: list[float]) -> dict[str, str]:
    """Return mean and 99th percentile of divergences, nats a token."""
    import numpy as np

    mean, high = float(np.mean(divergences)), float(np.percentile(divergences, 99))
    return {"kld": f"{max(mean, 0.0):.6f}", "kldP99": f"{max(high, 0.0):.6f}"}


class Causal:
    """A loaded model."""

    def __init__(self, model: Any) -> None:
        self._model = model

    @cached_property
    def vocabulary(self) -> int:
        """How many tokens it tells apart."""
        return int(self._model.config.get_text_config().vocab_size)

    def log_probabilities(self, window: list[int]) -> Said:
        """What it expects after each token of the second half, but the last."""
        import torch

        with torch.inference_mode():
            logits = self._model(torch.tensor([window]), use_cache=False).logits
            scored = logits[0, FIRST : FIRST + SCORED].float()
            return Said(torch.log_softmax(scored, dim=-1).numpy())


@dataclass(frozen=True)
class Said:
    """Log-probabilities of every token, shape (``SCORED``, vocabulary), float32."""

    rows: Any

    def losses(self, window: list[int]) -> list[float]:
        """Of the tokens that really followed, nats."""
        return [-float(self.rows[at, token]) for at, token in enumerate(window[FIRST + 1 :])]

    def against(self, base: Any) -> tuple[list[float], int]:
        """KL divergence of the base's rows from these, nats each; and how often the likeliest is the same."""
        import numpy as np

        # What the base keeps of a row ends 16 nats below its likeliest: what lies there counts nothing.
        kept = base > base.max(axis=1, keepdims=True) - (RANGE - EDGE)
        terms = np.where(kept, np.exp(base) * (base - self.rows), 0.0)
        equal = int((base.argmax(axis=1) == self.rows.argmax(axis=1)).sum())
        return [float(one) for one in terms.sum(axis=1, dtype=np.float64)], equal


class Writer:
    """Writes rows to a file, 16 bits a token: steps of ``RANGE / 65535`` below the row's largest."""

    def __init__(self, path: Path | None, vocabulary: int) -> None:
        self._path, self._vocabulary = path, vocabulary
        self._file: BinaryIO | None = None

    @property
    def writes(self) -> bool:
        """Whether all rows so far are written: without a path, or once the disk was full, none are."""
        return self._path is not None

    def __enter__(self) -> Self:
        if self._path is not None:
            with self._unless_full(self._path):
                self._file = self._path.open("wb")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None and self._path is not None:
            with self._unless_full(self._path):
                self._file.close()

    @contextmanager
    def _unless_full(self, path: Path) -> Iterator[None]:
        """Give the file up when the disk is full: the divergence is missing then, and nothing else."""
        try:
            yield
        except OSError as error:
            if error.errno not in FULL:
                raise
            if self._file is not None:
                with suppress(OSError):  # what it still holds does not fit either
                    self._file.close()
            path.unlink(missing_ok=True)
            self._path = self._file = None
            LOGGER.warning("the disk filled up: no log-probabilities are kept, so no KL divergence")

    def add(self, said: Said) -> None:
        """Append a window's rows."""
        import numpy as np

        if self._file is None or self._path is None:
            return
        with self._unless_full(self._path):
            for row in said.rows:
                top = row.max()
                steps = np.rint((row - top + RANGE) * (STEPS / RANGE)).clip(0, STEPS)
                self._file.write(np.float32(top).tobytes())
                self._file.write(steps.astype("<u2").tobytes())


class Reader:
    """Reads what ``Writer`` wrote, a window at a time."""

    def __init__(self, path: Path, vocabulary: int) -> None:
        self._path, self._vocabulary = path, vocabulary

    def rows(self, window: int) -> Any:
        """Log-probabilities of a window, shape (``SCORED``, vocabulary), float32."""
        import numpy as np

        shape = np.dtype([("top", "<f4"), ("steps", "<u2", (self._vocabulary,))])
        offset = window * SCORED * shape.itemsize
        read = np.fromfile(self._path, dtype=shape, count=SCORED, offset=offset)
        steps = read["steps"].astype(np.float32)
        return read["top"][:, None] - RANGE + steps * np.float32(RANGE / STEPS)
