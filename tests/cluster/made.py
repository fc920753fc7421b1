"""What Jobs make as safetensors: a reader that takes all of it, and transformers that generates with it."""

from __future__ import annotations

import json
from typing import Any, Final

from tests.cluster.namespaces import SYSTEM, Cluster
from tests.cluster.pods import restricted_pod, wait_ended
from tests.cluster.stages import level_of

READER: Final = "test-reader"
METHODS: Final = ["none", "awq", "gptq", "int8", "fp8", "nvfp4", "mxfp4", "compressed-tensors"]
GENERATE: Final = """\
import json, sys, torch
from transformers import AutoModelForCausalLM, AutoTokenizer
torch.manual_seed(0)
folder = "/model/published"
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForCausalLM.from_pretrained(folder)
given = tokenizer(sys.argv[1], return_tensors="pt")
made = model.generate(**given, max_new_tokens=8, min_new_tokens=8, do_sample=False)
finite = bool(torch.isfinite(model(**given).logits).all())
config = json.load(open(f"{folder}/config.json"))["quantization_config"]
print(json.dumps({"finite": finite, "text": tokenizer.decode(made[0]), "config": config}))
"""


def reader(image: str) -> dict[str, Any]:
    """An engine of one's own that is said to read whatever Jobs make; no pod of it has to start."""
    return {
        "apiVersion": "slipway.dev/v1alpha1",
        "kind": "ServingEngine",
        "metadata": {"name": READER},
        "spec": {
            "format": "safetensors",
            "methods": METHODS,
            "images": {"cpu": image},
            "command": ["sleep"],
            "args": ["infinity"],
            "metrics": {"prefix": "none:"},
        },
    }


def optimizer_image() -> str:
    """Image of the Jobs that compute with PyTorch, as the operator was told it."""
    operator = SYSTEM.get("deploy", "slipway")
    env = operator["spec"]["template"]["spec"]["containers"][0]["env"]
    return next(str(one["value"]) for one in env if one["name"] == "SLIPWAY_IMAGE_OPTIMIZER")


def artifact_ready(cluster: Cluster, level: str, timeout: float) -> dict[str, Any]:
    """Wait until the artifact of that level is whole and verified."""

    def found() -> dict[str, Any] | None:
        for one in cluster.list("mart"):
            conditions = one.get("status", {}).get("conditions", [])
            ready = any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
            if level_of(one) == level and ready:
                return one
        return None

    return dict(cluster.wait(f"artifact {level}", found, timeout))


def generated(cluster: Cluster, artifact: dict[str, Any], prompt: str) -> dict[str, Any]:
    """What transformers says with the published folder: whether logits are finite, the text, the config."""
    name = f"says-{artifact['metadata']['name']}"[:63].rstrip("-")
    pod = restricted_pod(name, optimizer_image(), "python", "-c", GENERATE, prompt)
    claim = {"claimName": artifact["status"]["location"]["claim"], "readOnly": True}
    pod["spec"]["volumes"] = [{"name": "model", "persistentVolumeClaim": claim}]
    (container,) = pod["spec"]["containers"]
    container["volumeMounts"] = [{"name": "model", "mountPath": "/model", "readOnly": True}]
    cluster.apply(pod)
    ended = wait_ended(cluster, name)
    said = cluster.kubectl("logs", name)
    assert ended == "Succeeded", said
    answer: dict[str, Any] = json.loads(said.strip().splitlines()[-1])
    return answer
