"""What the runtime's tests share: a hub, stand-ins for llama.cpp's programs, stages in processes."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from hack.hub.faults import Faults
from hack.hub.routes import Hub
from hack.hub.server import Listeners
from slipway_runtime.job import Job, read_job
from slipway_runtime.progress import Progress

CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 128,
    "max_position_embeddings": 2048,
}
SUPPORTED = """\
Supported models:
TEXT models:
  - LlamaForCausalLM
  - Qwen2ForCausalLM
MMPROJ models:
  - LlavaVision
"""
CONVERTER = """\
import sys, time
from pathlib import Path
folder, target = Path(sys.argv[1]), Path(sys.argv[sys.argv.index("--outfile") + 1])
behaviour = (folder / "behaviour").read_text() if (folder / "behaviour").exists() else ""
if behaviour == "refuse":
    print("ERROR:hf-to-gguf:half way", file=sys.stderr)
    sys.exit("NotImplementedError: BPE pre-tokenizer was not recognized")
if behaviour == "import":
    sys.exit("ModuleNotFoundError: No module named 'torch'")
target.write_bytes(b"GGUF")
if behaviour == "disk":
    sys.exit("OSError: [Errno 28] No space left on device")
if behaviour == "wait":
    print("waiting", flush=True)
    time.sleep(60)
target.write_bytes(b"GGUF" + sys.argv[sys.argv.index("--outtype") + 1].encode() * 100)
"""
QUANTIZE = """\
#!{python}
import os, signal, sys, time
from pathlib import Path
source, target, level, threads = sys.argv[-4:]
told = Path(source).with_name("behaviour")
behaviour = told.read_text() if told.exists() else ""
Path(target).write_bytes(b"half")
if behaviour == "kill":
    os.kill(os.getpid(), signal.SIGKILL)
if behaviour == "wait":
    print("[   1/   4]  token_embd.weight - [64, 128, 1, 1]", flush=True)
    Path(source + ".pid").write_text(str(os.getpid()))
    time.sleep(60)
for number in range(1, 5):
    print(f"[{{number:4d}}/   4]  blk.weight - [64, 128, 1, 1]", flush=True)
Path(target).write_bytes(level.encode() * 100)
if "--imatrix" in sys.argv:
    Path(target).write_bytes(Path(sys.argv[sys.argv.index("--imatrix") + 1]).read_bytes())
