"""Slots of Jobs, read from the caches: what counts, who waits, who is woken, and no slot given twice."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from slipway.apply import Applier
from slipway.observe.kinds import WATCHED
from slipway.observe.observed import ArtifactObserved
from slipway.observe.observer import Observer
from slipway.observe.slots import LAG_SECONDS, STUCK_SECONDS, Slots
from slipway.observe.store import Store
from slipway.queue import Key
from slipway.reconcile import Reconciler
from slipway.settings import Settings
from slipway.status import timestamp
from tests.unit.core.test_passes import source

Raw = dict[str, Any]
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
INDEX = {one.resource.kind: one.index for one in WATCHED}
QUEUED = {"conditions": [{"type": "Ready", "status": "False", "reason": "Queued"}]}


class World:
    """Caches, slots over them, and what was woken."""

    def __init__(self, limit: int = 1) -> None:
        self.jobs, self.artifacts = Store(INDEX["Job"]), Store(INDEX["ModelArtifact"])
        self.woken: list[str] = []
        self.seconds = 0.0
        self._versions = itertools.count(1)
        self.slots = Slots(
            limit,
            self.jobs,
            self.artifacts,
            lambda key: self.woken.append(key.name),
            lambda: self.seconds,
            lambda: NOW + timedelta(seconds=self.seconds),
        )

    def artifact(self, name: str, age: float = 0, status: Raw | None = None, namespace: str = "n") -> Raw:
        raw = {
            "kind": "ModelArtifact",
            "metadata": {
                "name": name,
                "namespace": namespace,
                "uid": f"uid-{name}",
                "creationTimestamp": timestamp(NOW - timedelta(seconds=age)),
                "resourceVersion": str(next(self._versions)),
            },
            "spec": {},
            "status": status or {},
        }
        self.artifacts.put(raw)
        return raw

    def queued(self, name: str, age: float = 0, namespace: str = "n") -> Raw:
        return self.artifact(name, age, QUEUED, namespace)

    def job(self, artifact: str, ended: str = "", at: float = 0, namespace: str = "n", **labels: str) -> Raw:
        raw = job(artifact, namespace, **labels)
        done = {"type": ended, "status": "True", "lastTransitionTime": timestamp(NOW + timedelta(seconds=at))}
        raw["metadata"] |= {
            "uid": f"uid-job-{artifact}",
            "creationTimestamp": timestamp(NOW),
            "resourceVersion": str(next(self._versions)),
        }
        self.jobs.put({**raw, "status": {"conditions": [done] if ended else []}})
        return raw

    def visit(self, raw: Raw, *, says: Raw | None = None, creates: tuple[Raw, ...] = ()) -> int:
        """A whole pass over an artifact that wants a Job; returns the place that it was told."""
        key = key_of(raw)
        with self.slots.visit(key):
            place = self.slots.turn(raw).place
            self.slots.take(key, creates, says)
        return place


def key_of(raw: Raw) -> Key:
    return Key(raw["kind"], raw["metadata"]["namespace"], raw["metadata"]["name"])


def job(artifact: str, namespace: str = "n", **labels: str) -> Raw:
    owner = {"uid": f"uid-{artifact}", "kind": "ModelArtifact", "name": artifact}
    meta = {
        "name": f"{artifact}-fetch-1",
        "namespace": namespace,
        "labels": {"slipway.dev/artifact": artifact, **labels},
        "ownerReferences": [owner],
    }
    return {"kind": "Job", "metadata": meta, "status": {}}


def test_an_unfinished_job_takes_a_slot_and_a_finished_one_gives_it_back() -> None:
    world = World()
    mine = world.artifact("mine")
    assert world.slots.turn(mine).place == 0
    world.job("other")
    assert (world.slots.turn(mine).place, world.slots.turn(mine).here) == (1, ("other-fetch-1",))
    world.job("other", "Complete")
    assert world.slots.turn(mine).place == 0


def test_without_a_cap_everybody_may_start() -> None:
    world = World(0)
    world.job("other")
    assert world.visit(world.artifact("mine")) == 0
    assert world.woken == []


@pytest.mark.parametrize("namespace", ["n", "another"])
def test_a_slot_of_another_pass_counts_before_the_cache_knows_its_job(namespace: str) -> None:
    """Two passes at once: the second asks while the first one's creation is under way."""
    world = World()
    first, second = world.artifact("first"), world.artifact("second", namespace=namespace)
    with world.slots.visit(key_of(first)):
        assert world.slots.turn(first).place == 0
        world.slots.take(key_of(first), (job("first"),), None)
        assert world.slots.turn(second).place == 1
        world.job("first")  # the answer to the creation comes in: it does not count twice
        assert len(world.slots.turn(second).here) + world.slots.turn(second).elsewhere == 1
    assert world.slots.turn(second).place == 1


