#!/usr/bin/env bash
# The demo on an existing cluster: kind, k3d or a cloud. Needs kubectl, helm 3.13 or later and python3 on the PATH;
# neither root nor Linux: it keeps to the bash 3.2 of a Mac. Each step has its log and its seconds in the ledger.
set -euo pipefail
cd "$(dirname "$0")/../.."
context="$1"
for tool in kubectl helm python3; do
  command -v "$tool" >/dev/null || { echo "make demo CONTEXT=$context needs $tool on PATH: install it and run again" >&2; exit 1; }
done
kubectl --context "$context" --request-timeout=15s version >/dev/null 2>&1 || {
  echo "context '$context' does not answer: try 'kubectl --context $context get nodes'; known: $(kubectl config get-contexts -o name | tr '\n' ' ')" >&2
  exit 1
}
python3 hack/demo/release.py "$context"

# IMAGE_REGISTRY: where the images were pushed, e.g. registry.example.com/slipway; not needed after an import.
set -- --set "operator.replicas=1"
if [ -n "${IMAGE_REGISTRY:-}" ]; then
  for role in operator runtime optimizer llamacpp; do set -- "$@" --set "images.$role.repository=$IMAGE_REGISTRY/$role"; done
fi
if [ -n "${HF_ENDPOINT:-}" ]; then set -- "$@" --set "hub.endpoint=$HF_ENDPOINT"; fi
python3 hack/ledger.py run "install on $context" \
  --hint "read the log; helm --kube-context $context status slipway -n slipway-system" -- \
  helm upgrade --install slipway charts/slipway --namespace slipway-system --create-namespace \
  --kube-context "$context" --labels made-by=slipway-demo "$@"
python3 hack/ledger.py run "operator on $context" --show \
  --hint "kubectl --context $context -n slipway-system get pods; are the images missing (ErrImagePull)?
        docker build --target operator -t slipway/operator:0.1.0 .    (the same for runtime, optimizer and llamacpp)
        kind load docker-image slipway/operator:0.1.0 slipway/runtime:0.1.0 slipway/optimizer:0.1.0 slipway/llamacpp:0.1.0 --name NAME
        k3d image import slipway/operator:0.1.0 slipway/runtime:0.1.0 slipway/optimizer:0.1.0 slipway/llamacpp:0.1.0 --cluster NAME
        elsewhere: push them and set IMAGE_REGISTRY" -- \
  kubectl --context "$context" -n slipway-system rollout status deploy/slipway --timeout=300s
python3 hack/ledger.py run "demo on $context" --show --hint "see above" -- \
  python3 -u hack/demo/demo.py --context "$context"
python3 hack/ledger.py show
