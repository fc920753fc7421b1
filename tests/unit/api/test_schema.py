"""The CRDs speak the API server's dialect, and every field is explained."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import yaml
from pydantic import Field

from slipway.api import GROUP
from slipway.api.base import Model
from slipway.api.kinds import KINDS, NAME_LIMIT
from slipway.api.schema import build_crds, build_schema, submodels

ROOT = Path(__file__).resolve().parents[3]
CRDS = build_crds()
FORBIDDEN = {
    "$ref",
    "$defs",
    "nullable",
    "const",
    "title",
    "examples",
    "deprecated",
    "uniqueItems",
    "discriminator",
}


def root(crd: dict[str, Any]) -> dict[str, Any]:
    return dict(crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"])


def walk(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema below, with its path."""
    yield path, schema
    for name, inner in schema.get("properties", {}).items():
        yield from walk(inner, f"{path}.{name}")
    for part in ("items", "additionalProperties"):
        if isinstance(schema.get(part), dict):
            yield from walk(schema[part], f"{path}[]")


NODES = [(name, path, node) for name, crd in CRDS.items() for path, node in walk(root(crd))]


def test_only_words_of_a_structural_schema() -> None:
    found = [(path, word) for _, path, node in NODES for word in FORBIDDEN & set(node)]
    assert found == []


def test_every_node_has_a_type() -> None:
    untyped = [
        path for _, path, node in NODES if "type" not in node and not node.get("x-kubernetes-int-or-string")
    ]
    assert untyped == []


def test_objects_list_their_fields_or_map_values_never_both() -> None:
    both = [path for _, path, node in NODES if "properties" in node and "additionalProperties" in node]
    neither = [
        path
        for _, path, node in NODES
        if node.get("type") == "object" and "properties" not in node and "additionalProperties" not in node
    ]
    assert (both, neither) == ([], [])


def test_every_field_is_explained() -> None:
    silent = [
        path
        for _, path, node in NODES
        if not path.endswith("[]") and not path.startswith(".metadata") and not node.get("description")
    ]
    assert silent == []


def test_only_replicas_has_a_default() -> None:
    assert [path for _, path, node in NODES if "default" in node] == [".spec.replicas"]


def test_texts_lists_and_maps_are_bounded() -> None:
    inside = [(path, node) for _, path, node in NODES if path.startswith((".spec", ".status"))]
    texts = [
        path
        for path, node in inside
        if node.get("type") == "string" and not {"maxLength", "enum"} & set(node)
    ]
    lists = [path for path, node in inside if node.get("type") == "array" and "maxItems" not in node]
    maps = [path for path, node in inside if "additionalProperties" in node and "maxProperties" not in node]
    assert (texts, lists, maps) == ([], [], [])


def test_quantities_keep_their_pattern() -> None:
    mixed = [node for _, _, node in NODES if node.get("x-kubernetes-int-or-string")]
    assert mixed
    assert all(
        "pattern" in node and node["anyOf"] == [{"type": "integer"}, {"type": "string"}] for node in mixed
    )


def test_no_pattern_needs_look_ahead() -> None:
    assert [path for _, path, node in NODES if "(?" in node.get("pattern", "")] == []


def test_conditions_are_a_map_by_type() -> None:
    found = {
        (name, node["x-kubernetes-list-type"]) for name, path, node in NODES if path == ".status.conditions"
    }
    assert found == {(f"{GROUP}_{kind.plural}.yaml", "map") for kind in KINDS if kind.status}


def test_every_python_rule_is_in_the_crd() -> None:
    written = {rule["rule"] for _, _, node in NODES for rule in node.get("x-kubernetes-validations", ())}
    models = [model for kind in KINDS for model in (kind.spec, kind.status) if model]
    stack, declared = (
        list(models),
        {rule.cel for kind in KINDS for rule in (*kind.root_rules, *kind.spec_rules, *kind.named_rules)},
    )
    while stack:
        model = stack.pop()
        declared |= {rule.cel for rule in model.rules}
        stack += [inner for info in model.model_fields.values() for inner in submodels(info.annotation)]
    assert written == declared


def test_scale_and_status_subresources() -> None:
    subresources = {name: crd["spec"]["versions"][0].get("subresources") for name, crd in CRDS.items()}
    deployments = subresources["slipway.dev_modeldeployments.yaml"]
    assert deployments["scale"] == {
        "specReplicasPath": ".spec.replicas",
        "statusReplicasPath": ".status.replicas",
        "labelSelectorPath": ".status.selector",
    }
    assert subresources["slipway.dev_modelartifacts.yaml"] == {"status": {}}
    assert subresources["slipway.dev_servingengines.yaml"] is None


def test_columns_point_at_fields() -> None:
    paths = {path for _, path, _ in NODES}
    for crd in CRDS.values():
        for column in crd["spec"]["versions"][0]["additionalPrinterColumns"]:
            plain = re.sub(r"\[\?.*?\]", "[]", column["jsonPath"])
            assert plain in paths | {".metadata.creationTimestamp"}, column


def test_children_fit_behind_the_longest_name() -> None:
    # NAME-benchmark-NNNNNN… and NAME-<hash10> stay labels of 63 characters.
    assert NAME_LIMIT + len("-benchmark-") + 10 <= 63


@pytest.mark.parametrize("folder", ["crds", "charts/slipway/files/crds"])
def test_files_are_what_the_models_say(folder: str) -> None:
    files = {path.name: yaml.safe_load(path.read_text("utf-8")) for path in (ROOT / folder).glob("*.yaml")}
    assert files == CRDS


class Sample(Model):
    """A sample of everything that pydantic says differently."""

    one: Literal["a"] | None = None
    """One value."""
    above: Annotated[float, Field(gt=0)] | None = None
    """Exclusive."""
    inner: list[dict[str, int]] | None = None
    """Nested."""


def test_dialect() -> None:
    assert build_schema(Sample) == {
        "type": "object",
        "description": "A sample of everything that pydantic says differently.",
        "properties": {
            "one": {"type": "string", "enum": ["a"], "description": "One value."},
            "above": {"type": "number", "minimum": 0, "exclusiveMinimum": True, "description": "Exclusive."},
            "inner": {
                "type": "array",
                "items": {"type": "object", "additionalProperties": {"type": "integer"}},
                "x-kubernetes-list-type": "atomic",
                "description": "Nested.",
            },
        },
    }
