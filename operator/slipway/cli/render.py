"""``slipway render``: every object that the operator would create, as YAML, from files, without a cluster."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from slipway.cli import FINDINGS, OK, UsageError, complain, epilog
from slipway.cli._companions import UNKNOWN_COMMIT, add_companions, companions_of
from slipway.cli._inputs import (
    Given,
    Refused,
    add_inputs,
    nodes_or_assumed,
    read_model,
    read_models,
    settings_or_refusal,
)
from slipway.errors import InvalidSpecError

if TYPE_CHECKING:
    from slipway.manifests.owner import Owner
    from slipway.manifests.revision import Pinned
    from slipway.plan.companions import Companion
    from slipway.plan.decision import Plan
    from slipway.plan.facts import ModelFacts, NodeFacts
    from slipway.settings import Settings

UNKNOWN_DIGEST = "sha256:" + "0" * 64


EXAMPLES = """\
  slipway render model.yaml --model ~/models/qwen --nodes nodes.json
  slipway render model.yaml --model ~/models/qwen -n team \\
    | kubectl apply --dry-run=server -f -"""
EXIT_CODES = """\
  0  the objects are printed
  1  a ModelDeployment is wrong, or fits no node; nothing is printed
  2  the command line is wrong, or a file can't be read"""


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "render",
        help="print the objects that the operator would create, as YAML",
        description="Prints child objects in the order in which they come to be, without owner references. "
        "Settings are read from SLIPWAY_* variables, as the operator does. Needs no cluster.",
        epilog=epilog(EXAMPLES, EXIT_CODES),
    )
    add_inputs(parser)
    add_companions(parser)
    parser.add_argument(
        "--commit", metavar="SHA", help="what the revision resolves to; part of the artifacts' names"
    )
    parser.add_argument(
        "-n", "--namespace", help="namespace of the objects (metadata.namespace, else default)"
    )


def run(args: argparse.Namespace) -> int:
    """Print the objects; what can't be known offline is said on standard error."""
    from slipway.api.sources import is_commit

    if args.commit and not is_commit(args.commit):
        raise UsageError(
            f"--commit {args.commit}: a commit has 40 hexadecimal digits, a pin is sha256:DIGEST"
        )
    models, settings = read_models(args.file), settings_or_refusal()
    wants = args.draft is not None
    facts = read_model(Path(args.model), args.parameters, vocabulary=wants) if args.model else None
    nodes = nodes_or_assumed(args.nodes) if facts else []
    objects: list[dict[str, Any]] = []
    failed = False
    for one in models:
        try:
            given = _valid(one, args.namespace)
            objects += [*_objects(given, facts, nodes, settings, args), *_before_pools(given)]
        except InvalidSpecError as error:
            complain("render", f"{one.name}: {error}")
            failed = True
    if failed:  # a part of the objects would go into kubectl apply as if it were all
        return FINDINGS
    print(dump(_once(objects)), end="")
    return OK


def _valid(one: Given | Refused, namespace: str | None) -> Given:
    if isinstance(one, Refused):
        raise InvalidSpecError("InvalidSpec", "; ".join(one.mistakes))
    return replace(one, namespace=namespace or one.namespace)


def _before_pools(given: Given) -> list[dict[str, Any]]:
    """What is before all pools of a model, of which this is one; nothing for another."""
    from slipway.manifests.pools import build_group

    if given.whole is None:
        return []
    return build_group(replace(_owner(given), name=dict(given.pool)["slipway.dev/pool-of"]), given.whole)


