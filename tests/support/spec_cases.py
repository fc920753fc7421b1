"""Specs with one mistake each, and right ones: the API server and Python must judge them alike."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from slipway_runtime.sources import SCHEMES

SOURCE = "hf://acme/model"
PIN = "sha256:" + "0123456789abcdef" * 4
RIGHT_SOURCES = (
    "hf://acme/model",
    "hf://Qwen/Qwen2.5-7B-Instruct",
    "modelscope://Qwen/Qwen2.5-7B-Instruct",
    "s3://models",
    "s3://my.models-1/qwen/Qwen2.5 7B/",
    "s3://Old_Bucket/a?b",
    "oci://ghcr.io/acme/qwen:v1",
    "oci://registry.tools.svc:5000/acme/team/qwen_2.5@" + PIN,
    "oci://localhost:5000/a:1@" + PIN,
    "pvc://models",
    "pvc://models.v1/qwen/Qwen2.5-7B-Instruct/",
    "https://example.com/a/model.gguf",
    "https://example.com:8443/model.gguf?download=1#sha256=" + "0" * 64,
    "ollama://qwen2.5:7b-instruct-q4_K_M",
    "ollama://acme/model",
    "ollama://model:7b@" + PIN,
    "ollama://registry.example:5000/library/model:latest",
)
WRONG_SOURCES = (
    "hf://model",
    "hf://acme/model@main",
    "hf://acme/model/model.safetensors",
    "modelscope://model",
    "modelscope://acme/../model",
    "s3://a",
    "s3://-models/a",
    "s3://mo dels/a",
    "oci://acme",
    "oci://ghcr.io/Acme/qwen:v1",
    "oci://ghcr.io/acme/qwen@sha256:abc",
    "oci://user:secret@ghcr.io/acme/qwen",
    "pvc://Models/a",
    "pvc:///a",
    "pvc://models/../other",
    "pvc://models/a/../../b",
    "pvc://models/a/./b",
    "pvc://models/.hidden",
    "pvc://models//a",
    "https://example.com",
    "https://user:secret@example.com/model.gguf",
    "https://example.com/model.gguf#sha256=abc",
    "https://example.com/model.gguf#md5=0",
    "ollama://a/b/c/d",
    "ollama://model:",
)
DRAFT = {"source": "hf://acme/draft"}


@dataclass(frozen=True)
class Case:
    """One object.

    Attributes:
        path: field of the one mistake, as the API server and as ``problems`` name it; empty when it is right.
        name: metadata.name.
    """

    id: str
    spec: dict[str, Any]
    path: str = ""
    name: str = "model"
    model: dict[str, Any] = field(default_factory=lambda: {"source": SOURCE})

    @property
    def obj(self) -> dict[str, Any]:
        """The ModelDeployment."""
        return {
            "apiVersion": "slipway.dev/v1alpha1",
            "kind": "ModelDeployment",
            "metadata": {"name": self.name},
            "spec": {"model": self.model, **self.spec},
        }


def engine(**fields: Any) -> dict[str, Any]:
    """A spec with an engine."""
    return {"engine": fields}


def adapter(name: str, **fields: Any) -> dict[str, Any]:
    """A LoRA adapter."""
    return {"name": name, "source": f"hf://acme/{name[:3]}", "mode": "serve", **fields}


def optimize(**fields: Any) -> dict[str, Any]:
    """A spec with an optimize."""
    return {"optimize": fields}


def tolerate(**fields: Any) -> dict[str, Any]:
    """A spec with one toleration."""
    return engine(podOverrides={"tolerations": [fields]})


def caller(**fields: Any) -> dict[str, Any]:
    """A spec with one caller."""
    return {"access": {"allowFrom": [fields]}}


RIGHT = [
    Case("only a source", {}),
    *(
        Case(f"source {source}", {}, model={"source": source})
        for source in RIGHT_SOURCES
        if source.partition("://")[0] in SCHEMES
    ),
    Case("pin of a claim", {}, model={"source": "pvc://models/a", "revision": PIN}),
    Case("trusted code", {}, model={"source": SOURCE, "trustRemoteCode": True}),
    Case("longest name", {}, name="a" * 40),
    Case("numbers without quotes", engine(resources={"cpu": 2, "memory": "3Gi"})),
    Case("f16 without method", optimize(method="none", level="F16")),
    Case("level with gate", optimize(level="Q4_K_M", maxQualityLoss="10%")),
    Case("groups", optimize(method="awq", level="W4A16", groupSize=64, symmetric=True)),
    Case("order", optimize(method="gptq", level="W8A16", actOrder=False, calibration={"samples": 16})),
    Case("smoothed", optimize(method="int8", level="auto", calibration={"sequenceLength": 1024})),
    Case("weights alone", optimize(method="int8", level="W8A16")),
    Case("calibrated fp8", optimize(method="fp8", level="FP8_STATIC", calibration={})),
    Case("four bits", optimize(method="nvfp4", level="NVFP4A16")),
    Case("exponents", optimize(method="mxfp4", level="MXFP4")),
    Case("at load", optimize(method="bnb", level="NF4")),
    Case(
        "data set",
        optimize(method="awq", calibration={"source": "hf://datasets/acme/texts", "revision": "v1"}),
    ),
    Case("texts in a bucket", optimize(method="awq", calibration={"source": "s3://texts/dialogues"})),
    Case("texts beside a model", optimize(method="awq", calibration={"source": "hf://acme/texts"})),
    Case("levels beside", optimize(level="Q4_K_M", compare=["Q8_0", "Q5_K_M"])),
    Case("levels beside auto", optimize(level="auto", compare=["Q4_K_M"])),
    Case("zero replicas", {"replicas": 0}),
    Case("scaling to one", {"autoscaling": {"maxReplicas": 1}}),
    Case("scaling range", {"autoscaling": {"minReplicas": 2, "maxReplicas": 2}}),
    Case("nobody may call", {"access": {"allowFrom": []}}),
    Case(
        "generation", engine(generation={"temperature": "0", "topP": "1.0", "topK": 0, "systemPrompt": "x"})
    ),
    Case("own label", engine(podOverrides={"labels": {"acme.example/team": "a", "Team_1": ""}})),
    Case("annotation", engine(podOverrides={"annotations": {"Acme.Example/a": "any text: {}", "b": ""}})),
    Case("longest label", engine(podOverrides={"labels": {"p" * 253 + "/" + "n" * 63: "v" * 63}})),
    Case("node label", engine(podOverrides={"nodeSelector": {"topology.kubernetes.io/zone": "eu-1.a"}})),
    Case("priority class", engine(podOverrides={"priorityClassName": "production.high"})),
    Case("every taint", tolerate(operator="Exists")),
    Case("taint with time", tolerate(operator="Exists", effect="NoExecute", tolerationSeconds=3)),
    Case("taint with value", tolerate(key="acme.example/dedicated", value="models", effect="NoSchedule")),
    Case("taint without value", tolerate(key="dedicated", operator="Exists", value="")),
    Case("least cpu", engine(resources={"cpu": "1m"})),
    Case("cpu as a decimal", engine(resources={"cpu": "0.05"})),
    Case("storage class", {"store": {"storageClassName": "fast.local", "size": "0.5Gi"}}),
    Case("caller", {"access": {"allowFrom": [{"namespace": "team-a", "podLabels": {"app": "web"}}]}}),
    Case("flag", engine(args={"flash-attn": ""})),
    Case("guesses by n-gram", engine(speculative={"tokens": 10, "window": 4})),
    Case("draft", engine(speculative={"draft": DRAFT, "tokens": 5})),
    Case("heads", engine(speculative={"method": "medusa", "draft": {**DRAFT, "revision": "v1"}})),
    Case("adapters", {}, model={"source": SOURCE, "adapters": [adapter("sql"), adapter("tone")]}),
    Case(
        "merged adapters",
        {},
        model={
            "source": SOURCE,
            "adapters": [
                adapter("model", mode="merge", weight=0.5),
                adapter("tone", mode="merge", weight=-1, allowOtherBase=True),
            ],
        },
    ),
    Case("zeros", optimize(prune={"method": "wanda", "sparsity": "50%"})),
    Case("zeros in blocks", optimize(prune={"method": "magnitude", "pattern": "2:4"}, level="Q8_0")),
    Case("layers", optimize(prune={"layers": [3, 4]})),
    Case("share of layers", optimize(prune={"dropLayers": "12.5%"})),
    Case("level with a matrix", optimize(level="IQ2_M")),
    Case("matrix asked for", optimize(level="Q4_K_M", imatrix=True)),
    Case("matrix refused", optimize(level="Q4_K_M", imatrix=False)),
    Case("pinned image", engine(image="docker.io/acme/server@sha256:" + "0" * 64)),
]

WRONG = [
    Case("no source", {}, "spec.model.source", model={}),
    Case("source without scheme", {}, "spec.model.source", model={"source": "acme/model"}),
    Case("source without organisation", {}, "spec.model.source", model={"source": "hf://model"}),
    Case("revision in the source", {}, "spec.model.source", model={"source": "hf://acme/model@main"}),
    Case("empty revision", {}, "spec.model.revision", model={"source": SOURCE, "revision": ""}),
    Case(
        "secret of another namespace",
        {},
        "spec.model.secretRef.name",
        model={"source": SOURCE, "secretRef": {"name": "other/token"}},
    ),
    Case("name with a dot", {}, "metadata.name", name="qwen2.5"),
    Case("name with a digit first", {}, "metadata.name", name="7b"),
    Case("name too long", {}, "metadata.name", name="a" * 41),
    Case("unknown goal", optimize(goal="speed"), "spec.optimize.goal"),
    Case("unknown method", optimize(method="awq2"), "spec.optimize.method"),
    Case("level without method", optimize(method="none", level="Q8_0"), "spec.optimize.level"),
    Case("level of another method", optimize(method="awq", level="W8A8"), "spec.optimize.level"),
    Case("level of llama.cpp", optimize(method="gptq", level="Q4_K_M"), "spec.optimize.level"),
    Case("level of bnb", optimize(method="bnb", level="FP8"), "spec.optimize.level"),
    Case("groups of no method", optimize(groupSize=64), "spec.optimize.groupSize"),
    Case("groups of int8", optimize(method="int8", groupSize=64), "spec.optimize.groupSize"),
    Case("group too small", optimize(method="awq", groupSize=8), "spec.optimize.groupSize"),
    Case("symmetric fp8", optimize(method="fp8", symmetric=True), "spec.optimize.symmetric"),
    Case("order of awq", optimize(method="awq", actOrder=True), "spec.optimize.actOrder"),
    Case("calibrated gguf", optimize(method="gguf", calibration={}), "spec.optimize.calibration"),
    Case("calibrated by nobody", optimize(calibration={"samples": 4}), "spec.optimize.calibration"),
    Case(
        "dynamic and calibrated",
        optimize(method="fp8", level="FP8", calibration={}),
        "spec.optimize.calibration",
    ),
    Case(
        "weights alone and calibrated",
        optimize(method="int8", level="W8A16", calibration={}),
        "spec.optimize.calibration",
    ),
    Case(
        "texts of nobody",
        optimize(method="awq", calibration={"source": "hf://texts"}),
        "spec.optimize.calibration.source",
    ),
    Case(
        "texts of a bucket's branch",
        optimize(method="awq", calibration={"source": "s3://texts/a", "revision": "main"}),
        "spec.optimize.calibration.revision",
    ),
    Case(
        "revision of no texts",
        optimize(method="awq", calibration={"revision": "v1"}),
        "spec.optimize.calibration.revision",
    ),
    Case(
        "no samples", optimize(method="awq", calibration={"samples": 0}), "spec.optimize.calibration.samples"
    ),
    Case("gate on method none", optimize(method="none", maxQualityLoss="1%"), "spec.optimize.maxQualityLoss"),
    Case("gate on F16", optimize(level="F16", maxQualityLoss="1%"), "spec.optimize.maxQualityLoss"),
    Case("gate as a number", optimize(maxQualityLoss=10), "spec.optimize.maxQualityLoss"),
    Case("gate without percent", optimize(maxQualityLoss="0.1"), "spec.optimize.maxQualityLoss"),
    Case("no level beside", optimize(compare=[]), "spec.optimize.compare"),
    Case("the same beside", optimize(level="Q8_0", compare=["Q8_0"]), "spec.optimize.compare"),
    Case("twice beside", optimize(compare=["Q8_0", "Q8_0"]), "spec.optimize.compare"),
    *(
        Case(f"source {source}", {}, "spec.model.source", model={"source": source})
        for source in WRONG_SOURCES
        if source.partition("://")[0] in SCHEMES
    ),
    Case(
        "branch of a claim",
        {},
        "spec.model.revision",
        model={"source": "pvc://models/a", "revision": "main"},
    ),
    Case(
        "branch of a claim's adapter",
        {},
        "spec.model.adapters[0].revision",
        model={"source": SOURCE, "adapters": [adapter("sql", source="pvc://models/a", revision="v1")]},
    ),
    Case(
        "trust in quotes",
        {},
        "spec.model.trustRemoteCode",
        model={"source": SOURCE, "trustRemoteCode": "yes"},
    ),
    Case("too many replicas", {"replicas": 1001}, "spec.replicas"),
    Case("negative replicas", {"replicas": -1}, "spec.replicas"),
    Case("replicas in quotes", {"replicas": "2"}, "spec.replicas"),
    Case(
        "min above max", {"autoscaling": {"minReplicas": 3, "maxReplicas": 2}}, "spec.autoscaling.minReplicas"
    ),
    Case("no max", {"autoscaling": {"minReplicas": 3}}, "spec.autoscaling.maxReplicas"),
    Case("engine name", engine(name="vLLM"), "spec.engine.name"),
    Case("image with a blank", engine(image="a b"), "spec.engine.image"),
    Case("short context", engine(contextLength=1), "spec.engine.contextLength"),
    Case("memory in GB", engine(resources={"memory": "8GB"}), "spec.engine.resources.memory"),
    Case("cpu as a fraction", engine(resources={"cpu": 0.5}), "spec.engine.resources.cpu"),
    Case("hot", engine(generation={"temperature": "5.1"}), "spec.engine.generation.temperature"),
    Case(
        "temperature as a number",
        engine(generation={"temperature": 0.7}),
        "spec.engine.generation.temperature",
    ),
    Case("no probability", engine(generation={"topP": "1.01"}), "spec.engine.generation.topP"),
    Case("argument as a number", engine(args={"threads": 4}), "spec.engine.args.threads"),
    Case(
        "label of ours",
        engine(podOverrides={"labels": {"slipway.dev/model": "a"}}),
        "spec.engine.podOverrides.labels",
    ),
    *(
        Case(
            f"{field} {key[:12]!r}",
            engine(podOverrides={field: {key: "a"}}),
            f"spec.engine.podOverrides.{field}",
        )
        for field in ("labels", "annotations", "nodeSelector")
        for key in ("A B", "", "-a", "a/b/c", "a..b/c", "n" * 64, "p" * 254 + "/n")
    ),
    Case(
        "upper case prefix of a label",
        engine(podOverrides={"labels": {"Acme/team": "a"}}),
        "spec.engine.podOverrides.labels",
    ),
    *(
        Case(
            f"{field} value {value[:12]!r}",
            engine(podOverrides={field: {"team": value}}),
            f"spec.engine.podOverrides.{field}.team",
        )
        for field in ("labels", "nodeSelector")
        for value in ("A B", "a-", "v" * 64)
    ),
    Case(
        "annotation as a number",
        engine(podOverrides={"annotations": {"a": 1}}),
        "spec.engine.podOverrides.annotations.a",
    ),
    Case(
        "priority class with a blank",
        engine(podOverrides={"priorityClassName": "A B"}),
        "spec.engine.podOverrides.priorityClassName",
    ),
    Case("taint's key", tolerate(key="a b"), "spec.engine.podOverrides.tolerations[0].key"),
    Case("taint's value", tolerate(key="a", value="a b"), "spec.engine.podOverrides.tolerations[0].value"),
    Case(
        "value with Exists",
        tolerate(key="a", operator="Exists", value="b"),
        "spec.engine.podOverrides.tolerations[0].value",
    ),
    Case("no key with Equal", tolerate(value="b"), "spec.engine.podOverrides.tolerations[0].key"),
    Case(
        "time without effect",
        tolerate(key="a", effect="NoSchedule", tolerationSeconds=3),
        "spec.engine.podOverrides.tolerations[0].tolerationSeconds",
    ),
    *(
        Case(f"cpu {cpu!r}", engine(resources={"cpu": cpu}), "spec.engine.resources.cpu")
        for cpu in ("0", 0, "0.0", "0m", "0.5m", "0.0004")
    ),
    Case("no memory", engine(resources={"memory": "0Gi"}), "spec.engine.resources.memory"),
    Case("memory as 0", engine(resources={"memory": 0}), "spec.engine.resources.memory"),
    Case("size of the store", {"store": {"size": "big"}}, "spec.store.size"),
    Case("store of nothing", {"store": {"size": "0"}}, "spec.store.size"),
    Case("storage class with a blank", {"store": {"storageClassName": "A B"}}, "spec.store.storageClassName"),
    Case("caller's namespace with a blank", caller(namespace="Team A"), "spec.access.allowFrom[0].namespace"),
    Case("caller's label", caller(podLabels={"A B": "a"}), "spec.access.allowFrom[0].podLabels"),
    Case(
        "caller's label's value", caller(podLabels={"app": "A B"}), "spec.access.allowFrom[0].podLabels.app"
    ),
    Case("draft without a source", engine(speculative={"draft": {}}), "spec.engine.speculative.draft.source"),
    Case(
        "draft's source",
        engine(speculative={"draft": {"source": "hf://draft"}}),
        "spec.engine.speculative.draft.source",
    ),
    *(
        Case(
            f"{method} without weights",
            engine(speculative={"method": method}),
            "spec.engine.speculative.draft",
        )
        for method in ("draft", "mlp", "medusa")
    ),
    Case(
        "n-gram with weights",
        engine(speculative={"method": "ngram", "draft": DRAFT}),
        "spec.engine.speculative.draft",
    ),
    Case(
        "window with weights",
        engine(speculative={"draft": DRAFT, "window": 4}),
        "spec.engine.speculative.window",
    ),
    *(
        Case(
            f"adapter {name}",
            {},
            f"spec.model.adapters[0].{path}",
            model={"source": SOURCE, "adapters": [wrong]},
        )
        for name, path, wrong in (
            ("without mode", "mode", {"name": "sql", "source": SOURCE}),
            ("of an unknown mode", "mode", adapter("sql", mode="add")),
            ("served with a weight", "mode", adapter("sql", weight=0.5)),
            ("served of another base", "mode", adapter("sql", allowOtherBase=True)),
            ("with a huge weight", "weight", adapter("sql", mode="merge", weight=11)),
            ("with a dot", "name", adapter("sql.v1")),
            ("without organisation", "source", adapter("sql", source="hf://sql")),
        )
    ),
    Case(
        "two adapters of one name",
        {},
        "spec.model.adapters",
        model={"source": SOURCE, "adapters": [adapter("sql"), adapter("sql")]},
    ),
    Case(
        "adapter named as the model",
        {},
        "spec.model.adapters",
        model={"source": SOURCE, "adapters": [adapter("model")]},
    ),
    Case(
        "too many adapters",
        {},
        "spec.model.adapters",
        model={"source": SOURCE, "adapters": [adapter(f"a{index}") for index in range(17)]},
    ),
    *(
        Case(f"prune {name}", optimize(prune=wrong), f"spec.optimize.prune{path}")
        for name, path, wrong in (
            ("of nothing", "", {}),
            ("of two kinds", "", {"layers": [1], "dropLayers": "25%"}),
            ("without a share", ".pattern", {"method": "wanda"}),
            ("of two shares", ".pattern", {"method": "wanda", "sparsity": "50%", "pattern": "2:4"}),
            ("of layers with a share", ".pattern", {"layers": [1], "sparsity": "50%"}),
            ("of everything", "", {"method": "wanda", "sparsity": "100%"}),
            ("of whole blocks", ".pattern", {"method": "wanda", "pattern": "4:4"}),
            ("without a number", ".pattern", {"method": "wanda", "pattern": "a:4"}),
        )
    ),
    Case("matrix refused that is needed", optimize(level="IQ1_S", imatrix=False), "spec.optimize.imatrix"),
    Case("matrix for eight bits", optimize(level="Q8_0", imatrix=True), "spec.optimize.imatrix"),
    Case("matrix for 16 bits", optimize(method="none", imatrix=True), "spec.optimize.imatrix"),
    Case("profile", {"checklist": {"profile": "prod"}}, "spec.checklist.profile"),
    Case("suspend in quotes", {"suspend": "yes"}, "spec.suspend"),
    Case(
        "caller's namespace",
        {"access": {"allowFrom": [{"namespace": "a"}, {"namespace": ""}]}},
        "spec.access.allowFrom[1].namespace",
    ),
]
