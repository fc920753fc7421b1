"""What the operator and its Jobs agree on; imported by both sides, imports nothing.

Stages, exit codes, reasons, progress lines and results.
"""

from __future__ import annotations

from enum import IntEnum

STAGES = (
    "inspect", "recall", "fetch", "merge", "prune", "distill", "convert", "imatrix", "quantize", "evaluate",
    "publish", "push", "benchmark",
)  # fmt: skip
"""Every stage is a subcommand of ``slipway-runtime``; one Job runs one stage."""

LEVELS = (
    "F16", "BF16", "Q8_0", "Q6_K", "Q5_K_M", "Q5_K_S", "Q5_1", "Q5_0", "Q4_K_M", "Q4_K_S", "Q4_1", "Q4_0",
    "Q3_K_L", "Q3_K_M", "Q3_K_S", "Q2_K", "Q2_K_S", "IQ4_XS", "IQ4_NL", "IQ3_M", "IQ3_S", "IQ3_XS",
    "IQ3_XXS", "IQ2_M", "IQ2_S", "IQ2_XS", "IQ2_XXS", "IQ1_M", "IQ1_S", "TQ2_0", "TQ1_0", "MXFP4_MOE",
)  # fmt: skip
"""Levels of llama-quantize."""
NEED_MATRIX = (
    "Q2_K_S", "IQ3_M", "IQ3_S", "IQ3_XS", "IQ3_XXS", "IQ2_M", "IQ2_S", "IQ2_XS", "IQ2_XXS", "IQ1_M", "IQ1_S",
)  # fmt: skip
"""Levels that are made with an importance matrix: without one llama-quantize refuses them, or their loss is
no use to anybody (IQ3_M, IQ3_S)."""
NO_MATRIX = ("F16", "BF16", "Q8_0", "TQ2_0", "TQ1_0", "MXFP4_MOE")
"""Levels that a matrix changes nothing of."""
MATRIX = "IMATRIX"
"""Level of an importance matrix."""

MERGED = "MERGED"
"""Level of a model with its adapters in its weights."""

SPARSE = "SPARSE"
"""Level of a model with zeros for weights that matter least."""
SHORT = "SHORT"
"""Level of a model with fewer layers."""

STORE = "/store"
"""Where a Job mounts its own artifact's claim, read-write."""
PARENT = "/parent"
"""Where a Job mounts its parent artifact's claim, read-only; the published folder is
``/parent/published``."""
ORIGIN = "/origin"
"""Where inspect and fetch mount the claim of a source pvc://CLAIM/PATH, read-only."""
INPUTS = "/inputs"
"""Where a Job mounts further artifacts read-only, each in a folder of its own: ``/inputs/NAME/published``."""
TOKEN_FILE = "/credentials/token"  # noqa: S105 - a path, no secret
"""Where the credential's key ``token`` is mounted, when there is one; its other keys lie beside it."""
CREDENTIAL_KEYS = (
    "token", "username", "password", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN",
    "AWS_ENDPOINT_URL", ".dockerconfigjson",
)  # fmt: skip
"""Keys of a source's Secret that Jobs mount, each where the Secret has it: ``token`` for hubs and HTTPS, user
and password for HTTPS and registries, the names of AWS's own tools for S3, kubectl's file for registries."""
OPEN_KEYS = frozenset({"username", "AWS_ACCESS_KEY_ID", "AWS_ENDPOINT_URL"})
"""Keys of which errors may speak."""
TERMINATION_LOG = "/dev/termination-log"
RESULT_LIMIT = 2048
"""Bytes of a result at most (Kubernetes keeps 4096 of a termination message)."""
PUBLISHED = "published"
"""Folder of a claim that only ever holds whole, verified artifacts."""
MANIFEST = "manifest.json"
"""``{"files": [{"path", "bytes", "sha256"}], "stage", "recipe"}`` beside the files; its own sha256 is the
artifact's digest."""
PROGRESS_PREFIX = "SLIPWAY-PROGRESS "
"""A log line of progress is this and a JSON object ``{"stage", "percent", "bytesDone"?, "bytesTotal"?}``."""

EMBEDDINGS = "/v1/embeddings"
"""Value of SLIPWAY_BENCHMARK_ROUTE for a model that makes vectors; without one text is asked for."""

ROLES = ("base", "draft", "mlp", "medusa", "lora", "merge", "calibration")
"""What the inspected source is to another one: ``SLIPWAY_ROLE``, absent for a model that is alone."""


def layers_dropped(layers: int, share: str) -> int:
    """Return how many of so many layers a share such as 25% is: rounded down, one at least stays."""
    return min(layers - 1, int(layers * float(share.rstrip("%") or 0) / 100 + 1e-9))


class Exit(IntEnum):
    """Exit codes after sysexits(3). All but the last two are permanent."""

    OK = 0
    DATA = 65
    """EX_DATAERR: the model's files are wrong: truncated, pickle only, unsupported architecture."""
    NO_INPUT = 66
    """EX_NOINPUT: repository, revision or file not found."""
    NO_PERMISSION = 77
    """EX_NOPERM: gated or private, no token or a wrong one."""
    CONFIG = 78
    """EX_CONFIG: the request itself is wrong: unknown scheme, unknown level, store too small."""
    NO_SPACE = 73
    """EX_CANTCREAT: the store is full."""
    TRANSIENT = 75
    """EX_TEMPFAIL: hub down, connection cut: try again."""
    INTERNAL = 70
    """EX_SOFTWARE: a bug of ours or of a tool: retried a few times, then reported."""


