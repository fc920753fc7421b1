"""Whose field is whose: all of the spec becomes ours, but what an autoscaler, a controller or nobody has."""

from __future__ import annotations

from typing import Any

from slipway.api import FIELD_MANAGER
from slipway.managed import spec_taken_over

Raw = dict[str, Any]
PORT = 'k:{"port":9090,"protocol":"TCP"}'


def entry(
    manager: str, spec: Raw, *, operation: str = "Update", version: str = "apps/v1", **more: Any
) -> Raw:
    fields = {"fieldsV1": {"f:spec": spec, **more.pop("beside", {})}}
    return {"manager": manager, "operation": operation, "apiVersion": version, **fields, **more}


def ours(spec: Raw, **more: Any) -> Raw:
    return entry(FIELD_MANAGER, spec, operation="Apply", **more)


def raw(*entries: Raw) -> Raw:
    return {"apiVersion": "apps/v1", "metadata": {"managedFields": list(entries)}}


def test_nested_fields_of_several_hands_become_ours() -> None:
    found = raw(
        ours({"f:ports": {"k:80": {".": {}, "f:port": {}}}}, beside={"f:metadata": {"f:labels": {}}}),
        entry("kubectl-edit", {"f:ports": {PORT: {".": {}, "f:port": {}}}}),
        entry("kubectl-patch", {"f:ports": {PORT: {"f:name": {}}}, "f:paused": {}}),
    )
    ports = {"k:80": {".": {}, "f:port": {}}, PORT: {".": {}, "f:port": {}, "f:name": {}}}
    spec = {"f:ports": ports, "f:paused": {}}
    assert spec_taken_over(found, {}) == [ours(spec, beside={"f:metadata": {"f:labels": {}}})]


def test_what_is_not_spec_stays_whose_it_is() -> None:
    note = {"f:metadata": {"f:annotations": {"f:note": {}}}}
    found = raw(ours({"f:a": {}}), entry("kubectl-edit", {"f:b": {}}, beside=note))
    left = {**entry("kubectl-edit", {}), "fieldsV1": note}
    assert spec_taken_over(found, {}) == [ours({"f:a": {}, "f:b": {}}), left]


def test_subresources_and_other_versions_are_left_alone() -> None:
    status = entry("kube-controller-manager", {"f:x": {}}, subresource="status")
    older = entry("kubectl-edit", {"f:y": {}}, version="apps/v1beta1")
    hand = entry("kubectl-edit", {"f:b": {}})
    assert spec_taken_over(raw(ours({}), status, older, hand), {}) == [ours({"f:b": {}}), status, older]


def test_replicas_are_taken_over_where_they_are_wished_only() -> None:
    found = raw(ours({}), entry("autoscaler", {"f:replicas": {}, "f:b": {}}))
    left = entry("autoscaler", {"f:replicas": {}})
    assert spec_taken_over(found, {}) == [ours({"f:b": {}}), left]
    assert spec_taken_over(found, {"replicas": 2}) == [ours({"f:replicas": {}, "f:b": {}})]


def test_what_is_ours_alone_has_nothing_to_be_taken_over() -> None:
    assert spec_taken_over(raw(ours({"f:a": {}}), entry("autoscaler", {"f:replicas": {}})), {}) == []
    assert spec_taken_over({"apiVersion": "apps/v1", "metadata": {}}, {}) == []
