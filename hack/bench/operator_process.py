"""The operator as a process of its own against a bare control plane, watched from outside; for benchmarks."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).resolve().parents[2]
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # loopback is behind no proxy
SILENCE_S = 15.0


def free_port() -> int:
    """A port of 127.0.0.1 on which nobody listens now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class OperatorProcess:
    """``slipway run`` with its own metrics port; ends with the ``with`` block.

    At ``level`` debug it logs each pass with its key.
    """

    def __init__(
        self, kubeconfig: Path, log: Path, *, elect: bool = False, name: str = "bench", level: str = "info"
    ) -> None:
        self.port, self.log = free_port(), log
        command = [sys.executable, "-m", "slipway", "run", "--kubeconfig", str(kubeconfig)]
        command += ["--port", str(self.port), "--namespace", "default", "--log-level", level]
        command += [] if elect else ["--no-leader-election"]
        # The Lease lies in a namespace that a bare control plane has.
        env = {**os.environ, "POD_NAME": name, "SLIPWAY_NAMESPACE": "default"}
        env["PYTHONPATH"] = f"{ROOT}/operator:{ROOT}/runtime"
        log.parent.mkdir(parents=True, exist_ok=True)
        self._sink = log.open("wb")
        self._started = time.time()
        self.process = subprocess.Popen(command, stdout=self._sink, stderr=self._sink, env=env)

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it as Kubernetes would: SIGTERM, then SIGKILL after 15 s."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._sink.close()

    def kill(self) -> None:
        """Send SIGKILL."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def metric(self, name: str) -> float:
        """Sum of the metric's samples over its labels; NaN while the operator does not answer.

        Raises LookupError when the operator has no metric of that name: a sum over nothing is not 0.
        """
        try:
            with DIRECT.open(f"http://127.0.0.1:{self.port}/metrics", timeout=5) as answer:
                return total(name, answer.read().decode())
        except (urllib.error.URLError, OSError):
            return float("nan")

    def peak_mb(self) -> float:
        """The most resident memory that it ever had (VmHWM), MB of 10^6 bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        kib = re.search(r"VmHWM:\s+(\d+)", status)
        return int(kib[1]) * 1024 / 1e6 if kib else float("nan")

    def synced_at(self) -> float | None:
        """When its caches were full and its workers began, seconds since its start; None before."""
        return next((self._since(line) for line in self._logged("in sync")), None)

    def first_passes(self) -> dict[str, float]:
        """When each object's first pass ended, seconds since the start, by key; from the log at debug."""
        found: dict[str, float] = {}
        for line in self._logged("pass"):
            found.setdefault(line["key"], self._since(line))
        return found

    def _logged(self, message: str) -> list[dict[str, Any]]:
        mark = f'"message":"{message}"'
        lines = self.log.read_text(errors="replace").splitlines(keepends=True)
        return [json.loads(line) for line in lines if mark in line and line.endswith("\n")]

    def _since(self, line: dict[str, Any]) -> float:
        return datetime.fromisoformat(line["time"]).timestamp() - self._started

    def wait(self, what: str, done: Callable[[], bool], seconds: float, pause: float = 0.1) -> None:
        """Return once it is done, with a sign of life every 15 s.

        Raises TimeoutError after the seconds, and RuntimeError when the operator has ended.
        """
        started = said = time.monotonic()
        while not done():
            now = time.monotonic()
            if (code := self.process.poll()) is not None:
                raise RuntimeError(f"{what}: the operator ended with {code}; log: {self.log}")
            if now - started > seconds:
                raise TimeoutError(f"{what}: not in {seconds:.0f} s; log: {self.log}")
            if now - said > SILENCE_S:
                print(f"  … {what}: {now - started:.0f} s", flush=True)
                said = now
            time.sleep(pause)


def total(name: str, text: str) -> float:
    """Sum of a metric's samples in Prometheus' text; 0 for one that is described but has no sample yet."""
    families = re.findall(r"^# TYPE (\S+) ", text, re.MULTILINE)
    if not {name, name.removesuffix("_count")} & set(families):
        raise LookupError(f"the operator has no metric {name}")
    found = re.findall(rf"^{re.escape(name)}(?:{{[^}}]*}})? ([0-9.e+-]+)$", text, re.MULTILINE)
    return sum(map(float, found))
