"""``slipway export``: the served artifact, copied out of an engine pod, for the tools of a laptop."""

from __future__ import annotations

import argparse
import asyncio
import json
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slipway.cli import FINDINGS, OK, USAGE, complain, epilog

if TYPE_CHECKING:
    from slipway.cli._export_cluster import Origin, Pods
    from slipway.cli._export_target import Step
    from slipway.local.served import Package
    from slipway_runtime.files import FileEntry

TOOLS = ("ollama", "lmstudio", "llamacpp", "files")
FILES = "files"
EXAMPLES = """\
  slipway export qwen -n team --to ollama --out qwen
  slipway export qwen -n team --to lmstudio --dry-run
  slipway export qwen -n team --to files -o json"""
EXIT_CODES = """\
  0    everything is there (with --dry-run: would be)
  1    the copy failed, a file is in the way, or the disk is too full
  2    the command line is wrong, or there is nothing to export: no such model,
       no cluster, no ready pod, or a format that the tool can't read
  130  stopped by Ctrl-C: the same command goes on where it was"""


@dataclass(frozen=True)
class Export:
    """One export, as it is planned or done."""

    tool: str
    folder: Path
    origin: Origin
    package: Package
    steps: list[Step]


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the subcommand."""
    parser = subparsers.add_parser(
        "export",
        help="copy a served model to this machine, ready for Ollama and others",
        description="Copies the artifact that a model serves out of one of its pods, checks it by sha256, "
        "and writes what a tool on this machine needs beside it.",
        epilog=epilog(EXAMPLES, EXIT_CODES),
    )
    parser.add_argument("name", metavar="NAME", help="ModelDeployment")
    parser.add_argument("-n", "--namespace", help="its namespace (the context's)")
    parser.add_argument(
        "--to", required=True, type=_tool, choices=TOOLS, help="the tool; files takes all as published"
    )
    parser.add_argument("--out", metavar="DIR", help="folder to write to (NAME; for lmstudio its own)")
    parser.add_argument("--level", help="insist on this level, such as Q4_K_M (what is served)")
    parser.add_argument("--force", action="store_true", help="replace other files of the same names")
    parser.add_argument("--dry-run", action="store_true", help="say what would be written, and write nothing")
    parser.add_argument("--context", help="context of the kubeconfig (the current one)")
    parser.add_argument(
        "--kubeconfig", metavar="FILE", help="kubeconfig file ($KUBECONFIG, else ~/.kube/config)"
    )
    parser.add_argument(
        "-o", "--output", choices=("text", "json"), default="text", help="how to print (text)"
    )


def _tool(word: str) -> str:
    if word not in TOOLS:
        from slipway.api.validate import suggest

        raise argparse.ArgumentTypeError(f"'{word}' is no tool; {suggest(word, TOOLS)}")
    return word


def run(args: argparse.Namespace) -> int:
    """Copy, write, and say what to type next; returns one of the exit codes above."""
    from slipway.cli._cluster import UnreadableError
    from slipway.cli._export_copy import ExportError
    from slipway.cli._export_exec import CommandError, CutError

    try:
        done = asyncio.run(_export(args))
    except (ExportError, CommandError, CutError) as error:
        return complain("export", str(error), FINDINGS)
    except UnreadableError as error:
        return complain("export", str(error), USAGE)
    if args.output == "json":
        print(json.dumps(as_json(done, planned=args.dry_run), indent=2))
    else:
        print(as_text(done, planned=args.dry_run))
    return OK


async def _export(args: argparse.Namespace) -> Export:
    from slipway.cli._export_cluster import Pods, connect, find
    from slipway.cli._export_exec import open_session

    kube = await connect(args)
    try:
        origin = await find(kube, args)
        _refuse_format(args.to, origin)
        async with open_session(kube.endpoint) as session:
            return await _bring(args, Pods(kube, session, origin))
    finally:
        await kube.close()


async def _bring(args: argparse.Namespace, pods: Pods) -> Export:
    from slipway.cli._export_cluster import read_manifest
    from slipway.cli._export_target import check_space, plan_steps

    manifest, entries = await read_manifest(pods)
    package = await _package(args.to, pods, manifest, entries)
    folder = _folder(args)
    steps = await plan_steps(folder, package, entries, force=args.force)
    check_space(folder, steps)
    if not args.dry_run:
        await _copy(pods, steps)
    return Export(args.to, folder, pods.origin, package, steps)


async def _package(tool: str, pods: Pods, manifest: bytes, entries: list[FileEntry]) -> Package:
    from pydantic import ValidationError

    from slipway.api.modeldeployment import ModelDeploymentSpec
    from slipway.cli._cluster import UnreadableError
    from slipway.cli._export_cluster import read_text
    from slipway.local.package import build_package
    from slipway.local.served import CHAT_TEMPLATE, Served

    origin = pods.origin
    try:
        spec = ModelDeploymentSpec.model_validate(origin.model["spec"])
    except ValidationError as error:
        raise UnreadableError(
            f"{origin.name} is from another version of Slipway: use the operator's own `slipway` to export it"
        ) from error
    template = "" if tool == FILES else await read_text(pods, entries, CHAT_TEMPLATE)
    length = int(origin.model["status"]["plan"]["contextLength"])
    served = Served(origin.name, origin.namespace, origin.level, origin.digest, length, spec, template)
    return build_package(tool, served, [entry.path for entry in entries], manifest)


async def _copy(pods: Pods, steps: list[Step]) -> None:
    from slipway.cli._export_copy import Copying, copy
    from slipway.cli._export_progress import Progress
    from slipway.cli._export_target import COPY, WRITE, write_text

    copies = [step for step in steps if step.action == COPY]
    progress = Progress(sum(step.bytes for step in copies), sys.stderr, sys.stderr.isatty())
    try:
        for step in copies:
            if step.entry is not None:
                await copy(Copying(pods.read, progress), step.entry, step.path)
    finally:
        progress.close()
    # Last: a Modelfile without its model would be of no use.
    for step in steps:
        if step.action == WRITE:
            write_text(step)


def _refuse_format(tool: str, origin: Origin) -> None:
    from slipway.cli._cluster import UnreadableError

    if tool != FILES and not origin.is_gguf:
        raise UnreadableError(
            f"{origin.name} is served from safetensors, which {tool} does not read from here: set "
            "spec.optimize.method to gguf to serve a GGUF, or take the files as they are by --to files"
        )


def _folder(args: argparse.Namespace) -> Path:
    """Where to write: LM Studio's own folder when there is one, else a folder of the model's name here."""
    if args.out:
        return Path(args.out).expanduser()
    if args.to == "lmstudio":
        from slipway.local.lmstudio import MODELS

        own = Path(MODELS).expanduser()
        return own if own.is_dir() else Path()
    return Path(args.name)


def as_json(done: Export, *, planned: bool) -> dict[str, Any]:
    """What a program reads."""
    states = {"keep": "kept"} | ({} if planned else {"copy": "copied", "write": "written"})
    files = [
        {
            "path": str(step.path),
            "bytes": step.bytes,
            "state": states.get(step.action, f"to {step.action}"),
            **({"sha256": step.entry.sha256} if step.entry else {}),
        }
        for step in done.steps
    ]
    return {
        "model": done.origin.name,
        "namespace": done.origin.namespace,
        "artifact": done.origin.artifact["metadata"]["name"],
        "level": done.origin.level,
        "digest": done.origin.digest,
        "tool": done.tool,
        "folder": str(done.folder),
        "dryRun": planned,
        "files": files,
        "commands": list(done.package.commands),
        "notes": list(done.package.notes),
    }


def as_text(done: Export, *, planned: bool) -> str:
    """What a person reads: the files, what to type next, what to know; planned, also the texts themselves."""
    from slipway_runtime.progress import format_bytes

    report = as_json(done, planned=planned)
    lines = [f"{done.origin.name} ({done.origin.level}, {done.origin.digest}) for {done.tool}"]
    lines += [f"  {one['state']:<8} {one['path']} ({format_bytes(one['bytes'])})" for one in report["files"]]
    if planned:
        for text in done.package.texts:
            lines += ["", f"{text.path}:", text.content.decode("utf-8", "replace").rstrip("\n")]
    if done.package.commands:
        lines += ["", "next:", f"  cd {shlex.quote(str(done.folder))}"]
        lines += [f"  {command}" for command in done.package.commands]
    lines += ["", *done.package.notes] if done.package.notes else []
    return "\n".join(lines)
