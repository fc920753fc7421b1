"""A model in a folder of the user's own claim: copied by Jobs that reach nothing, pinned, served."""

from __future__ import annotations

from typing import Any

import pytest

from hack.cluster import layout
from tests.cluster.hub import TINY
from tests.cluster.namespaces import Cluster, own_namespace
from tests.cluster.pods import restricted_pod, runtime_image, wait_ended

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
CLAIM = "models"
HUB = "http://{}:{}".format(*layout.HUB)
FILL = """\
import os, sys
from huggingface_hub import snapshot_download
snapshot_download(sys.argv[1], endpoint=sys.argv[2], local_dir="/models/team/tiny")
"""


def claim() -> dict[str, Any]:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "256Mi"}}}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": CLAIM},
        "spec": spec,
    }


def filler() -> dict[str, Any]:
    """A pod that downloads the hub's smallest model into the claim."""
    command = ("/opt/slipway/bin/python", "-c", FILL, TINY.removeprefix("hf://"), HUB)
    pod = restricted_pod("filler", runtime_image(), *command)
    container = pod["spec"]["containers"][0]
    container["env"] = [{"name": "HOME", "value": "/models"}]
    container["volumeMounts"] = [{"name": "models", "mountPath": "/models"}]
    pod["spec"]["securityContext"]["fsGroup"] = 65532
    pod["spec"]["volumes"] = [{"name": "models", "persistentVolumeClaim": {"claimName": CLAIM}}]
    return pod


def test_a_folder_of_a_claim_is_copied_and_served() -> None:
    with own_namespace("claim") as cluster:
        cluster.apply(claim(), filler())
        assert wait_ended(cluster, "filler") == "Succeeded"
        cluster.model("claimed", f"pvc://{CLAIM}/team/tiny")
        served = cluster.wait_ready("claimed")
        assert served["status"]["source"]["commit"].startswith("sha256:")
        policy = cluster.get("networkpolicies", "claimed.jobs")
        peers = [peer for rule in policy["spec"]["egress"] for peer in rule.get("to", [])]
        assert [peer for peer in peers if "ipBlock" in peer] == []
        answers_elsewhere(cluster)


def answers_elsewhere(cluster: Cluster) -> None:
    """A folder that is not there is said; what serves goes on."""
    cluster.model("absent", f"pvc://{CLAIM}/team/absent")
    found = cluster.wait_reason("absent", "SourceResolved", "RepositoryNotFound")
    assert f"pvc://{CLAIM}/team/absent" in found["message"]
    cluster.wait_true("claimed", "Ready")
