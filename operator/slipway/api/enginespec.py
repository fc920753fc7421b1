"""ModelDeployment v1alpha1, ``spec.engine``. Imported by ``modeldeployment``, which re-exports it."""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field

from slipway.api.base import (
    ANNOTATION_KEY,
    Bounded,
    LabelKey,
    LabelValue,
    Model,
    ObjectName,
    Percent,
    Quantity,
    Rule,
    keys_rule,
    matches,
    positive_rule,
)
from slipway.api.companions import Draft

DECIMAL = r"^[0-9]+(\.[0-9]+)?$"
AT_LEAST_1M = "^(0*[1-9][0-9.]*m?|0+[.][0-9]{0,2}[1-9][0-9]*)([kMGT]i?)?$"
"""CPU that is not nothing: Kubernetes counts whole thousandths of a core."""
OWN_PREFIXES = ("slipway.dev/", "app.kubernetes.io/")
"""Label prefixes that the operator's selectors rest on."""


class Resources(Model):
    """Container resources in place of the planned ones. What is absent keeps the plan's value."""

    cpu: Quantity | None = None
    """CPU request and limit of one replica, such as 4 or 500m. The engine's threads follow the limit."""
    memory: Quantity | None = None
    """Memory request and limit of one replica, such as 8Gi."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel=f"!has(self.cpu) || string(self.cpu).matches('{AT_LEAST_1M}')",
            holds=lambda given: given.cpu is None or matches(AT_LEAST_1M, given.cpu),
            message="cpu must be at least 1m, such as 2 or 500m; leave it out to have it computed",
            field="cpu",
        ),
        positive_rule("memory", "8Gi"),
    )


class Toleration(Model):
    """A taint that the pods tolerate, as in a pod's spec."""

    key: LabelKey | None = None
    """Key of the taint; absent with operator Exists matches every taint."""
    operator: Literal["Exists", "Equal"] | None = None
    """Exists or Equal (the default)."""
    value: LabelValue | None = None
    """Value of the taint, with operator Equal."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """Effect of the taint; absent matches all."""
    toleration_seconds: int | None = None
    """With effect NoExecute: how long pods stay once the taint is there; absent is for ever."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="!has(self.operator) || self.operator != 'Exists' || !has(self.value) || self.value == ''",
            holds=lambda taint: taint.operator != "Exists" or not taint.value,
            message="operator Exists has no value: drop value, or set operator to Equal",
            field="value",
        ),
        Rule(
            cel="(has(self.key) && self.key != '') || (has(self.operator) && self.operator == 'Exists')",
            holds=lambda taint: bool(taint.key) or taint.operator == "Exists",
            message="operator Equal needs a key: name the taint's, or set operator to Exists for every taint",
            field="key",
        ),
        Rule(
            cel="!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')",
            holds=lambda taint: taint.toleration_seconds is None or taint.effect == "NoExecute",
            message="only effect NoExecute has a time: drop tolerationSeconds, or set effect to NoExecute",
            field="tolerationSeconds",
        ),
    )


def _own_labels(pod: PodOverrides) -> list[str]:
    return [key for key in pod.labels or {} if key.startswith(OWN_PREFIXES)]