print("llama_model_quantize_impl: quant size  =     0.00 MiB (4.81 BPW)", flush=True)
"""


def build_safetensors(tensors: dict[str, tuple[str, list[int], bytes]]) -> bytes:
    """Return a safetensors file of (dtype, shape, data) by name."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    data = b""
    for name, (dtype, shape, content) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(content)]}
        data += content
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def build_repository(folder: Path, weights: bytes | None = None) -> Path:
    """Write a repository of a few kB and return its folder."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / "tokenizer.json").write_text('{"version": "1.0"}')
    (folder / "tokenizer_config.json").write_text("{}")
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n# A model\n")
    (folder / "modeling_llama.py").write_text("raise SystemExit\n")
    embedding = weights or build_safetensors({"embed": ("BF16", [128, 64], b"\1\2" * 128 * 64)})
    (folder / "model.safetensors").write_bytes(embedding)
    return folder


@dataclass
class HubServer:
    """The small hub on loopback, in a thread of its own."""

    root: Path
    hub: Hub = field(init=False)
    url: str = ""

    def __post_init__(self) -> None:
        self.hub = Hub(self.root)
        self._loop = asyncio.new_event_loop()
        self._listeners = Listeners(self.hub, "127.0.0.1", 0, "127.0.0.1", 0)
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def start(self) -> None:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listeners.start(), self._loop).result(10)
        self.url = f"http://127.0.0.1:{self._listeners.ports[0]}"

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._listeners.stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def fail(self, **faults: Any) -> None:
        """Put faults in force; none ends them all."""
        asyncio.run_coroutine_threadsafe(self._listeners.apply(Faults(**faults)), self._loop).result(10)

    def requests(self) -> dict[str, int]:
        """Return how often each path was asked for since the last call."""
        counted = dict(self.hub.requests)
        self.hub.requests.clear()
        return counted

    def sent_bytes(self) -> int:
        """Return how many bytes of files were sent since the last call."""
        sent, self.hub.sent_bytes = self.hub.sent_bytes, 0
        return sent


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubServer]:
    """A hub that serves acme/tiny; a test may write more repositories under its root."""
    root = tmp_path / "hub"
    build_repository(root / "acme" / "tiny")
    (root / "hub.json").write_text(json.dumps({"tokens": ["hf_reader", "hf_stranger"]}))
    server = HubServer(root)
    server.start()
    yield server
    server.stop()


@dataclass
class Bench:
    """A place to run stages in: mounts in a temporary folder, stand-in programs, an environment."""

    folder: Path
    environment: dict[str, str]
    out: StringIO = field(default_factory=StringIO)
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def store(self) -> Path:
        return Path(self.environment["SLIPWAY_STORE"])

    @property
    def parent(self) -> Path:
        return Path(self.environment["SLIPWAY_PARENT"])

    def job(self, stage: str, **environment: str) -> Job:
        """Return the job of a stage, its progress going to ``out``."""
        return read_job(stage, self.environment | environment, lambda name: Progress(name, self.out))

    def write_token(self, token: str) -> None:
        Path(self.environment["SLIPWAY_TOKEN_FILE"]).write_text(token + "\n")

    def start(self, stage: str, **environment: str) -> subprocess.Popen[str]:
        """Start the stage as the container would; it ends with the test at the latest."""
        command = [sys.executable, "-m", "slipway_runtime", stage]
        merged = os.environ | {"PYTHONPATH": "runtime"} | self.environment | environment
        process = subprocess.Popen(
            command, env=merged, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.started.append(process)
        return process

    def end(self) -> None:
        """End what a failed test left running."""
        for process in self.started:
            with process:  # closes its pipes and waits
                process.kill()

    def run(self, stage: str, **environment: str) -> tuple[int, dict[str, Any], str]:
        """Run the stage to its end; return its exit code, its result and its log."""
        process = self.start(stage, **environment)
        output, log = process.communicate(timeout=60)
        return process.returncode, self.result(), output + log

    def result(self) -> dict[str, Any]:
        """Return what is in the termination log."""
        result: dict[str, Any] = json.loads(
            Path(self.environment["SLIPWAY_TERMINATION_LOG"]).read_text(encoding="utf-8")
        )
        return result


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """An empty store and parent, with stand-ins for the converter and llama-quantize on PATH."""
    programs = tmp_path / "bin"
    for folder in (programs, tmp_path / "store", tmp_path / "parent"):
        folder.mkdir()
    (programs / "convert.py").write_text(CONVERTER)
    (programs / "architectures.txt").write_text(SUPPORTED)
    write_program(programs / "llama-quantize", QUANTIZE)
    environment = {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "SLIPWAY_STORE": str(tmp_path / "store"),
        "SLIPWAY_PARENT": str(tmp_path / "parent"),
        "SLIPWAY_TOKEN_FILE": str(tmp_path / "token"),
        "SLIPWAY_TERMINATION_LOG": str(tmp_path / "termination-log"),
        "SLIPWAY_CONVERT": str(programs / "convert.py"),
        "SLIPWAY_SOURCE": "hf://acme/tiny",
        "SLIPWAY_THREADS": "1",
    }
    bench = Bench(tmp_path, environment)
    yield bench
    bench.end()


def downloading(store: Path, process: subprocess.Popen[str], size: int = 0) -> Path:
    """Wait until so much of the weights is in the store; returns the partial file."""
    part = store / "partial" / "model.safetensors.part"
    deadline = time.monotonic() + 60
    while not (part.exists() and part.stat().st_size >= size):
        assert process.poll() is None, f"the stage ended: {process.communicate()}"
        assert time.monotonic() < deadline, "the download does not go on"
        time.sleep(0.02)
    return part


def write_program(path: Path, text: str) -> None:
    """Write a Python program that can be started by its name; doubled braces become single ones."""
    path.write_text(text.format(python=sys.executable))
    path.chmod(0o755)
