"""The main job as a user lives it: one command, and a quantised, measured endpoint answers."""

from __future__ import annotations

import json
import re
import subprocess
import time

import pytest

from tests.cluster.access import ROOT
from tests.cluster.callers import client
from tests.cluster.conftest import DEMO, Demo
from tests.cluster.namespaces import Cluster
from tests.cluster.stages import level_of
from tests.cluster.tables import column

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]
AGAIN_S = 60
STEP = re.compile(r"^ +\d+:\d\d  (\w+)(?: (\d+)%)?", re.MULTILINE)
"""A line of the demo's: elapsed time, what works, and how far it is."""
SPEED = re.compile(r"(\d+) tokens, first after \d+ ms, then ([\d.]+) tokens/s")


def answered(said: str) -> None:
    """The demo printed the model's answer and its speed."""
    speed = SPEED.search(said)
    assert speed, said
    assert int(speed[1]) > 10
    assert float(speed[2]) > 0
    answer = said[: speed.start()].rpartition("  > What is gravity?\n")[2]
    assert len(answer.split()) > 5, said


def test_the_demo_shows_every_stage_and_the_answer(demo: Demo) -> None:
    said = demo.said()
    answered(said)
    stages = {match[1] for match in STEP.finditer(said)}
    assert {"Inspecting", "Fetching", "Converting", "Evaluating", "Quantizing", "Benchmarking"} <= stages, (
        said
    )
    percents = [int(match[2]) for match in STEP.finditer(said) if match[2]]
    assert any(0 < percent < 100 for percent in percents), said


def test_the_commands_that_the_demo_ends_with_run_as_they_stand(demo: Demo, served: Cluster) -> None:
    lines = demo.said().partition("where to look next:\n")[2].splitlines()
    commands = [line.partition("  # ")[0].strip() for line in lines if line.strip().startswith(".venv/")]
    assert len(commands) == 5, lines
    for command in commands:
        done = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S602 - as a person types it
        found = 1 if " checklist " in command else 0  # a rule is FAIL: there is no authentication
        assert done.returncode == found, (command, done.stderr)
        assert done.stdout, command


def test_the_demo_again_is_quick_and_answers(served: Cluster) -> None:
    before = served.mdl("smollm2")["metadata"]["generation"]
    started = time.monotonic()
    done = subprocess.run(DEMO, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert time.monotonic() - started < AGAIN_S
    answered(done.stdout)
    assert served.mdl("smollm2")["metadata"]["generation"] == before


def test_chat_completions_streaming_and_models_by_the_openai_client(served: Cluster) -> None:
    with client(served) as ai:
        assert [m.id for m in ai.models.list()] == ["smollm2"]
        chat = ai.chat.completions.create(
            model="smollm2",
            messages=[{"role": "user", "content": "Say hello."}],
            max_tokens=16,
            temperature=0,
        )
        assert chat.choices[0].message.content
        assert chat.usage is not None
        assert chat.usage.completion_tokens > 0
        text = ai.completions.create(
            model="smollm2", prompt="The capital of France is", max_tokens=4, temperature=0
        )
        assert text.choices[0].text.strip()
        stream = ai.chat.completions.create(
            model="smollm2",
            messages=[{"role": "user", "content": "Count to five."}],
            max_tokens=24,
            stream=True,
        )
        chunks = [c.choices[0].delta.content for c in stream if c.choices and c.choices[0].delta.content]
        assert len(chunks) > 1


def test_status_pins_the_commit_and_says_the_plan_and_the_measured_loss(served: Cluster) -> None:
    status = served.mdl("smollm2")["status"]
    assert re.fullmatch(r"[0-9a-f]{40}", status["source"]["commit"])
    assert status["plan"]["engine"] == "llamacpp"
    assert status["plan"]["level"] == "Q4_K_M"
    assert status["plan"]["reason"]
    assert status["plan"]["rejected"]
    loss = float(status["qualityLoss"].rstrip("%"))
    assert 0 < loss < 20
    assert status["url"].startswith("http://smollm2.")
    revision = served.get("controllerrevisions", status["revision"])
    assert revision["data"]["source"]["commit"] == status["source"]["commit"]


def test_artifacts_have_digest_size_quality_and_place(served: Cluster) -> None:
    artifacts = {level_of(one): one for one in served.list("mart")}
    assert set(artifacts) == {"source", "F16", "Q4_K_M"}
    for artifact in artifacts.values():
        assert re.fullmatch(r"sha256:[0-9a-f]{64}", artifact["status"]["digest"])
        assert artifact["status"]["sizeBytes"] > 1_000_000
        assert artifact["status"]["location"]["path"] == "published"
    base, level = artifacts["F16"]["status"]["quality"], artifacts["Q4_K_M"]["status"]["quality"]
    measured = float(level["perplexity"]) / float(base["perplexity"]) - 1
    assert float(level["loss"].rstrip("%")) == pytest.approx(100 * measured, abs=0.06)
    assert level["textDigest"] == base["textDigest"]


def test_checklist_is_measured_and_honest(served: Cluster) -> None:
    status = served.mdl("smollm2")["status"]
    results = {r["check"]: r for r in status["checklist"]["results"]}
    assert len(results) >= 12
    assert results["authentication"]["result"] == "FAIL"
    assert results["authentication"]["fix"]
    assert results["pod-security"]["result"] == "PASS"
    assert results["image-digests"]["result"] == "PASS"
    for result in results.values():
        assert result["evidence"]
    levels = status["benchmark"]["levels"]
    assert len(levels) == 2
    for level in levels:
        assert level["errors"] == 0
        assert float(level["tokensPerSecond"]) > 0
        assert float(level["ttftP95Ms"]) >= float(level["ttftP50Ms"]) > 0


def test_checklist_by_the_command_line_and_in_the_column(served: Cluster) -> None:
    line = [str(ROOT / ".venv/bin/slipway"), "checklist", "smollm2", "-n", served.namespace]
    where = ["--kubeconfig", str(ROOT / ".cluster/kubeconfig")]
    done = subprocess.run([*line, *where, "-o", "json"], capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr  # a rule is FAIL
    checklist = served.mdl("smollm2")["status"]["checklist"]
    assert json.loads(done.stdout) == checklist
    assert re.fullmatch(r"\d+/\d+", checklist["summary"])
    assert column(served, "mdl", "smollm2", "CHECKLIST") == checklist["summary"]
    table = subprocess.run([*line, *where], capture_output=True, text=True, check=False)
    assert table.returncode == 1
    assert f"{checklist['summary']} passed" in table.stdout
    line[2] = "no-such-model"
    missing = subprocess.run([*line, *where], capture_output=True, text=True, check=False)
    assert missing.returncode == 2
    assert "no-such-model" in missing.stderr
