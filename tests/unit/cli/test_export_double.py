"""The export's double answers as a kubelet does."""

from __future__ import annotations

import json

import aiohttp

from tests.support.export_double import Double, served


async def test_the_double_speaks_the_protocol() -> None:
    double = Double({"model.gguf": b"abc"})
    query = [
        ("container", "engine"),
        *(("command", one) for one in ("tail", "-c", "+2", "/models/model.gguf")),
    ]
    with served(double):
        url = f"{double.server}/api/v1/namespaces/team/pods/qwen-0/exec"
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(url, params=query, protocols=("v4.channel.k8s.io",)) as socket,
        ):
            assert socket.protocol == "v4.channel.k8s.io"
            frames = [message.data async for message in socket]
    assert frames[:4] == [b"\x01", b"\x02", b"\x03", b"\x01bc"]
    assert json.loads(frames[4][1:])["status"] == "Success"
