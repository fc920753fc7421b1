"""The cache of one kind: what is late, what is gone, what a list says after a restore of etcd."""

from __future__ import annotations

from typing import Any

from slipway.observe import store as module
from slipway.observe.kinds import owners
from slipway.observe.store import Store

Raw = dict[str, Any]


def service(version: int, uid: str = "u", name: str = "a", **meta: Any) -> Raw:
    return {"metadata": {"name": name, "namespace": "n", "uid": uid, "resourceVersion": str(version), **meta}}


def test_a_late_answer_does_not_turn_a_newer_version_back() -> None:
    store = Store(owners)
    store.put(service(7))
    assert store.put(service(6)) == (False, service(7))
    assert store.put(service(6, uid="of-the-one-before"))[0] is False
    assert store.put(service(8, uid="of-the-next"))[0] is True


def test_a_late_answer_does_not_bring_a_deleted_object_back() -> None:
    store = Store(owners)
    store.put(service(5))
    assert store.drop(service(9)) == service(5)
    assert store.put(service(8)) == (False, None)
    assert store.get("n", "a") is None


def test_what_only_lost_its_label_comes_back_with_it() -> None:
    store = Store(owners)
    store.put(service(5))
    store.drop(service(6))
    assert store.put(service(6))[0] is True  # looked at by name
    store.drop(service(6))
    assert store.put(service(7))[0] is True


def test_a_late_deletion_leaves_what_was_made_since() -> None:
    store = Store(owners)
    store.put(service(5, uid="old"))
    store.put(service(8, uid="new"))
    assert store.drop(service(7, uid="old")) is None
    assert store.get("n", "a") == service(8, uid="new")


def test_the_deleted_are_remembered_up_to_a_number(monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "GONE_KEPT", 2)
    store = Store(owners)
    for uid in ("one", "two", "three"):
        store.drop(service(9, uid=uid))
    assert store.put(service(8, uid="two"))[0] is False
    assert store.put(service(8, uid="one"))[0] is True


def test_a_list_is_believed_even_with_older_versions() -> None:
    store = Store(owners)
    store.put(service(1000))
    store.put(service(1001, uid="b", name="b"))
    store.drop(service(1002, uid="b", name="b"))
    before = store.held("n")
    assert store.put_listed(service(400), before[("n", "a")]) == (True, service(1000))
    assert store.put_listed(service(401, uid="b", name="b"), None)[0] is True
    assert store.get("n", "b") == service(401, uid="b", name="b")


def test_what_came_while_the_list_was_read_stays() -> None:
    store = Store(owners)
    store.put(service(5))
    store.put(service(5, uid="b", name="b"))
    before = store.held("n")
    store.put(service(12))
    store.put(service(13, uid="b2", name="b"))
    assert store.put_listed(service(9), before[("n", "a")])[0] is False
    assert store.drop_unlisted(before[("n", "b")], "10") is False
    assert (store.get("n", "a"), store.get("n", "b")) == (service(12), service(13, uid="b2", name="b"))


def test_what_a_list_lacks_does_not_come_back_by_a_late_answer() -> None:
    store = Store(owners)
    store.put(service(5))
    assert store.drop_unlisted(store.held("n")[("n", "a")], "10") is True
    assert store.put(service(9))[0] is False
    assert store.put(service(11))[0] is True


def test_versions_that_are_no_numbers_are_taken_as_they_come() -> None:
    store = Store(owners)
    for version in ("x", "y"):
        assert store.put({"metadata": {**service(0)["metadata"], "resourceVersion": version}})[0] is True
    assert store.drop(service(0)) is not None


def test_the_index_follows_the_objects() -> None:
    store = Store(owners)
    store.put(service(1, ownerReferences=[{"uid": "u"}]))
    assert [raw["metadata"]["name"] for raw in store.find("owner:u")] == ["a"]
    store.put(service(2, ownerReferences=[{"uid": "v"}]))
    assert store.find("owner:u") == ()
    store.drop(service(3))
    assert store.find("owner:v") == ()
