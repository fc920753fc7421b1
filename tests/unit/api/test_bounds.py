"""A long text never makes a status unwritable."""

from __future__ import annotations

from slipway.api.bounds import fit
from slipway.api.modeldeployment import ModelDeploymentStatus


def test_long_texts_and_lists_are_cut() -> None:
    status = {
        "progress": "x" * 300,
        "readyReplicas": 3,
        "failure": {"reason": "StoreFull", "message": "m" * 5000},
        "artifacts": [{"name": f"a{index}", "level": "F16", "ready": True} for index in range(40)],
        "later": "kept",
    }
    fitted = fit(status, ModelDeploymentStatus)
    assert len(fitted["progress"]) == 256
    assert fitted["progress"].endswith("…")
    assert len(fitted["failure"]["message"]) == 4096
    assert len(fitted["artifacts"]) == 32
    assert (fitted["readyReplicas"], fitted["later"]) == (3, "kept")


def test_what_fits_is_untouched() -> None:
    status = {
        "url": "http://a",
        "conditions": [{"type": "Ready", "message": "fine"}],
        "plan": {"resources": {"cpu": "2"}},
    }
    assert fit(status, ModelDeploymentStatus) == status
