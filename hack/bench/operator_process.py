"""The operator as a process of its own against a bare control plane, watched from outside; for benchmarks."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Self

ROOT = Path(__file__).resolve().parents[2]
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # loopback is behind no proxy


def free_port() -> int:
    """A port of 127.0.0.1 on which nobody listens now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class OperatorProcess:
    """``slipway run`` with its own metrics port; ends with the ``with`` block."""

    def __init__(self, kubeconfig: Path, log: Path, *, elect: bool = False, name: str = "bench") -> None:
        self.port = free_port()
        command = [sys.executable, "-m", "slipway", "run", "--kubeconfig", str(kubeconfig)]
        command += ["--port", str(self.port), "--namespace", "default"]
        command += [] if elect else ["--no-leader-election"]
        # The Lease lies in a namespace that a bare control plane has.
        env = {**os.environ, "POD_NAME": name, "SLIPWAY_NAMESPACE": "default"}
        env["PYTHONPATH"] = f"{ROOT}/operator:{ROOT}/runtime"
        self._log = log.open("wb")
        self.started = time.monotonic()
        self.process = subprocess.Popen(command, stdout=self._log, stderr=self._log, env=env)

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
        self._log.close()

    def kill(self) -> None:
        """Send SIGKILL."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def metric(self, name: str) -> float:
        """Sum of the metric's samples over its labels; NaN while the operator does not answer."""
        try:
            with DIRECT.open(f"http://127.0.0.1:{self.port}/metrics", timeout=5) as answer:
                text = answer.read().decode()
        except (urllib.error.URLError, OSError):
            return float("nan")
        found = re.findall(rf"^{re.escape(name)}(?:{{[^}}]*}})? ([0-9.e+-]+)$", text, re.MULTILINE)
        return sum(map(float, found))

    def rss_mib(self) -> float:
        """Resident memory, MiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        kib = re.search(r"VmRSS:\s+(\d+)", status)
        return int(kib[1]) / 1024 if kib else float("nan")

    def wait_metric(self, name: str, at_least: float, timeout: float) -> float:
        """Seconds since start at which the metric reached the value; TimeoutError if it does not."""
        while time.monotonic() - self.started < timeout:
            if self.metric(name) >= at_least:
                return time.monotonic() - self.started
            time.sleep(0.05)
        raise TimeoutError(f"{name} stayed below {at_least}: {self.metric(name)}; log: {self._log.name}")
