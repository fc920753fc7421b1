"""Pods with devices: of each node read once for all who ask, page by page, and forgotten after a while."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from slipway.errors import ApiError
from slipway.kube import Kube
from slipway.observe import devices
from slipway.observe.devices import DevicePods

Raw = dict[str, Any]


def pod(name: str, **limits: str) -> Raw:
    container = {"name": "c", "image": "i", "resources": {"limits": {**limits, "cpu": "1"}}}
    return {
        "metadata": {"name": name, "namespace": "n", "labels": {"a": "b"}, "managedFields": [{}]},
        "spec": {"nodeName": "one", "containers": [container]},
        "status": {"phase": "Running"},
    }


class Api:
    """Two pages of a node's pods; others have their turn before each."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.refuses = False

    async def list_page(self, _resource: object, _namespace: object, params: dict[str, str]) -> Raw:
        node, token = params["fieldSelector"].partition("=")[2], params.get("continue", "")
        self.asked.append((node, token))
        await asyncio.sleep(0)
        if self.refuses:
            raise ApiError(403, "Forbidden", "pods is forbidden")
        if token:
            return {"metadata": {}, "items": [pod("second", **{"nvidia.com/gpu": "2"})]}
        return {"metadata": {"continue": "more"}, "items": [pod("plain"), pod("first", **{"a.b/c": "1"})]}


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def limits(found: list[Raw]) -> list[Raw]:
    return [one["spec"]["containers"][0]["resources"]["limits"] for one in found]


async def test_pods_with_devices_are_kept_trimmed() -> None:
    found = await DevicePods(cast("Kube", Api()), Clock()).on(["one"])
    assert limits(found) == [{"a.b/c": "1"}, {"nvidia.com/gpu": "2"}]
    assert found[0]["metadata"] == {"namespace": "n", "labels": {"a": "b"}}
    assert (found[0]["spec"]["nodeName"], found[0]["status"]) == ("one", {"phase": "Running"})


@pytest.mark.parametrize("refuses", [False, True])
async def test_who_asks_while_another_reads_has_its_answer(*, refuses: bool) -> None:
    api = Api()
    api.refuses = refuses
    pods = DevicePods(cast("Kube", api), Clock())
    found = await asyncio.gather(*(pods.on(["one", "two"]) for _ in range(20)))
    pages = ("",) if refuses else ("", "more")
    assert sorted(api.asked) == sorted((node, page) for node in ("one", "two") for page in pages)
    assert {len(each) for each in found} == {0 if refuses else 4}


async def test_what_was_read_is_old_after_a_while() -> None:
    api, clock = Api(), Clock()
    pods = DevicePods(cast("Kube", api), clock)
    for clock.now in (0.0, devices.FRESH_SECONDS - 1):
        await pods.on(["one"])
    assert len(api.asked) == 2
    clock.now = devices.FRESH_SECONDS
    await pods.on(["one"])
    assert len(api.asked) == 4
