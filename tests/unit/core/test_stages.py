"""The life of a stage: start, wait, retry ever more slowly, give up, begin anew."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from slipway.plan.failures import Kind
from slipway.plan.stages import (
    BACKOFF_LIMIT,
    Do,
    State,
    Try,
    last_progress,
    next_stage,
    next_step,
    progress_text,
    retry_delay,
)
from slipway.plan.symptoms import Symptoms

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
HUB_DOWN = Symptoms(
    failed=True, exit_code=75, result={"ok": False, "reason": "HubUnavailable", "message": "502"}
)
GATED = Symptoms(
    failed=True, exit_code=77, result={"ok": False, "reason": "GatedRepository", "message": "no"}
)
BUG = Symptoms(failed=True, exit_code=70)
OOM = Symptoms(failed=True, exit_code=137, terminated="OOMKilled")
UNPULLED = Symptoms(waiting="ImagePullBackOff", image="reg/wrong:1")


def failed(symptoms: Symptoms, *, attempt: int = 1, count: int = 1, ago: float = 0, stamp: str = "s") -> Try:
    ended = NOW - timedelta(seconds=ago)
    return Try(f"job-{attempt}", attempt, count, stamp, State.FAILED, ended, symptoms)


def running(attempt: int = 1, symptoms: Symptoms | None = None) -> Try:
    return Try(f"job-{attempt}", attempt, attempt, "s", State.RUNNING, symptoms=symptoms or Symptoms())


def test_nothing_there_starts_the_first() -> None:
    step = next_step([], "s", NOW)
    assert (step.do, step.attempt, step.count) == (Do.START, 1, 1)


def test_a_running_one_is_waited_for_with_its_progress() -> None:
    step = next_step([replace(running(), progress={"percent": 43})], "s", NOW)
    assert (step.do, step.progress["percent"], step.verdict) == (Do.WAIT, 43, None)


def test_a_result_is_taken_whatever_the_stamp() -> None:
    done = Try("j", 1, 1, "old", State.SUCCEEDED, NOW, result={"ok": True, "digest": "d"})
    assert next_step([done], "new", NOW).do is Do.DONE


def test_transient_failures_are_retried_for_ever_ever_more_slowly() -> None:
    for count in (1, 4, 50):
        soon = failed(HUB_DOWN, attempt=count, count=count, ago=retry_delay(count, 0) - 1)
        step = next_step([soon], "s", NOW)
        assert (step.do, step.after) == (Do.WAIT, NOW + timedelta(seconds=1))
        assert step.verdict is not None
        assert step.verdict.reason == "HubUnavailable"
        due = failed(HUB_DOWN, attempt=count, count=count, ago=retry_delay(count, 0))
        assert next_step([due], "s", NOW).do is Do.START
    assert retry_delay(50, 0) == BACKOFF_LIMIT


def test_a_permanent_failure_is_never_retried() -> None:
    step = next_step([failed(GATED, ago=1e6)], "s", NOW)
    assert step.do is Do.FAIL
    assert step.verdict is not None
    assert step.verdict.kind is Kind.PERMANENT


def test_a_changed_stamp_starts_anew_with_a_fresh_name() -> None:
    step = next_step([failed(GATED, attempt=3, count=3)], "other", NOW)
    assert (step.do, step.attempt, step.count) == (Do.START, 4, 1)


def test_a_bug_is_tried_three_times() -> None:
    last = failed(BUG, ago=1e6)
    for number in (2, 3):
        step = next_step([last], "s", NOW)
        assert (step.do, step.attempt, step.limited) == (Do.START, number, number - 1)
        last = replace(last, attempt=number, count=number, limited=step.limited)
    assert next_step([last], "s", NOW).do is Do.FAIL


def test_drains_and_a_hub_that_was_down_do_not_count_against_a_bug() -> None:
    step = next_step([failed(HUB_DOWN, attempt=9, count=9, ago=1e6)], "s", NOW)
    assert (step.do, step.count, step.limited) == (Do.START, 10, 0)
    step = next_step([failed(BUG, attempt=10, count=10, ago=1e6)], "s", NOW)
    assert (step.do, step.limited) == (Do.START, 1)


def test_what_was_killed_for_memory_gets_twice_as_much() -> None:
    last = failed(OOM, ago=1e6)
    for memory in (2, 4):
        step = next_step([last], "s", NOW)
        assert (step.do, step.memory) == (Do.START, memory)
        last = replace(last, attempt=step.attempt, limited=step.limited, memory=step.memory)
    assert next_step([last], "s", NOW).do is Do.FAIL
    killed = replace(last, symptoms=Symptoms(failed=True, exit_code=137, terminated="Error"), limited=1)
    assert next_step([killed], "s", NOW).memory == 4  # what was found to be needed stays
    assert next_step([last], "other", NOW).memory == 1


def waiting(**fields: object) -> Try:
    given = {"stamp": "s", "template": "old", "symptoms": UNPULLED, **fields}
    return replace(running(2), **given)  # type: ignore[arg-type]


def test_a_job_that_waits_is_replaced_once_it_would_be_another_one() -> None:
    step = next_step([failed(HUB_DOWN), waiting(count=2, memory=2, limited=1)], "s", NOW, lambda _: "new")
    assert (step.do, step.attempt, step.obsolete) == (Do.START, 3, ("job-2",))
    # It never ran: it counts for nothing.
    assert (step.count, step.memory, step.limited) == (2, 2, 1)
    other = next_step([waiting(count=2)], "another", NOW, lambda _: "old")
    assert (other.do, other.count, other.obsolete) == (Do.START, 1, ("job-2",))


def test_the_template_is_compared_with_the_same_memory() -> None:
    template = {1: "one", 2: "two"}.__getitem__
    assert next_step([waiting(template="two", memory=2)], "s", NOW, template).do is Do.WAIT
    assert next_step([waiting(template="one", memory=2)], "s", NOW, template).do is Do.START


def test_a_job_is_left_alone_that_ran_or_is_right_or_has_no_trouble() -> None:
    for one in (
        waiting(ran=True),
        waiting(template="new"),
        waiting(template=""),  # made by an operator that did not say
        waiting(symptoms=Symptoms()),
    ):
        assert next_step([one], "s", NOW, lambda _: "new").do is Do.WAIT


def test_a_lost_result_is_looked_for_again_after_the_caches_had_time() -> None:
    lost = Try("j", 1, 1, "s", State.SUCCEEDED, NOW - timedelta(seconds=3), Symptoms(gone=True))
    assert next_step([lost], "s", NOW).do is Do.WAIT
    later = NOW + timedelta(seconds=60)
    step = next_step([lost], "s", later)
    assert (step.do, step.attempt) == (Do.START, 2)


def test_the_trouble_of_the_last_try_stays_said_until_the_new_one_gets_on() -> None:
    tries = [failed(HUB_DOWN, ago=10), running(2)]
    step = next_step(tries, "s", NOW)
    assert step.do is Do.WAIT
    assert step.verdict is not None
    assert step.verdict.reason == "HubUnavailable"
    better = [failed(HUB_DOWN, ago=10), replace(running(2), progress={"percent": 1})]
    assert next_step(better, "s", NOW).verdict is None


def test_old_failed_jobs_are_named_for_deletion() -> None:
    tries = [failed(HUB_DOWN, attempt=n, count=n, ago=1e6) for n in (1, 2, 3, 4)]
    assert next_step(tries, "s", NOW).obsolete == ("job-1", "job-2")


def test_progress_is_the_newest_whole_line() -> None:
    lines = ['{"stage":"fetch","percent":1}', '{"stage":"fetch","percent":2}', '{"sta']
    tail = "\nnoise\n".join(f"SLIPWAY-PROGRESS {line}" for line in lines)
    assert last_progress(tail)["percent"] == 2
    assert last_progress("nothing") == {}
    assert last_progress('SLIPWAY-PROGRESS "x"\nSLIPWAY-PROGRESS {"percent":"9"}') == {}


def test_texts_for_people() -> None:
    assert progress_text("quantize", 43) == "Quantizing 43%"
    assert progress_text("fetch", None) == "Fetching"


def test_stages_come_in_order() -> None:
    order = ("convert", "evaluate", "publish")
    assert next_stage(order, ()) == "convert"
    assert next_stage(order, ("convert",)) == "evaluate"
    assert next_stage(order, order) is None
