"""Which process of a parallel test run gets which test: the next one goes to whoever is free.

Our own, because what pytest-xdist has does not fit: ``load`` hands tests out in advance, so that one process
ends up with the long ones; ``loadfile`` keeps the long ones of a file together; ``loadgroup`` 3.8 sets an
attribute that pytest 9.2 no longer reads, and so groups nothing.
"""

from __future__ import annotations

from typing import Any

from xdist.scheduler import LoadScopeScheduling

SHARED = ("tests/api/test_chart.py", "tests/api/test_manifests.py", "tests/golden/chart/test_chart.py")
"""Files whose tests share something that is dear to make: they stay in one process."""


class OneByOne(LoadScopeScheduling):
    """One test at a time, and one more in the queue: pytest wants to know what comes next."""

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.partition("::")[0]
        return path if path in SHARED else nodeid

    def _reschedule(self, node: Any) -> None:
        if not self.workqueue or self._pending_of(self.assigned_work[node]) <= 1:
            super()._reschedule(node)