def _once(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each object once: pools and models share artifacts."""
    found: dict[tuple[str, str, str], dict[str, Any]] = {}
    for one in objects:
        meta = one["metadata"]
        found.setdefault((one["kind"], meta["namespace"], meta["name"]), one)
    return list(found.values())


def _objects(
    given: Given,
    facts: ModelFacts | None,
    nodes: list[NodeFacts],
    settings: Settings,
    args: argparse.Namespace,
) -> list[dict[str, Any]]:
    """Every object of one ModelDeployment; without facts only what comes before the plan."""
    from slipway.engines import decide

    first = _first(given, settings)
    if facts is None:
        _say(f"{given.name}: no --model, so only what comes first: the plan rests on what inspect reads")
        return first
    beside = companions_of(args, given.spec)
    plan = decide(given.spec, facts, nodes, settings, beside)
    pinned = _pinned(given, facts, plan, _commit(args.commit, given), settings, beside)
    rest = _rest(given, pinned, settings)
    return [*first, *(obj for obj in rest if obj not in first)]


def dump(objects: list[dict[str, Any]]) -> str:
    """YAML documents in the given order; scripts as blocks, no anchors."""
    return yaml.dump_all(
        [_without_owner(one) for one in objects],
        Dumper=_Dumper,
        sort_keys=False,
        explicit_start=True,
        width=110,
        allow_unicode=True,
    )


class _Dumper(yaml.SafeDumper):
    """Readable: no anchors, texts of several lines as blocks."""

    def ignore_aliases(self, data: Any) -> bool:
        """Write shared parts in full."""
        del data
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _text)


def _without_owner(obj: dict[str, Any]) -> dict[str, Any]:
    """Before it is applied an owner has no uid, and what names a wrong one is garbage to a cluster."""
    metadata = {key: value for key, value in obj["metadata"].items() if key != "ownerReferences"}
    return {**obj, "metadata": metadata}


def _say(text: str) -> None:
    complain("render", text)


def _commit(asked: str | None, given: Given) -> str:
    """The commit, from the command line or the spec; else zeros, which is said."""
    from slipway.api.sources import is_commit

    if asked:
        return asked
    revision = given.spec.model.revision
    if is_commit(revision):
        return revision
    _say(f"{given.name}: the commit is unknown: artifacts are named as for {UNKNOWN_COMMIT}; give --commit")
    return UNKNOWN_COMMIT


def _owner(given: Given) -> Owner:
    from slipway.api import API_VERSION
    from slipway.manifests.owner import Owner

    return Owner(API_VERSION, "ModelDeployment", given.name, "", given.namespace, given.pool)


def _first(given: Given, settings: Settings) -> list[dict[str, Any]]:
    """What comes before a plan."""
    from slipway.manifests.companions import inquiries
    from slipway.manifests.jobs import build_inspect_job
    from slipway.manifests.network import build_model_job_policy
    from slipway.plan.spec_hash import planning_hash

    owner = _owner(given)
    policy = [build_model_job_policy(owner, given.spec, settings)] if settings.network_policy else []
    hashed = planning_hash(given.spec)
    return [
        *policy,
        build_inspect_job(owner, given.spec, settings, 1, hashed),
        *(
            build_inspect_job(owner, given.spec, settings, 1, inquiry, one)
            for inquiry, one in inquiries(given.spec, hashed).items()
        ),
    ]


def _pinned(
    given: Given,
    facts: ModelFacts,
    plan: Plan,
    commit: str,
    settings: Settings,
    beside: tuple[Companion, ...],
) -> Pinned:
    from slipway.manifests.chains import first_name
    from slipway.manifests.companions import model_chain, with_chains
    from slipway.manifests.revision import Pinned
    from slipway.plan.spec_hash import planning_hash

    names = tuple(one.name for one in model_chain(given.spec, commit, plan, beside))
    named = with_chains(given.spec, beside, plan.form, first_name(given.spec, commit, plan))
    plain = Pinned(
        planning_hash(given.spec), given.spec.model.source, commit, facts, plan, settings.images, names
    )
    return replace(plain, companions=named)


def _rest(given: Given, pinned: Pinned, settings: Settings) -> list[dict[str, Any]]:
    """The revision, the artifacts with their Jobs, what serves, the benchmark."""
    from slipway.manifests.companions import published_companion
    from slipway.manifests.jobs import build_benchmark_job
    from slipway.manifests.owner import PublishedArtifact
    from slipway.manifests.places import Place
    from slipway.manifests.revision import build_revision
    from slipway.manifests.serving import build_serving
    from slipway.plan import merging

    owner, spec, plan, names = _owner(given), given.spec, pinned.plan, pinned.artifacts
    revision = build_revision(owner, 1, pinned)
    beside = tuple(
        published_companion(one, Place(claim=one.artifacts[-1]), UNKNOWN_DIGEST)
        for one in merging.beside(pinned.companions)
    )
    mounted = PublishedArtifact(names[-1], Place(claim=names[-1]), UNKNOWN_DIGEST, plan.level, beside)
    _say(f"{given.name}: the artifact's digest is unknown before it is built: zeros stand for it")
    name = revision["metadata"]["name"]
    return [
        revision,
        *_artifacts(given, pinned, settings),
        *build_serving(owner, spec, plan, mounted, settings, name),
        build_benchmark_job(owner, spec, plan, Place(claim=names[0]), settings, 1, name),
    ]


def _artifacts(given: Given, pinned: Pinned, settings: Settings) -> list[dict[str, Any]]:
    """Each artifact with its policy, its claim and the first try of each stage."""
    from slipway.api import API_VERSION
    from slipway.manifests.artifacts import build_artifact
    from slipway.manifests.chains import compared_artifacts
    from slipway.manifests.claims import build_claim
    from slipway.manifests.companions import model_chain, with_companions
    from slipway.manifests.jobs import StageInputs, build_stage_job, stages
    from slipway.manifests.network import build_artifact_job_policies
    from slipway.manifests.owner import Owner
    from slipway.manifests.placement import job_placement
    from slipway.plan.memory import logits_bytes

    secret = given.spec.model.secret_ref
    where = job_placement(given.spec, pinned.plan)
    inputs = StageInputs(secret=secret.name if secret else None, placement=where)
    objects = []
    chain = model_chain(given.spec, pinned.commit, pinned.plan, pinned.companions)
    beside = compared_artifacts(given.spec, pinned.commit, pinned.plan, pinned.facts, pinned.companions)
    names = {one.name for one in chain}
    chain += [one for name, one in beside.items() if name not in names]
    for one in with_companions(chain, given.spec, pinned.companions, pinned.plan):
        logits = logits_bytes(pinned.facts) if one in chain else 0
        artifact = build_artifact(one, [_owner(given)], given.namespace, logits)
        owner = Owner(API_VERSION, "ModelArtifact", one.name, "", given.namespace)
        objects += [artifact, build_claim(owner, artifact, settings)]
        if settings.network_policy:
            objects += build_artifact_job_policies(owner, artifact, settings)
        parent = one.parent or pinned.anchor(artifact)
        own = replace(inputs, parent_claim=parent, inputs=one.made.inputs, facts=pinned.facts_of(one.name))
        objects += [build_stage_job(owner, artifact, stage, 1, own, settings) for stage in stages(artifact)]
    return objects