class PodOverrides(Model):
    """Scheduling and metadata of the model's pods; nothing else of a pod can be changed."""

    labels: Annotated[dict[str, LabelValue], Field(max_length=32)] | None = None
    """More labels, for example for cost allocation. Those of slipway.dev/ and app.kubernetes.io/ are the
    operator's."""
    annotations: Annotated[dict[str, Bounded], Field(max_length=32)] | None = None
    """More annotations, for example to turn a service mesh off."""
    node_selector: Annotated[dict[str, LabelValue], Field(max_length=32)] | None = None
    """Node labels that are needed beside those of the plan."""
    tolerations: Annotated[list[Toleration], Field(max_length=16)] | None = None
    """Taints that the pods tolerate."""
    priority_class_name: ObjectName | None = None
    """PriorityClass of the engine's pods."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="!has(self.labels) || !self.labels.exists(key, "
            + " || ".join(f"key.startsWith('{prefix}')" for prefix in OWN_PREFIXES)
            + ")",
            holds=lambda pod: not _own_labels(pod),
            message="labels of slipway.dev/ and app.kubernetes.io/ are the operator's: choose another prefix",
            field="labels",
            culprits=_own_labels,
        ),
        keys_rule("labels", "labels"),
        keys_rule("annotations", "annotations", ANNOTATION_KEY),
        keys_rule("nodeSelector", "node_selector"),
    )


class Generation(Model):
    """Defaults for requests that don't say otherwise; a request's own values win."""

    temperature: Annotated[str, Field(max_length=8, pattern=DECIMAL)] | None = None
    """Sampling temperature from 0 (always the likeliest token) to 5, as a string: "0.7"."""
    top_p: Annotated[str, Field(max_length=8, pattern=DECIMAL)] | None = None
    """Nucleus sampling: keep the likeliest tokens up to this probability, 0 to 1, as a string: "0.95"."""
    top_k: Annotated[int, Field(ge=0, le=100000)] | None = None
    """Keep this many of the likeliest tokens; 0 keeps all."""
    max_tokens: Annotated[int, Field(ge=1, le=1000000)] | None = None
    """Longest answer in tokens."""
    system_prompt: Annotated[str, Field(min_length=1, max_length=8192)] | None = None
    """System message for conversations that bring none of their own."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="!has(self.temperature) || double(self.temperature) <= 5.0",
            holds=lambda generation: generation.temperature is None or float(generation.temperature) <= 5,  # noqa: PLR2004
            message='temperature goes from "0" to "5"',
            field="temperature",
        ),
        Rule(
            cel="!has(self.topP) || double(self.topP) <= 1.0",
            holds=lambda generation: generation.top_p is None or float(generation.top_p) <= 1,
            message='topP is a probability, from "0" to "1"',
            field="topP",
        ),
    )


ParserName = Annotated[str, Field(min_length=1, max_length=40, pattern=r"^[A-Za-z0-9_.-]+$")]


GUESSED: Final = {"ngram": 5, "draft": 5, "mlp": 3, "medusa": 3}
"""Tokens guessed at once by method, when the spec doesn't say: heads are trained for a few."""
LONGEST_RUN: Final = 4


