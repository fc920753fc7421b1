"""CRDs from the pydantic models, in the API server's dialect. Called by ``slipway crd`` and by tests.

The API server wants a structural schema: no references, no nulls, no ``additionalProperties`` beside
``properties``, defaults only where a subresource needs one. Its CEL cost estimate needs bounded strings and
lists.
"""

from __future__ import annotations

import inspect
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from slipway.api import API_VERSION, GROUP, VERSION
from slipway.api.base import Model, Rule
from slipway.api.kinds import KINDS, Kind

DROPPED = ("title", "examples", "deprecated", "discriminator")
"""Keywords that the structural schema has no place for, or that only repeat the field's name."""


class CrdSchema(GenerateJsonSchema):
    """Pydantic's generator, without what the API server refuses."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        """Optional means absent, never null."""
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        """Defaults live in Python, but for those that are no None: the scale subresource needs its field."""
        if schema.get("default") is None:
            return self.generate_inner(schema["schema"])
        return super().default_schema(schema)

    def literal_schema(self, schema: core_schema.LiteralSchema) -> JsonSchemaValue:
        """Always an enum of strings, also for one value (pydantic says ``const``)."""
        return {"type": "string", "enum": list(schema["expected"])}

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        """Put the model's CEL rules beside it."""
        result = super().model_schema(schema)
        rules = schema["cls"].rules if issubclass(schema["cls"], Model) else ()
        if rules:
            result["x-kubernetes-validations"] = [build_rule(rule) for rule in rules]
        return result

    def field_title_should_be_set(self, schema: object) -> bool:  # noqa: ARG002 - pydantic's signature
        """Never: a title would only repeat the field's name."""
        return False


def build_rule(rule: Rule) -> dict[str, str]:
    """One entry of ``x-kubernetes-validations``."""
    built = {"rule": rule.cel, "message": rule.message, "reason": "FieldValueInvalid"}
    return built | ({"fieldPath": f".{rule.field}"} if rule.field else {})


def build_schema(model: type[BaseModel]) -> dict[str, Any]:
    """Structural schema of one model, references inlined."""
    raw = model.model_json_schema(schema_generator=CrdSchema, mode="validation")
    schema: dict[str, Any] = _structural(raw, raw.get("$defs", {}))
    return schema


def _structural(node: Any, definitions: dict[str, Any]) -> Any:
    if isinstance(node, list):
        return [_structural(item, definitions) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        target = definitions[node["$ref"].rsplit("/", 1)[-1]]
        return _structural(target | {key: value for key, value in node.items() if key != "$ref"}, definitions)
    kept = {key: value for key, value in node.items() if key not in {*DROPPED, "$defs"}}
    if "properties" in kept:
        kept.pop("additionalProperties", None)
        fields = {name: _structural(field, definitions) for name, field in kept["properties"].items()}
        kept["properties"] = fields
    return _dialect({k: v if k == "properties" else _structural(v, definitions) for k, v in kept.items()})


def _dialect(node: dict[str, Any]) -> dict[str, Any]:
    """One node in the API server's words: conditions as a map, numbers that may be written without quotes."""
    if isinstance(node.get("description"), str):
        node["description"] = _paragraphs(node["description"])
    if node.get("x-kubernetes-int-or-string"):
        del node["type"]
        node["anyOf"] = [{"type": "integer"}, {"type": "string"}]
    for bound in ("Minimum", "Maximum"):
        if f"exclusive{bound}" in node:
            node[bound.lower()] = node[f"exclusive{bound}"]
            node[f"exclusive{bound}"] = True
    if node.get("type") == "array" and "lastTransitionTime" in node["items"].get("properties", {}):
        node |= {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}
    elif node.get("type") == "array":
        node["x-kubernetes-list-type"] = "atomic"
    return node


def _paragraphs(text: str) -> str:
    """Docstring without its line breaks; paragraphs stay."""
    return "\n\n".join(" ".join(part.split()) for part in inspect.cleandoc(text).split("\n\n"))


def build_crd(kind: Kind) -> dict[str, Any]:
    """The whole CustomResourceDefinition of one kind."""
    subresources: dict[str, Any] = {"status": {}} if kind.status else {}
    if kind.scale:
        subresources["scale"] = {
            "specReplicasPath": ".spec.replicas",
            "statusReplicasPath": ".status.replicas",
            "labelSelectorPath": ".status.selector",
        }
    version = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "additionalPrinterColumns": [column.build() for column in kind.columns],
        "schema": {"openAPIV3Schema": _root(kind)},
        **({"subresources": subresources} if subresources else {}),
    }
    names = {
        "kind": kind.name,
        "listKind": f"{kind.name}List",
        "plural": kind.plural,
        "singular": kind.name.lower(),
        "shortNames": [kind.short],
        "categories": ["slipway"],
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced" if kind.namespaced else "Cluster",
            "names": names,
            "versions": [version],
        },
    }


def _root(kind: Kind) -> dict[str, Any]:
    spec = build_schema(kind.spec)
    spec["x-kubernetes-validations"] = [
        *spec.get("x-kubernetes-validations", []),
        *(build_rule(rule) for rule in kind.spec_rules),
    ]
    if not spec["x-kubernetes-validations"]:
        del spec["x-kubernetes-validations"]
    return {
        "type": "object",
        "description": _paragraphs(kind.description),
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string", "description": f"Version of this API: {API_VERSION}."},
            "kind": {"type": "string", "description": f"Kind of the object: {kind.name}."},
            # Named so that a rule's fieldPath may point at it; the API server adds the rest.
            "metadata": {"type": "object", "properties": {"name": {"type": "string"}}},
            "spec": spec,
            **({"status": build_schema(kind.status)} if kind.status else {}),
        },
        "x-kubernetes-validations": [build_rule(rule) for rule in (*kind.root_rules, *kind.named_rules)],
    }


def build_crds() -> dict[str, dict[str, Any]]:
    """File name to CustomResourceDefinition, for every kind."""
    return {f"{GROUP}_{kind.plural}.yaml": build_crd(kind) for kind in KINDS}


def submodels(annotation: Any) -> list[type[Model]]:
    """API types inside a field's annotation, for walking a spec."""
    if isinstance(annotation, type) and issubclass(annotation, Model):
        return [annotation]
    return [model for part in get_args(annotation) for model in submodels(part)]
