"""The bounds of the election: safe for two clocks that never meet, and quick enough after a kill."""

from __future__ import annotations

from slipway import leader

PROMISED_SECONDS = 5.0
FIRST_PASS_SECONDS = 1.0
"""For the answers of the API server and the new leader's first pass."""


def test_a_leader_gives_up_before_another_may_take_over() -> None:
    assert leader.REQUEST_SECONDS < leader.RENEW_DEADLINE < leader.LEASE_DURATION
    assert float(leader.LEASE_DURATION).is_integer()  # the Lease says whole seconds


def test_after_a_renewal_that_hangs_another_is_tried_in_time() -> None:
    second = leader.RENEW_EVERY + leader.REQUEST_SECONDS + leader.POLL
    assert second + leader.POLL <= leader.RENEW_DEADLINE


def test_failover_keeps_its_promise() -> None:
    # Seen up to one look late, noticed as ended up to one look late.
    assert leader.LEASE_DURATION + 2 * leader.POLL + FIRST_PASS_SECONDS <= PROMISED_SECONDS