PERMANENT = frozenset({Exit.DATA, Exit.NO_INPUT, Exit.NO_PERMISSION, Exit.CONFIG, Exit.NO_SPACE})
"""Exit codes that the same try would give again."""

REASONS: dict[str, str] = {
    "AccessDenied": "the hub forbids this to the account that the token belongs to",
    "AdapterMismatch": "an adapter names tensors that its base has not, or of another shape",
    "BrokenConfig": "config.json is no JSON object, or names no architecture",
    "BrokenWeights": "a file of weights has no readable header, or a shard of the model is missing",
    "CalibrationEmpty": "the calibration source has no text in a form that is read",
    "CalibrationUnreadable": "a file of the calibration source is not what its name says",
    "ConversionFailed": "llama.cpp's converter refused the model; its last words are in the message",
    "DigestMismatch": "bytes differ from the sha256 or git id that was promised for them",
    "EndpointUnreachable": "the model's Service does not answer the benchmark",
    "FileNotFound": "a file of the repository is gone, or the stage before this one left none",
    "FileTooLarge": "one file is larger than the hub sends by plain HTTP (50 GB)",
    "GatedRepository": "the repository is gated: accept its terms and name a token",
    "GroupSize": "weights share scales in groups of a size that some layer is no multiple of",
    "HostNotAllowed": "the source's host is not among those that models may be fetched from",
    "HubRefused": "the hub refuses the request for good (a 4xx that is no matter of time)",
    "HubUnavailable": "the hub does not answer, or answers with 429 or 5xx: tried again by itself",
    "InternalError": "a bug in the stage; the log has the traceback",
    "InvalidWeights": "weights hold NaN or infinity, or the model's perplexity is not a number",
    "LoadToolFailed": "the load tool ended with an error or left no report",
    "MatrixFailed": "llama-imatrix ended with an error; its last words are in the message",
    "MissingInput": "an environment variable that the stage needs is missing or malformed",
    "NoConfig": "the repository has no config.json",
    "NotAHub": "what answers at the hub's address is none: a login page, or a proxy's notice",
    "NotAnAdapter": "the repository holds no LoRA adapter that an engine can serve",
    "NotFloats": "weights that come quantised can't be changed: the 16-bit ones are needed",
    "NotHeads": "the repository holds no heads of the kind that spec.engine.speculative.method names",
    "NotPinned": "nothing that the server says would show a change of its file: the address needs a sha256",
    "NoWeights": "the repository has no weights that can be used",
    "OutOfMemory": "a tool was killed, most likely for want of memory",
    "PerplexityFailed": "llama-perplexity or transformers ended with an error or without an estimate",
    "PickleOnly": "the weights are pickle files, which can run code: safetensors are needed",
    "PruningFailed": "llmcompressor refused to prune the model, or its layers can't be told apart",
    "PushRefused": "a registry takes no artifact from this user, or is read-only",
    "QuantizationFailed": "the method's tool refused the model or the level; its words are in the message",
    "RegistryFull": "a registry's space or quota is used up",
    "RemoteCode": "the model brings Python of its own, and spec.model.trustRemoteCode does not allow it",
    "RepositoryNotFound": "no such repository, or it is private and no token is named",
    "RevisionNotFound": "the repository has no such branch, tag or commit",
    "SeveralModels": "the repository holds GGUF files of several models, none of the repository's name",
    "SourceChanged": "a source without commits holds something else than what was planned for",
    "StoreFull": "the store has too few free bytes; figures are in the message",
    "StoreInUse": "another try still writes to this store: tried again by itself",
    "StoreTooSmall": "the whole store is smaller than what must be written; figures are in the message",
    "Terminated": "the pod was asked to stop: tried again by itself",
    "TokenRejected": "the hub does not know the token",
    "TooManyFiles": "the source lists more files than any model has: its address is too short",
    "ToolMissing": "a program of the image is missing",
    "TruncatedWeights": "a file of weights is shorter than its own header says",
    "UnknownLevel": "the method has no such level",
    "UnknownMethod": "no such optimisation method",
    "UnknownOption": "the method has no such option at this level, or not that value of it",
    "UnknownScheme": "no source for this URI scheme",
    "UnsafePath": "a file name of the repository leads out of its folder",
    "UnsupportedArchitecture": (
        "the model neither writes text nor embeds (it classifies, drafts, speaks), or llama.cpp's converter "
        "is to convert an architecture that it does not know"
    ),
    "UnsupportedLayout": "an artifact of a registry has no model, or keeps it in a way that is not read",
}
"""Every ``reason`` of a failed result, with what it means. ``Exit`` says whether trying again can help."""

TERMINATED = 143
"""Exit code after SIGTERM (128 + 15): the pod was stopped, which is no failure of the stage."""
