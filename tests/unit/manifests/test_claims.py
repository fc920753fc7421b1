"""Claims have room, or are refused with the figure."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.errors import InvalidSpecError
from slipway.manifests.claims import SMALLEST, build_claim, required_bytes
from slipway.manifests.owner import Owner
from slipway.plan.quantities import quantity
from slipway.settings import Settings
from tests.support.planning import artifact

MIB = 1024**2


@given(st.integers(0, 10**13))
def test_required_is_enough_and_not_wasteful(size: int) -> None:
    required = required_bytes(artifact(size=size))
    assert required % MIB == 0
    assert max(SMALLEST, 1.15 * size) <= required <= max(SMALLEST, 1.25 * size + MIB)


def test_computed_claim(artifact_owner: Owner) -> None:
    claim = build_claim(artifact_owner, artifact(size=1000 * MIB), Settings())
    assert claim["metadata"]["name"] == artifact_owner.name
    assert claim["spec"] == {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1200Mi"}},
    }
    assert claim["metadata"]["ownerReferences"][0]["controller"] is True


def test_room_for_what_the_unquantised_model_said_is_computed_and_no_must(artifact_owner: Owner) -> None:
    f16 = artifact(size=1000 * MIB)
    f16["spec"]["workBytes"] = 200 * MIB
    claim = build_claim(artifact_owner, f16, Settings())
    assert claim["spec"]["resources"]["requests"]["storage"] == "1400Mi"
    f16["spec"]["store"] = {"size": "1200Mi"}
    claim = build_claim(artifact_owner, f16, Settings())
    assert claim["spec"]["resources"]["requests"]["storage"] == "1200Mi"


def test_wished_size_and_class(artifact_owner: Owner) -> None:
    claim = build_claim(artifact_owner, artifact(size=MIB, storageClassName="fast"), Settings())
    assert claim["spec"]["storageClassName"] == "fast"
    default = build_claim(artifact_owner, artifact(), Settings(storage_class="nfs"))
    assert default["spec"]["storageClassName"] == "nfs"


def test_wished_access_mode(artifact_owner: Owner) -> None:
    shared = build_claim(artifact_owner, artifact(accessMode="ReadWriteMany"), Settings())
    assert shared["spec"]["accessModes"] == ["ReadWriteMany"]


def test_too_small_is_refused_with_both_figures(artifact_owner: Owner) -> None:
    small = artifact(size=270 * MIB)
    small["spec"]["store"] = {"size": "16Mi"}
    with pytest.raises(InvalidSpecError) as caught:
        build_claim(artifact_owner, small, Settings())
    assert caught.value.reason == "StoreTooSmall"
    assert "16Mi" in caught.value.message
    assert "324Mi" in caught.value.message
    small["spec"]["store"] = {"size": "324Mi"}
    claim = build_claim(artifact_owner, small, Settings())
    assert quantity(claim["spec"]["resources"]["requests"]["storage"]) == required_bytes(small)