class Speculative(Model):
    """Tokens guessed cheaply and checked by the model: the answer stays the same, it comes faster.

    Worth it at low concurrency, and where guesses come true: the checklist shows how often.
    """

    method: Literal["ngram", "draft", "mlp", "medusa"] | None = None
    """ngram (the default without draft): guesses repeat what the text so far has after the same words: code,
    extraction. draft (the default with it): a small model guesses. mlp, medusa: heads trained for it do."""
    draft: Draft | None = None
    """Where the weights of draft, mlp or medusa come from."""
    tokens: Annotated[int, Field(ge=1, le=32)] | None = None
    """Tokens guessed at once; default 5 (7 to 10 pay for code by ngram), for heads 3."""
    window: Annotated[int, Field(ge=1, le=16)] | None = None
    """Longest run of words that ngram looks for; default 4."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="has(self.draft) || !has(self.method) || self.method == 'ngram'",
            holds=lambda guess: guess.draft is not None or guess.method in (None, "ngram"),
            message="this method needs weights: name them in draft.source, or set method to ngram",
            field="draft",
        ),
        Rule(
            cel="!has(self.draft) || !has(self.method) || self.method != 'ngram'",
            holds=lambda guess: guess.draft is None or guess.method != "ngram",
            message="ngram needs no weights: drop draft, or set method to draft, mlp or medusa",
            field="draft",
        ),
        Rule(
            cel="!has(self.window) || !has(self.draft)",
            holds=lambda guess: guess.window is None or guess.draft is None,
            message="only ngram looks for runs of words: drop window, or drop draft",
            field="window",
        ),
    )

    @property
    def kind(self) -> str:
        """The method, its default resolved."""
        return self.method or ("draft" if self.draft else "ngram")

    @property
    def count(self) -> int:
        """Tokens guessed at once, the default resolved."""
        return self.tokens or GUESSED[self.kind]

    @property
    def longest_run(self) -> int:
        """Words that ngram looks for at most, the default resolved."""
        return self.window or LONGEST_RUN


class Engine(Model):
    """Which server runs the model, and with what. Empty means: as planned."""

    name: (
        Annotated[str, Field(min_length=1, max_length=40, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")] | None
    ) = None
    """auto (the default): the planner chooses llamacpp or vllm, by nodes and goal. Else an engine (slipway
    engines lists them) or a ServingEngine of the cluster."""
    image: Annotated[str, Field(min_length=1, max_length=512, pattern=r"^[^\s]+$")] | None = None
    """Image in place of the engine's default; by digest (name@sha256:...) it can't change under you. It has
    the engine's program where the default image has it (llamacpp on CPU: /usr/bin/llama-server), /bin/sh and
    curl, writes to /tmp only, and runs as user 65532 (where the installation leaves users to the cluster: as
    its own USER, a number other than 0)."""
    served_model_name: (
        Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]*$")] | None
    ) = None
    """Name by which clients ask for the model; default metadata.name."""
    context_length: Annotated[int, Field(ge=128, le=10_000_000)] | None = None
    """Tokens of context for each request; default 4096, or the model's own limit where that is smaller."""
    concurrency: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Requests that one replica generates at once, each with its whole context; default 4 on CPU, on GPUs as
    many as fit, up to 64. The KV cache grows with it."""
    tensor_parallel: Annotated[int, Field(ge=1, le=256)] | None = None
    """Devices that share each layer; it divides the model's heads. Default: as few as hold the model."""
    pipeline_parallel: Annotated[int, Field(ge=1, le=64)] | None = None
    """Groups of layers, one after the other, each on tensorParallel devices. Default: 1, or one for each node
    when one node is too small."""
    data_parallel: Annotated[int, Field(ge=1, le=64)] | None = None
    """Copies of the model inside one replica that share its queue; default 1."""
    gpu_memory_share: Percent | None = None
    """Share of a device's memory that the engine may take for weights and KV cache; default 90%."""
    kv_cache_dtype: Literal["auto", "fp8", "q8_0", "q4_0", "int8", "int4"] | None = None
    """Type of the KV cache: auto (the default) is 16 bits. fp8 for vllm; q8_0 and q4_0 for llamacpp,
    llama-cpp-python and ollama; int8 and int4 for lmdeploy (its ``--quant-policy`` 8 and 4)."""
    prefix_caching: bool | None = None
    """Whether the KV cache of a prompt's beginning is kept for the next request that begins so; default: the
    engine's own, which is yes in all that have it."""
    chunked_prefill: bool | None = None
    """Whether long prompts are worked off in parts beside running requests; default: the engine's own."""
    load_format: Annotated[str, Field(min_length=1, max_length=40, pattern=r"^[a-z0-9_]+$")] | None = None
    """How vllm reads the weights: runai_streamer, fastsafetensors, tensorizer and others that the
    image has; default auto."""
    structured_output: ParserName | None = None
    """Backend that holds answers to a grammar or JSON schema, such as xgrammar or guidance; default: the
    engine's own."""
    tool_parser: ParserName | None = None
    """Parser of tool calls by the model's family, such as hermes or llama3_json; absent: no automatic tool
    calls where an engine needs one."""
    reasoning_parser: ParserName | None = None
    """Parser of the model's reasoning, such as deepseek_r1 or qwen3; absent: it stays in the answer."""
    speculative: Speculative | None = None
    args: Annotated[dict[str, Annotated[str, Field(max_length=1024)]], Field(max_length=64)] | None = None
    """More arguments of the engine: name without dashes to value, empty for a flag. Those that Slipway sets
    itself are refused, with the field to use in their place."""
    resources: Resources | None = None
    generation: Generation | None = None
    pod_overrides: PodOverrides | None = None
    node_selector: Annotated[dict[str, LabelValue], Field(max_length=32)] | None = None
    """Labels of nodes for the engine alone; Jobs that build the model run wherever podOverrides admits them.
    Needs a store that every node reaches (accessMode ReadWriteMany): they write what the engine reads."""

    rules: ClassVar[tuple[Rule, ...]] = (keys_rule("nodeSelector", "node_selector"),)
