"""Fetch, convert and quantize beside the bare tools on the same files: time and peak memory, in turns."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

from hack.bench.cluster_pod import Pod, artifact
from hack.bench.figures import Figure
from hack.cluster import layout

ROUNDS = 5
GOAL = 1.05
GIB = 2**30
PAIRS = Path(__file__).with_name("pairs.py")
HUB = "http://{}:{}".format(*layout.HUB)
STAGE = "SLIPWAY_TERMINATION_LOG=/tmp/end HOME=/tmp SLIPWAY_THREADS=2"
BEFORE = "rm -rf /store/work /store/published /store/partial /store/bare; mkdir /store/bare; sync"
BARE = "/store/bare/model.gguf"
CONVERT = "/opt/slipway/bin/python /opt/llama.cpp/convert_hf_to_gguf.py"

Sides = tuple[list[float], list[float]]
"""Seconds and bytes, of the bare tool and of ours."""


def measure() -> list[Figure]:
    """Medians of the rounds after a first that warms the page cache."""
    source, f16 = artifact("source"), artifact("F16")
    name = source["spec"]["source"]["uri"].removeprefix("hf://")
    commit = source["spec"]["source"]["commit"]
    hub = f"HF_ENDPOINT={HUB} HOME=/tmp"
    ours = f"{hub} {STAGE} SLIPWAY_SOURCE=hf://{name} SLIPWAY_REVISION={commit} slipway-runtime fetch"
    # hf leaves nothing verified: what it has fetched is flushed too, as ours is.
    bare = f"{hub} hf download {name} --revision {commit} --local-dir /store/bare; sync"
    fetched = _measure("runtime", source["status"]["location"]["claim"], {"fetch": (bare, ours)})
    convert = (
        f"{CONVERT} /parent/published --outtype f16 --outfile {BARE}; sync {BARE}",
        f"{STAGE} SLIPWAY_METHOD=gguf SLIPWAY_LEVEL=F16 slipway-runtime convert",
    )
    made = _measure("runtime", source["status"]["location"]["claim"], {"convert": convert})
    quantize = (
        f"llama-quantize /parent/published/model.gguf {BARE} Q4_K_M 2; sync {BARE}",
        f"{STAGE} SLIPWAY_METHOD=gguf SLIPWAY_LEVEL=Q4_K_M slipway-runtime quantize",
    )
    less = _measure("runtime", f16["status"]["location"]["claim"], {"quantize": quantize})
    size = source["status"]["sizeBytes"]
    return [_figure(name, *found, size) for name, found in {**fetched, **made, **less}.items()]


def _measure(
    role: str, claim: str, pairs: dict[str, tuple[str, str]]
) -> dict[str, tuple[list[float], list[float]]]:
    asked = {
        "rounds": ROUNDS,
        "before": BEFORE,
        "pairs": [{"name": name, "bare": bare, "ours": ours} for name, (bare, ours) in pairs.items()],
    }
    with Pod("bench-methods", role, claim, "/parent") as pod:
        given, program = shlex.quote(json.dumps(asked)), shlex.quote(PAIRS.read_text())
        script = f"PAIRS={given} /opt/slipway/bin/python -c {program}"
        found = json.loads(pod.run(script).splitlines()[-1])
    return {name: (one["bare"], one["ours"]) for name, one in found.items()}


def _figure(name: str, bare: list[float], ours: list[float], size: int) -> Figure:
    ratio = ours[0] / bare[0]
    pace = f"{size / ours[0] / 1e6:.0f} / {size / bare[0] / 1e6:.0f} MB/s, " if name == "fetch" else ""
    memory = f"{ours[1] / GIB:.2f} / {bare[1] / GIB:.2f} GiB"
    value = f"{ratio:.2f} x ({ours[0]:.2f} s / {bare[0]:.2f} s, {pace}peak {memory})"
    what = f"{name} stage / bare tool, {size / 1e6:.0f} MB model, median of {ROUNDS}"
    return Figure(what, value, f"<= {GOAL} x", ratio <= GOAL)
