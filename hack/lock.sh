#!/usr/bin/env bash
# Renews every locked set of packages, each with the arguments that it needs; run by `make lock`.
# Versions that still fit stay: `make lock UPGRADE=--upgrade` takes the newest.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=hack/pip-settings.sh
source hack/pip-settings.sh
pip_settings_for_uv .venv/bin/python

compile() {
  printf 'lock: %s\n' "$1"
  .venv/bin/uv pip compile -q --generate-hashes --no-emit-index-url --no-header ${UPGRADE:-} "$@"
}

# Development: the oldest Python that we run on, any machine's.
compile requirements/dev.in --python-version 3.11 -o requirements/dev.txt
# The images have Debian's Python, on amd64 and arm64.
image=(--universal --python-version 3.14)
compile requirements/operator.in "${image[@]}" -o requirements/operator.txt
compile requirements/operator.wheel.in "${image[@]}" -o requirements/operator.wheel.txt
compile requirements/runtime.in --override requirements/runtime.overrides "${image[@]}" -o requirements/runtime.txt
compile requirements/optimizer.in --override requirements/optimizer.overrides "${image[@]}" -o requirements/optimizer.txt
# The images of more engines (make engine-images). transformers' is built on the runtime's and keeps its versions.
compile requirements/transformers.in --override requirements/runtime.overrides --constraint requirements/runtime.txt \
  "${image[@]}" -o requirements/transformers.txt
compile requirements/vllm.in --override requirements/vllm.overrides "${image[@]}" -o requirements/vllm.txt
compile requirements/llama-cpp-python.in "${image[@]}" -o requirements/llama-cpp-python.txt
compile hack/cluster/tools/go.in --universal --python-version 3.11 --no-annotate -o hack/cluster/tools/go.txt
