"""A cluster of one model for the export's tests: its objects, and exec by Kubernetes' channel protocol."""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pytest
from aiohttp import web

from slipway.__main__ import main

FRAME = 32 << 10
"""What the kubelet sends at once."""
TEMPLATE = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\\nYou are a helpful AI assistant named SmolLM<|im_end|>\\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
MODEL = hashlib.shake_256(b"model").digest(300_000) + b"\x00\xff\r\n"
FILES = {"model.gguf": MODEL, "chat_template.jinja": TEMPLATE.encode()}
SUCCESS = {"kind": "Status", "status": "Success"}


def failure(code: int) -> dict[str, Any]:
    """What channel 3 says of a command that ended with this code."""
    causes = [{"reason": "ExitCode", "message": str(code)}]
    text = f"command terminated with exit code {code}"
    return {
        "status": "Failure",
        "reason": "NonZeroExitCode",
        "message": text,
        "details": {"causes": causes},
    }


@dataclass
class Fault:
    """How the next streams of a file go wrong, once each.

    Attributes:
        after: bytes of the file that still come; none for all of them.
        stderr: said on channel 2.
        status: said on channel 3 in place of a success; None cuts the connection.
        http: answer in place of a websocket.
        stall: seconds of silence after the bytes.
    """

    after: int | None = None
    stderr: bytes = b""
    status: dict[str, Any] | None = None
    http: int = 0
    stall: float = 0.0


@dataclass
class Pod:
    """One engine pod, as the API shows it."""

    name: str = "qwen-0"
    ready: bool = True
    digest: str = ""

    def raw(self) -> dict[str, Any]:
        annotations = {"slipway.dev/artifact-digest": self.digest}
        conditions = [{"type": "Ready", "status": "True" if self.ready else "False"}]
        return {
            "metadata": {"name": self.name, "annotations": annotations},
            "status": {"conditions": conditions},
        }


@dataclass
class Double:
    """The cluster.

    Attributes:
        files: the artifact's, without the manifest.
        broken: files whose bytes differ from the manifest's.
        faults: by file, in order.
        asked: every exec: file and its first byte.
    """

    files: dict[str, bytes]
    method: str = "gguf"
    level: str | None = "Q4_K_M"
    spec: dict[str, Any] = field(default_factory=dict)
    broken: dict[str, bytes] = field(default_factory=dict)
    faults: dict[str, list[Fault]] = field(default_factory=dict)
    pods: list[Pod] = field(default_factory=list)
    conditions: list[dict[str, Any]] = field(default_factory=list)
    protocols: tuple[str, ...] = ("v5.channel.k8s.io", "v4.channel.k8s.io")
    asked: list[tuple[str, int]] = field(default_factory=list)
    manifest: bytes = b""
    server: str = ""

    def __post_init__(self) -> None:
        listed = [
            {"path": path, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            for path, data in sorted(self.files.items())
        ]
        self.manifest = json.dumps({"files": listed, "stage": "quantize", "recipe": {}}).encode()
        self.pods = self.pods or [Pod(digest=self.digest)]

    @property
    def digest(self) -> str:
        return f"sha256:{hashlib.sha256(self.manifest).hexdigest()}"

    def model(self) -> dict[str, Any]:
        spec = {"model": {"source": "hf://acme/qwen"}, "replicas": 1, **self.spec}
        status = {
            "plan": {"contextLength": 4096, "level": self.level or "source"},
            "artifacts": [
                {"name": "gone", "level": "F16"},
                {"name": "qwen-art", "level": self.level or "source"},
            ],
            "conditions": self.conditions,
        }
        metadata = {"name": "qwen", "namespace": "team"}
        return {"kind": "ModelDeployment", "metadata": metadata, "spec": spec, "status": status}

    def artifact(self) -> dict[str, Any]:
        recipe = {"method": self.method, **({"level": self.level} if self.level else {})}
        return {
            "kind": "ModelArtifact",
            "metadata": {"name": "qwen-art", "namespace": "team"},
            "spec": {"recipe": recipe},
            "status": {"digest": self.digest},
        }

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Every path of the API that the export asks for."""
        space = "/apis/slipway.dev/v1alpha1/namespaces/team/"
        objects = {
            f"{space}modeldeployments/qwen": self.model(),
            f"{space}modelartifacts/qwen-art": self.artifact(),
            f"{space}modeldeployments": {"metadata": {}, "items": [self.model()]},
            "/api/v1/namespaces/team/pods": {"metadata": {}, "items": [one.raw() for one in self.pods]},
        }
        if request.path in objects:
            return web.json_response({"kind": "List", **objects[request.path]})
        if request.path.endswith("/exec"):
            return await self.run(request)
        status = {"kind": "Status", "reason": "NotFound", "message": f"{request.path} not found"}
        return web.json_response(status, status=404)

    async def run(self, request: web.Request) -> web.StreamResponse:
        """``tail -c +N FILE`` of the engine's container."""
        command = request.query.getall("command")
        path, offset = command[3].removeprefix("/models/"), int(command[2]) - 1
        assert command[:2] == ["tail", "-c"]
        assert request.query["container"] == "engine"
        self.asked.append((path, offset))
        fault = self.faults[path].pop(0) if self.faults.get(path) else Fault(status=SUCCESS)
        if fault.http:
            return web.Response(status=fault.http)
        socket = web.WebSocketResponse(protocols=self.protocols)
        await socket.prepare(request)
        held = {**self.files, **self.broken, "manifest.json": self.manifest}
        # A channel's first, empty frame comes from the real one, too.
        for channel in (1, 2, 3):
            await socket.send_bytes(bytes([channel]))
        data = held[path][offset:][: fault.after]
        for start in range(0, len(data), FRAME):
            await socket.send_bytes(b"\x01" + data[start : start + FRAME])
        if fault.stderr:
            await socket.send_bytes(b"\x02" + fault.stderr)
        await asyncio.sleep(fault.stall)
        if fault.status is None:
            assert request.transport is not None
            request.transport.abort()
        else:
            await socket.send_bytes(b"\x03" + json.dumps(fault.status).encode())
        await socket.close()
        return socket

    def kubeconfig(self, folder: Path) -> str:
        """A kubeconfig file that leads here, to namespace team."""
        config = {
            "clusters": [{"name": "a", "cluster": {"server": self.server}}],
            "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a", "namespace": "team"}}],
            "users": [{"name": "a", "user": {}}],
            "current-context": "a",
        }
        file = folder / "kubeconfig"
        file.write_text(json.dumps(config))
        return str(file)


@contextmanager
def served(double: Double) -> Iterator[Double]:
    """The double on a free port, in a thread of its own: the command has the main one."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def start() -> tuple[web.AppRunner, int]:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", double.answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return runner, int(runner.addresses[0][1])

    runner, port = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    double.server = f"http://127.0.0.1:{port}"
    try:
        yield double
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@dataclass(frozen=True)
class Run:
    """One run of the command: its exit code, and what it said."""

    code: int
    out: str
    err: str


class Export(Protocol):
    """Runs the command against a double, into the folder ``out``."""

    def __call__(self, double: Double, *args: str, name: str = "qwen", to: str = "ollama") -> Run: ...


def exporter(folder: Path, capsys: pytest.CaptureFixture[str]) -> Export:
    """The command, as the tests run it."""

    def run(double: Double, *args: str, name: str = "qwen", to: str = "ollama") -> Run:
        where = ["--kubeconfig", double.kubeconfig(folder), "--out", str(folder / "out")]
        code = main(["export", name, "--to", to, *where, *args])
        return Run(code, *capsys.readouterr())

    return run
