"""The one way to the Kubernetes API: raw dicts over HTTP, every request bounded in time.

Called by observe, apply, leader.

Configuration, credentials and their renewal come from the official client; why not its request path is in
docs/decisions/0004-raw-dicts-over-the-clients-configuration.md.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

import aiohttp
import orjson

from slipway import metrics
from slipway.api import FIELD_MANAGER
from slipway.endpoint import Endpoint
from slipway.errors import (
    ApiError,
    ConflictError,
    GoneError,
    NotFoundError,
    RejectedError,
    UnavailableError,
)
from slipway.resources import Resource

Raw = dict[str, Any]

REQUEST_SECONDS: Final = 10.0
"""Bound of one ordinary request; the API server's own is 60 s, but a worker must not wait that long."""
LIST_SECONDS: Final = 30.0
CONNECT_SECONDS: Final = 3.0
REQUESTS_AT_ONCE: Final = 100
ABSENT: Final = "1"
"""A resourceVersion that no object ever has: an apply that names it creates, or is refused with a conflict.

An apply has no other way to say "only if it is not there", and POST is no apply: it enters its fields in
managedFields as another manager's, and one that is no longer wished would never go.
"""
METADATA_ONLY: Final = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"
_FIRST_ERROR: Final = 400
_ERRORS: Final[Mapping[int, type[ApiError]]] = {
    400: RejectedError,
    401: UnavailableError,  # a token that is being renewed; permanent only for its owner
    403: RejectedError,
    404: NotFoundError,
    405: RejectedError,
    409: ConflictError,
    410: GoneError,
    413: RejectedError,
    415: RejectedError,
    422: RejectedError,
}


