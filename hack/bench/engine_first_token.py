"""Apply to first token of a vLLM pod when the artifact is there, beside bare vLLM on the same files.

Needs ``make demo``, then ``make engine-images`` and ``python hack/demo/install.py --engines``.
"""

from __future__ import annotations

import statistics

from hack.bench.cluster_pod import Pod, artifact
from hack.bench.figures import Figure
from hack.bench.first_token import apply_to_first_token

ROUNDS = 3
GOAL_S = 5.0
THREADS = 2
CONTEXT = 2048
# A pod starts with empty caches: so does each round of the bare server.
BARE = f"""
rm -rf /tmp/vllm* /tmp/torch* /tmp/triton /tmp/numba /tmp/cache /tmp/hf
export HOME=/tmp VLLM_CPU_KVCACHE_SPACE=1 VLLM_CPU_OMP_THREADS_BIND=nobind OMP_NUM_THREADS={THREADS}
export HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1 VLLM_NO_USAGE_STATS=1 USER=slipway LOGNAME=slipway
a=$(date +%s%N)
vllm serve --model /models/published --served-model-name bare --host 127.0.0.1 --port 9000 \\
  --max-model-len {CONTEXT} --max-num-seqs 2 --dtype bfloat16 --enforce-eager >/tmp/log 2>&1 & server=$!
body='{{"model":"bare","prompt":"a","max_tokens":1}}'
ask() {{ curl -sf -m 10 -H 'Content-Type: application/json' -d "$body" localhost:9000/v1/completions; }}
until ask >/tmp/answer; do kill -0 $server || {{ tail -5 /tmp/log >&2; exit 1; }}; sleep 0.05; done
b=$(date +%s%N)
kill $server; wait $server || true
echo $((b-a))
"""


def measure() -> list[Figure]:
    """Median of the rounds, each way, one after the other."""
    source = artifact("source")
    with Pod("bench-bare-vllm", "vllm", source["status"]["location"]["claim"], "/models") as pod:
        bare = statistics.median(int(pod.run(BARE)) / 1e9 for _ in range(ROUNDS))
    engine = {"name": "vllm", "contextLength": CONTEXT, "concurrency": 2}
    wish = {"engine": engine, "optimize": {"method": "none"}}
    ours = statistics.median(
        apply_to_first_token(source["spec"]["source"], patience=300, **wish) for _ in range(ROUNDS)
    )
    value = f"{ours - bare:+.1f} s ({ours:.1f} s / {bare:.1f} s)"
    what = f"apply to first token of vLLM, ours over bare vllm serve, median of {ROUNDS}"
    return [Figure(what, value, f"<= +{GOAL_S:.0f} s", ours - bare <= GOAL_S)]