def test_a_refused_job_gives_its_slot_back_at_once() -> None:
    world = World()
    first, second = world.artifact("first"), world.queued("second")
    world.visit(first, creates=(job("first"),))
    assert world.slots.turn(second).place == 0
    assert world.woken == ["second"]


def test_a_job_whose_creation_was_not_answered_counts_until_the_cache_would_show_it() -> None:
    world = World()
    first, second = world.artifact("first"), world.artifact("second")

    def unanswered() -> None:
        with world.slots.visit(key_of(first)):
            world.slots.take(key_of(first), (job("first"),), None)
            raise TimeoutError

    with pytest.raises(TimeoutError):
        unanswered()
    assert world.slots.turn(second).place == 1
    assert world.slots.turn(first).place == 0  # it may try again
    world.seconds = LAG_SECONDS
    assert world.slots.turn(second).place == 0


def test_the_first_of_the_queue_is_woken_when_a_job_ends() -> None:
    world = World()
    running = world.artifact("running", 90)
    world.job("running")
    for number in range(15):
        world.queued(f"m{number:02}", 60 - number)
    world.visit(running)
    assert world.woken == [f"m{number:02}" for number in range(10)]  # those whose place is told by number
    world.woken.clear()
    world.visit(running)
    assert world.woken == []  # nothing changed
    world.job("running", "Complete")
    world.visit(running)
    assert world.woken == [f"m{number:02}" for number in range(11)]


def test_an_older_one_that_waits_goes_first_and_a_younger_one_does_not_pass() -> None:
    world = World()
    old = world.queued("old", 60)
    young = world.artifact("young", 5)
    assert (world.slots.turn(young).place, world.slots.turn(old).place) == (1, 0)


def test_one_whose_pass_fails_keeps_no_slot_from_the_others() -> None:
    world = World()
    bad, good = world.queued("bad", 60), world.queued("good", 5)
    assert world.slots.turn(good).place == 1
    with pytest.raises(ValueError, match="bug"), world.slots.visit(key_of(bad)):
        raise ValueError("bug")
    assert world.woken == ["good"]
    assert world.slots.turn(good).place == 0
    world.visit(bad, says=QUEUED)  # it is well again
    assert world.slots.turn(good).place == 1


def test_one_that_its_pass_left_as_it_is_keeps_no_slot_from_the_others() -> None:
    """Nobody uses it any more, and a person made it: its status stays and says Queued."""
    world = World()
    left, good = world.queued("left", 60), world.queued("good", 5)
    with world.slots.visit(key_of(left)):
        world.slots.take(key_of(left), (), None)
    assert world.slots.turn(good).place == 0


def test_what_kueue_holds_neither_counts_nor_waits() -> None:
    world = World()
    world.job("held", **{"kueue.x-k8s.io/queue-name": "team"})
    world.queued("held", 60)
    assert world.slots.turn(world.artifact("mine")).place == 0


