"""One command in a container, its output as bytes: Kubernetes' channels over a websocket. For export.

The official client's own (``kubernetes.aio.stream``) decodes all output as UTF-8 text and keeps it in memory.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final

import aiohttp

from slipway.endpoint import Endpoint
from slipway.errors import SlipwayError
from slipway.resources import POD

PROTOCOLS: Final = ("v5.channel.k8s.io", "v4.channel.k8s.io")
"""What the first byte of a frame means is the same in both; v5 (Kubernetes 1.30) adds the end of stdin."""
STDOUT: Final = 1
STDERR: Final = 2
STATUS: Final = 3
"""Comes last: a Status object, in JSON, that says how the command ended."""
SILENCE_SECONDS: Final = 60.0
CONNECT_SECONDS: Final = 10.0
SAID_BYTES: Final = 2000
"""Of what a command says on standard error."""
SIGNALLED: Final = 128
"""Exit codes above are signals: the pod was stopped, which says nothing of the command."""
FORBIDDEN: Final = 403
GONE: Final = (404, 410)


class CutError(SlipwayError):
    """The stream ended before its command did; what came is right, and the rest can be asked for again."""


class CommandError(SlipwayError):
    """The command itself failed: it would again."""


@dataclass(frozen=True)
class Container:
    """Where a command runs."""

    namespace: str
    pod: str
    name: str


def open_session(endpoint: Endpoint) -> aiohttp.ClientSession:
    """A session for commands: no bound in time but that of silence, since a model takes hours."""
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS)
    connector = aiohttp.TCPConnector(ssl=endpoint.tls or True)
    return aiohttp.ClientSession(connector=connector, timeout=timeout)


async def run_in(
    session: aiohttp.ClientSession,
    endpoint: Endpoint,
    container: Container,
    command: Sequence[str],
    silence: float,
) -> AsyncGenerator[bytes, None]:
    """Standard output of the command, as it comes; the reader's pace is the sender's.

    Raises:
        CutError: the connection ended, was refused for now, or was silent for too long.
        CommandError: the command failed, or may not be run.
    """
    path = POD.path(container.namespace, container.pod, "exec")
    query = [("container", container.name), ("stdout", "true"), ("stderr", "true")]
    query += [("command", part) for part in command]
    try:
        async with (
            session.ws_connect(
                endpoint.server + path,
                params=query,
                headers=await endpoint.headers(),
                protocols=PROTOCOLS,
                proxy=endpoint.proxy or None,
                timeout=aiohttp.ClientWSTimeout(ws_receive=silence, ws_close=1.0),
            ) as socket,
            aclosing(_output(socket, container)) as output,
        ):
            async for data in output:
                yield data
    except aiohttp.WSServerHandshakeError as error:
        raise _refused(error, container) from error
    except TimeoutError as error:
        raise CutError(f"pod {container.pod} sent nothing for {silence:g} s") from error
    except (aiohttp.ClientError, OSError) as error:
        raise CutError(
            f"the connection to pod {container.pod} broke: {error or type(error).__name__}"
        ) from error


async def _output(
    socket: aiohttp.ClientWebSocketResponse, container: Container
) -> AsyncGenerator[bytes, None]:
    if socket.protocol not in PROTOCOLS:
        raise CommandError(
            f"what answers as the API server speaks none of {', '.join(PROTOCOLS)}: it is older than "
            "Kubernetes 1.4, or a proxy between takes websockets apart"
        )
    said = b""
    while True:
        message = await socket.receive()
        if message.type is not aiohttp.WSMsgType.BINARY:
            if message.type in (aiohttp.WSMsgType.PING, aiohttp.WSMsgType.PONG, aiohttp.WSMsgType.TEXT):
                continue
            raise CutError(f"the connection to pod {container.pod} was closed")
        data: bytes = message.data
        channel, rest = (data[0], data[1:]) if data else (STDOUT, b"")
        if channel == STDOUT and rest:
            yield rest
        elif channel == STDERR:
            said = (said + rest)[:SAID_BYTES]
        elif channel == STATUS and rest:
            _judge(rest, said.decode("utf-8", "replace").strip(), container)
            return


def _judge(status: bytes, said: str, container: Container) -> None:
    """Nothing when the command ended well.

    Raises:
        CutError: it was ended from outside, or did not begin.
        CommandError: it failed.
    """
    try:
        found: Any = json.loads(status)
        causes = (found.get("details") or {}).get("causes") or []
        codes = [int(one["message"]) for one in causes if one.get("reason") == "ExitCode"]
        success, text = found.get("status") == "Success", str(found.get("message") or "")
    except (ValueError, AttributeError, TypeError, KeyError):
        success, codes, text = False, [], status[:SAID_BYTES].decode("utf-8", "replace")
    if success:
        return
    where = f"pod {container.pod}, container {container.name}"
    if codes and codes[0] < SIGNALLED:
        raise CommandError(f"{where}: {said or text or 'the command failed'} (exit code {codes[0]})")
    if "executable file not found" in text:
        raise CommandError(f"{where}: {text}; the engine's image must have coreutils' tail")
    raise CutError(f"{where}: {said or text or 'the command was ended'}")


def _refused(error: aiohttp.WSServerHandshakeError, container: Container) -> SlipwayError:
    """Why there was no websocket, in words; the API's own are not in the client's error."""
    if error.status == FORBIDDEN:
        return CommandError(
            f"you may not run a command in pod {container.pod} (403): it takes the verbs get and create on "
            f"pods/exec in namespace {container.namespace}; "
            f"ask `kubectl auth can-i create pods/exec -n {container.namespace}`"
        )
    if error.status in GONE:
        return CutError(f"pod {container.pod} is gone ({error.status})")
    return CutError(f"no connection to pod {container.pod}: the API server answered {error.status}")
