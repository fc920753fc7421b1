"""The quantize stage beside bare llama-quantize on the same file, in the same pod, in turns."""

from __future__ import annotations

import statistics

from hack.bench.cluster_pod import Pod, artifact
from hack.bench.figures import Figure

ROUNDS = 5
GOAL = 1.1
SCRIPT = """
now() { date +%s%N; }
for round in $(seq 0 ROUNDS); do
  rm -rf /store/work /store/bare.gguf
  a=$(now)
  llama-quantize /parent/published/model.gguf /store/bare.gguf Q4_K_M 2 >/tmp/bare.log 2>&1
  b=$(now)
  # The bare tool leaves its bytes to the kernel; the flush of ours must not pay for them.
  rm /store/bare.gguf; sync
  c=$(now)
  SLIPWAY_LEVEL=Q4_K_M SLIPWAY_METHOD=gguf SLIPWAY_THREADS=2 SLIPWAY_TERMINATION_LOG=/tmp/end HOME=/tmp \
    slipway-runtime quantize >/tmp/ours.log 2>&1 || { cat /tmp/ours.log /tmp/end; exit 1; }
  d=$(now)
  echo "$round $((b-a)) $((d-c))"
done
"""


def measure() -> list[Figure]:
    """Median of the rounds after a first that warms the page cache."""
    base = artifact("F16")
    with Pod("bench-quantize", "runtime", base["status"]["location"]["claim"], "/parent") as pod:
        lines = pod.run(SCRIPT.replace("ROUNDS", str(ROUNDS))).split("\n")
    rounds = [tuple(map(int, line.split()[1:])) for line in lines if line and not line.startswith("0 ")]
    bare = statistics.median(r[0] for r in rounds) / 1e9
    ours = statistics.median(r[1] for r in rounds) / 1e9
    size = base["status"]["sizeBytes"] / 1e6
    what = f"quantize stage / bare llama-quantize, {size:.0f} MB to Q4_K_M, median of {ROUNDS}"
    value = f"{ours / bare:.2f} x ({ours:.2f} s / {bare:.2f} s)"
    return [Figure(what, value, f"<= {GOAL} x", ours / bare <= GOAL)]