class Kube:
    """The API as raw dicts. Whatever the API or the wire does, every method raises the ``ApiError`` tree.

    Attributes:
        writes: requests sent that change something, by kind: the proof that a settled pass makes none.
    """

    def __init__(self, endpoint: Endpoint, *, request_seconds: float = REQUEST_SECONDS) -> None:
        self.endpoint = endpoint
        self.writes: Counter[str] = Counter()
        self._seconds = request_seconds
        self._session = _session(endpoint, REQUESTS_AT_ONCE)
        # Every reflector holds a connection as long as it lives, a dozen for each watched namespace: in one
        # pool with the rest, they would leave none for the Lease and for writes.
        self._mirror = _session(endpoint, 0)

    async def close(self) -> None:
        """Drop all connections, open watches included."""
        await self._session.close()
        await self._mirror.close()
        # TLS transports end a moment after close() returns (aiohttp, "Graceful shutdown").
        await asyncio.sleep(0.1)

    async def get(self, resource: Resource, namespace: str | None, name: str) -> Raw:
        """One object."""
        return await self.request("GET", resource.path(namespace, name))

    async def get_metadata(self, resource: Resource, namespace: str | None, name: str) -> Raw:
        """One object's metadata alone: what a Secret holds never reaches this process."""
        headers = {"Accept": METADATA_ONLY}
        return await self.request("GET", resource.path(namespace, name), headers=headers)

    async def list_page(self, resource: Resource, namespace: str | None, params: Mapping[str, str]) -> Raw:
        """One page of a list; the caller follows ``metadata.continue``."""
        path = resource.path(namespace)
        data = await self._bytes("GET", path, params, None, {}, LIST_SECONDS, self._mirror)
        return _parse(data, f"GET {path}", "metadata", "items")

    async def create(self, resource: Resource, body: Raw) -> Raw:
        """POST: fails with ``ConflictError`` when the name is taken."""
        self._count(resource)
        path = resource.path(body["metadata"].get("namespace"))
        return await self.request("POST", path, params={"fieldManager": FIELD_MANAGER}, body=body)

    async def apply(
        self, resource: Resource, body: Raw, subresource: str = "", manager: str = FIELD_MANAGER
    ) -> Raw:
        """Server-side apply by our one field manager, forced.

        A field that we own and somebody took comes back.
        """
        self._count(resource)
        meta = body["metadata"]
        path = resource.path(meta.get("namespace"), meta["name"], subresource)
        params = {"fieldManager": manager, "force": "true"}
        headers = {"Content-Type": "application/apply-patch+yaml"}
        return await self.request("PATCH", path, params=params, body=body, headers=headers)

    async def merge_patch(self, resource: Resource, namespace: str | None, name: str, body: Raw) -> Raw:
        """JSON merge patch; a ``metadata.resourceVersion`` in the body makes it conditional."""
        self._count(resource)
        headers = {"Content-Type": "application/merge-patch+json"}
        params = {"fieldManager": FIELD_MANAGER}
        path = resource.path(namespace, name)
        return await self.request("PATCH", path, params=params, body=body, headers=headers)

    async def replace_parts(self, resource: Resource, raw: Raw, parts: Mapping[str, Any]) -> Raw:
        """JSON patch: other values for these paths of this very version of an object."""
        self._count(resource)
        meta = raw["metadata"]
        values = {"/metadata/resourceVersion": meta["resourceVersion"], **parts}
        body = [{"op": "replace", "path": where, "value": value} for where, value in values.items()]
        headers = {"Content-Type": "application/json-patch+json"}
        path = resource.path(meta.get("namespace"), meta["name"])
        params = {"fieldManager": FIELD_MANAGER}
        return await self.request("PATCH", path, params=params, body=body, headers=headers)

    async def replace(self, resource: Resource, body: Raw, seconds: float | None = None) -> Raw:
        """PUT, conditional on ``metadata.resourceVersion``."""
        self._count(resource)
        meta = body["metadata"]
        path = resource.path(meta.get("namespace"), meta["name"])
        return await self.request("PUT", path, body=body, seconds=seconds)

    async def delete(self, resource: Resource, namespace: str | None, name: str, uid: str) -> None:
        """DELETE this very object: another one of the same name stays. Gone already counts as done."""
        self._count(resource)
        body = {
            "kind": "DeleteOptions",
            "apiVersion": "v1",
            "propagationPolicy": "Background",
            "preconditions": {"uid": uid},
        }
        try:
            await self.request("DELETE", resource.path(namespace, name), body=body)
        except NotFoundError:
            return

    def _count(self, resource: Resource) -> None:
        self.writes[resource.kind] += 1
        metrics.API_WRITES.labels(resource.kind).inc()

    async def log_tail(self, namespace: str, pod: str, lines: int, limit_bytes: int) -> str:
        """The last lines of a pod's log; what is no UTF-8 is replaced."""
        path = f"/api/v1/namespaces/{namespace}/pods/{pod}/log"
        params = {"tailLines": str(lines), "limitBytes": str(limit_bytes)}
        data = await self._bytes("GET", path, params, None, {}, self._seconds)
        return data.decode("utf-8", "replace")

    async def log_before(self, namespace: str, pod: str, container: str, lines: int, limit_bytes: int) -> str:
        """The last lines of the log of a container's run before this one; what is no UTF-8 is replaced."""
        path = f"/api/v1/namespaces/{namespace}/pods/{pod}/log"
        params = {"container": container, "previous": "true"}
        params |= {"tailLines": str(lines), "limitBytes": str(limit_bytes)}
        data = await self._bytes("GET", path, params, None, {}, self._seconds)
        return data.decode("utf-8", "replace")

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Raw | list[Raw] | None = None,
        headers: Mapping[str, str] | None = None,
        seconds: float | None = None,
    ) -> Raw:
        """One request, answered with JSON."""
        payload = orjson.dumps(body) if body is not None else None
        data = await self._bytes(method, path, params or {}, payload, headers or {}, seconds or self._seconds)
        return _parse(data, f"{method} {path}", "kind")

    async def _bytes(
        self,
        method: str,
        path: str,
        params: Mapping[str, str],
        payload: bytes | None,
        headers: Mapping[str, str],
        seconds: float,
        session: aiohttp.ClientSession | None = None,
    ) -> bytes:
        timeout = aiohttp.ClientTimeout(total=seconds, sock_connect=min(seconds, CONNECT_SECONDS))
        try:
            async with (session or self._session).request(
                method,
                self.endpoint.server + path,
                params=params,
                data=payload,
                headers=await self._headers(headers),
                timeout=timeout,
                proxy=self.endpoint.proxy or None,
            ) as response:
                data = await response.read()
                if response.status >= _FIRST_ERROR:
                    raise _translate(response.status, data)
                return data
        except TimeoutError as error:
            text = f"no answer in {seconds:g} s"
            if isinstance(error, aiohttp.ConnectionTimeoutError):
                text = f"no connection in {timeout.sock_connect:g} s"
            raise UnavailableError(0, "Timeout", f"{method} {path}: {text}") from error
        except (aiohttp.ClientError, OSError) as error:
            raise UnavailableError(0, "Connection", f"{method} {path}: {error!r}") from error

    async def _headers(self, extra: Mapping[str, str]) -> dict[str, str]:
        return {"Content-Type": "application/json", **await self.endpoint.headers(), **extra}

    async def watch(
        self, resource: Resource, namespace: str | None, params: Mapping[str, str], silence_seconds: float
    ) -> AsyncIterator[Raw]:
        """Watch events as they come.

        Args:
            resource: kind to watch.
            namespace: None for all.
            params: selector, resourceVersion, timeoutSeconds.
            silence_seconds: a connection without a byte for so long counts as dead: bookmarks come every
                minute.

        Raises:
            ApiError: the watch was refused, or the connection broke or fell silent.
        """
        path = resource.path(namespace)
        query = {"watch": "true", "allowWatchBookmarks": "true", **params}
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=silence_seconds)
        try:
            async with self._mirror.get(
                self.endpoint.server + path,
                params=query,
                headers=await self._headers({}),
                timeout=timeout,
                proxy=self.endpoint.proxy or None,
            ) as response:
                if response.status >= _FIRST_ERROR:
                    raise _translate(response.status, await response.read())
                async for line in _lines(response.content):
                    yield _parse(line, f"watch {path}", "type", "object")
        except (TimeoutError, asyncio.IncompleteReadError) as error:
            raise UnavailableError(0, "Silence", f"watch {path}: silent for {silence_seconds:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise UnavailableError(0, "Connection", f"watch {path}: {error!r}") from error


def _session(endpoint: Endpoint, limit: int) -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(limit=limit, ssl=endpoint.tls or True)
    return aiohttp.ClientSession(connector=connector, auto_decompress=True)


def _parse(data: bytes, asked: str, *parts: str) -> Raw:
    """The answer, if the API gave it: a proxy or a login page answers with 200, too."""
    try:
        answer = orjson.loads(data)
    except orjson.JSONDecodeError:
        answer = None
    if isinstance(answer, dict) and all(part in answer for part in parts):
        return answer
    said = data[:100].decode("utf-8", "replace")
    text = f"{asked}: no answer of a Kubernetes API but {said!r}; check the server's address and the proxy"
    raise UnavailableError(0, "NotKubernetes", text)


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    # StreamReader.readline refuses lines beyond its buffer; one Deployment may well be longer.
    rest = b""
    async for chunk in content.iter_any():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line:
                yield line


def _translate(status: int, data: bytes) -> ApiError:
    try:
        answer = orjson.loads(data)
        reason, message = str(answer.get("reason", "")), str(answer.get("message", ""))
    except (orjson.JSONDecodeError, AttributeError):
        reason, message = "", data[:300].decode("utf-8", "replace")
    return _ERRORS.get(status, UnavailableError)(status, reason or str(status), message)
