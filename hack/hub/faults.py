"""What can be made to go wrong in the small hub, for tests: outages, slow and cut downloads, 503 bursts.

Called by server.py; set over its admin port: `curl -X PUT -d '{"bytes_per_second": 100000}' ADMIN/faults`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Faults:
    """The faults in force; the defaults are none.

    down: connections are refused. bytes_per_second: how fast each download goes. cut_after: a download is
    cut after that many bytes, the next `cuts` times (-1: always). unavailable: the next N requests get 503.
    """

    down: bool = False
    bytes_per_second: int | None = None
    cut_after: int | None = None
    cuts: int = -1
    unavailable: int = 0

    def take_unavailable(self) -> bool:
        """Return whether this request is to fail with 503, and count it."""
        if self.unavailable <= 0:
            return False
        self.unavailable -= 1
        return True

    def take_cut(self) -> int | None:
        """Return after how many bytes this download is to be cut, None for not at all, and count it."""
        if self.cut_after is None or self.cuts == 0:
            return None
        self.cuts -= self.cuts > 0
        return self.cut_after
