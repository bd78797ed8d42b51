"""Write the locks from pyproject.toml and constraints.txt: `python docker/lock.py`.

Two files with hashes: what both images install, and what CUDA's torch brings with it. The image
for a CPU takes the first, and torch's CPU build from elsewhere. A third file has the versions that
a worker installs in somebody else's image. It needs `uv`.
"""

import re
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from launch.payload import wheel

ROOT = Path(__file__).resolve().parents[1]
PYTHON = "3.11"
HEAD = "# Made by `python docker/lock.py` from pyproject.toml and constraints.txt: do not edit.\n"
OF_CUDA = re.compile(r"(torch|triton|nvidia-(?!ml-py)[\w-]+|cuda-[\w-]+)==")
"""Packages that only CUDA's torch needs; setuptools, sympy and the like serve both, as does what
Mimir itself asks a GPU with."""


def split(lock: str) -> tuple[str, str]:
    """(common, CUDA's) of a lock as `uv pip compile --generate-hashes` prints it."""
    blocks = re.findall(r"(?m)^[a-z]\S*==.*\n(?:    .*\n)*", lock)
    common = [block for block in blocks if not OF_CUDA.match(block)]
    cuda = [block for block in blocks if OF_CUDA.match(block)]
    return HEAD + "".join(common), HEAD + "".join(cuda)


def main() -> None:
    common, cuda = split(_compiled("--generate-hashes", "--extra", "train", "pyproject.toml"))
    (ROOT / "docker" / "requirements.lock").write_text(common)
    (ROOT / "docker" / "torch-cuda.lock").write_text(cuda)
    needs = "".join(f"{need}\n" for need in wheel.NEEDS.values())
    versions = re.findall(r"(?m)^[a-z]\S*==\S+$", _compiled("-", text=needs))
    head = "# Made by `python docker/lock.py` from constraints.txt: do not edit.\n"
    wheel.PINS.write_text(head + "".join(f"{line}\n" for line in versions))


def _compiled(*words: str, text: str = "") -> str:
    return subprocess.run(
        [
            "uv", "pip", "compile", "--no-config", "--no-annotate", "--no-header",
            "--python-version", PYTHON, "--python-platform", "x86_64-manylinux_2_28",
            "--constraint", "constraints.txt", *words,
        ],
        cwd=ROOT, check=True, text=True, input=text, stdout=subprocess.PIPE,
    ).stdout  # fmt: skip


if __name__ == "__main__":
    main()
