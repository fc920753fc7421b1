#!/usr/bin/env bash
# The demo on an existing cluster: kind, k3d or a cloud; needs kubectl, helm and python3 on PATH, no root, no Linux.
set -euo pipefail
cd "$(dirname "$0")/../.."
context="$1"
for tool in kubectl helm python3; do
  command -v "$tool" >/dev/null || { echo "make demo CONTEXT=$context needs $tool on PATH: install it and run again" >&2; exit 1; }
done
kubectl --context "$context" version >/dev/null 2>&1 || {
  echo "context '$context' does not answer: try 'kubectl --context $context get nodes'; known: $(kubectl config get-contexts -o name | tr '\n' ' ')" >&2
  exit 1
}
# IMAGE_REGISTRY: where the images were pushed, e.g. registry.example.com/slipway; not needed after 'kind load docker-image'.
set -- --set "operator.replicas=1"
if [ -n "${IMAGE_REGISTRY:-}" ]; then
  for role in operator runtime llamacpp; do set -- "$@" --set "images.$role.repository=$IMAGE_REGISTRY/$role"; done
fi
if [ -n "${HF_ENDPOINT:-}" ]; then set -- "$@" --set "hub.endpoint=$HF_ENDPOINT"; fi
helm upgrade --install slipway charts/slipway --namespace slipway-system --create-namespace --kube-context "$context" "$@"
kubectl --context "$context" -n slipway-system rollout status deploy/slipway --timeout=300s || {
  echo "the operator does not start: kubectl --context $context -n slipway-system get pods" >&2
  echo "images missing? docker build --target operator -t slipway/operator:0.1.0 . (also runtime, llamacpp), then kind load docker-image …" >&2
  exit 1
}
python3 hack/demo/demo.py --context "$context"
