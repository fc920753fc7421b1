"""``make bench``: measure the figures that we promise, here and now, and print them as a table."""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import sys
import time
import traceback
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from hack.bench.figures import Figure, table  # noqa: E402 - after the path

SUITES = {
    "plan": "one decision against 100 and 5,000 nodes",
    "scale": "1,000 objects on etcd and kube-apiserver: rate, restart, writes, memory, failover",
    "methods": "fetch, convert and quantize beside the bare tools: time, memory (needs make demo)",
    "first_token": "apply to first token beside a bare llama-server, artifact there (needs make demo)",
    "engine_first_token": "the same for vLLM (needs the engines' images too)",
}
ON_DEMAND = frozenset({"engine_first_token"})  # by name only: 6 GB of images


def machine() -> str:
    """Cores, memory, processor and kernel of this machine."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "?")
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    return f"{os.cpu_count()} cores ({model}), {memory:.0f} GiB, Linux {platform.release()}"


def main() -> int:
    """Run the suites; exit code 1 when a goal was missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "suite", nargs="*", help=f"of: {', '.join(SUITES)}; default all that `make demo` is enough for"
    )
    args = parser.parse_args()
    if unknown := set(args.suite) - set(SUITES):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(SUITES)}")
    figures: list[Figure] = []
    failed: list[str] = []
    for name in args.suite or [one for one in SUITES if one not in ON_DEMAND]:
        print(f"== {name}: {SUITES[name]}", flush=True)
        try:
            figures += importlib.import_module(f"hack.bench.{name}").measure()
        except Exception as error:  # noqa: BLE001 - what the other suites measured is shown all the same
            traceback.print_exc()
            failed.append(f"{name}: {type(error).__name__}: {error}")
    print(f"\n{time.strftime('%Y-%m-%d')}, {machine()}\n\n{table(figures)}")
    for line in failed:
        print(f"\nNOT MEASURED {line}", file=sys.stderr)
    return 0 if not failed and all(figure.met for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