def test_a_job_whose_pod_never_starts_gives_its_slot_away_after_half_an_hour() -> None:
    world = World()
    stuck = world.artifact("stuck", status={"conditions": [{"type": "Ready", "reason": "Unschedulable"}]})
    world.job("stuck")
    mine = world.queued("mine")
    world.seconds = STUCK_SECONDS
    assert world.visit(mine, says=QUEUED) == 1
    world.woken.clear()
    world.seconds += 1
    world.visit(stuck)  # it is looked at every 15 s
    assert world.woken == ["mine"]
    assert world.visit(mine) == 0
    # Once it can start, it counts again.
    world.artifact("stuck", status={"conditions": [{"type": "Ready", "reason": "Building"}]})
    assert world.visit(mine) == 1


def test_jobs_of_a_model_do_not_count() -> None:
    world = World()
    inspect = job("x")
    inspect["metadata"]["labels"] = {"slipway.dev/model": "qwen", "slipway.dev/stage": "inspect"}
    world.jobs.put(inspect)
    assert world.slots.turn(world.artifact("mine")).place == 0


def test_a_failed_try_goes_behind_those_who_wait() -> None:
    world = World()
    world.job("fails", "Failed", at=-30)
    fails, other = world.queued("fails", 600), world.queued("other", 60)
    assert (world.slots.turn(other).place, world.slots.turn(fails).place) == (0, 1)


def test_a_stage_that_ended_well_keeps_the_place_of_its_artifact() -> None:
    world = World()
    world.job("next", "Complete", at=-30)
    following, other = world.queued("next", 600), world.queued("other", 60)
    assert (world.slots.turn(following).place, world.slots.turn(other).place) == (0, 1)


def test_a_namespace_that_was_served_lets_another_go_first_also_after_a_restart() -> None:
    world = World()
    world.job("done", "Complete", namespace="busy")
    busy, new = world.queued("old", 600, "busy"), world.queued("young", 1, "new")
    assert (world.slots.turn(new).place, world.slots.turn(busy).place) == (0, 1)


def test_a_deleted_artifact_does_not_wait() -> None:
    world = World()
    gone = world.queued("gone", 60)
    world.artifacts.put(
        {
            **gone,
            "metadata": gone["metadata"] | {"deletionTimestamp": timestamp(NOW), "resourceVersion": "99"},
        }
    )
    assert world.slots.turn(world.queued("other", 5)).place == 0


class SlowCluster:
    """Stands for observer and API: a Job is in the cache a while after it is asked for."""

    def __init__(self, world: World, names: list[str]) -> None:
        self.world = world
        self.most = 0
        self.seen = {}
        for name in names:
            seen = source()
            raw = {**seen.artifact, "metadata": world.artifact(name)["metadata"]}
            claim = {
                **(seen.claim or {}),
                "metadata": {"uid": "c", "ownerReferences": [{"uid": f"uid-{name}"}]},
            }
            self.seen[name] = replace(seen, artifact=raw, claim=claim)

    async def snapshot_artifact(self, key: Key) -> ArtifactObserved:
        await asyncio.sleep(0)
        return self.seen[key.name]

    async def relabel(self, *_: object) -> None:
        await asyncio.sleep(0)

    async def apply_child(self, *_: object) -> None:
        await asyncio.sleep(0)

    apply_status = apply_owners = post_event = apply_child

    async def create(self, body: Raw, _: str) -> None:
        await asyncio.sleep(0.01)
        self.world.job(body["metadata"]["labels"]["slipway.dev/artifact"])
        self.most = max(self.most, len(self.world.jobs.find("unfinished")))


async def test_passes_that_run_at_once_do_not_start_more_than_may() -> None:
    world = World(3)
    cluster = SlowCluster(world, [f"m{number}" for number in range(10)])
    reconciler = Reconciler(
        cast("Observer", cluster), world.slots, cast("Applier", cluster), Settings(), lambda: NOW
    )
    keys = [Key("ModelArtifact", "n", name) for name in cluster.seen]
    await asyncio.gather(*map(reconciler.reconcile, keys))
    assert cluster.most == 3
