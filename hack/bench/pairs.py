"""Runs two commands in turns and prints their times and peak memory as JSON; a script for inside a pod.

The environment's ``PAIRS``: ``{"rounds", "before", "pairs": [{"name", "bare", "ours"}]}``, each a shell
command; ``before`` runs ahead of every one and is not timed. Standard output: medians, as
``{name: {"bare": [seconds, bytes], "ours": [seconds, bytes]}}``. Standard library only: any image's Python
runs it.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time


def main() -> None:
    """Measure every pair; the first round warms the page cache and does not count."""
    asked = json.loads(os.environ["PAIRS"])
    found = {}
    for pair in asked["pairs"]:
        rounds = [
            {side: run(asked["before"], pair[side]) for side in ("bare", "ours")}
            for _ in range(asked["rounds"] + 1)
        ]
        found[pair["name"]] = {
            side: [statistics.median(one[side][index] for one in rounds[1:]) for index in (0, 1)]
            for side in ("bare", "ours")
        }
    print(json.dumps(found))


def run(before: str, command: str) -> tuple[float, int]:
    """Return the seconds that a command took and the largest memory that one process of it had, bytes."""
    subprocess.run(["sh", "-ec", before], check=True)
    began = time.monotonic()
    process = subprocess.Popen(["sh", "-ec", command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    output = process.stdout.read() if process.stdout else b""
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{command}: ended with {status}\n{output.decode(errors='replace')[-2000:]}")
    return time.monotonic() - began, usage.ru_maxrss * 1024


main()
