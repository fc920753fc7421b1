"""When two plans are the same for pods and artifacts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from slipway.engines import decide
from slipway.plan.decision import Plan
from slipway.settings import Settings
from tests.support.planning import MODELS, NODES, spec


def plan(*names: str, **fields: Any) -> Plan:
    return decide(spec(**fields), MODELS["smollm2-135m"], [NODES[name] for name in names], Settings())


def test_cpu_of_nothing_is_as_good_as_none() -> None:
    """The API refuses it; a revision of before may be planned anew with it."""
    assert plan("server-64", engine={"resources": {"cpu": "0"}}).effect == (plan("server-64").effect)


def test_plans_of_one_effect_may_read_otherwise() -> None:
    one, two = plan("local"), plan("local", "down")
    assert one != two
    assert one.effect == two.effect
    assert one.effect != replace(one, threads=1).effect
