"""Write the image's locks from pyproject.toml and constraints.txt: `python docker/lock.py`.

Two files, each with hashes: what both images install, and what CUDA's torch brings with it.
The image for a CPU takes the first, and torch's CPU build from elsewhere. Needs `uv`.
"""

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PYTHON = "3.11"
HEAD = "# Made by `python docker/lock.py` from pyproject.toml and constraints.txt: do not edit.\n"
OF_CUDA = re.compile(r"(torch|triton|nvidia-[\w-]+|cuda-[\w-]+)==")
"""Packages that only CUDA's torch needs; setuptools, sympy and the like serve both."""


def split(lock: str) -> tuple[str, str]:
    """(common, CUDA's) of a lock as `uv pip compile --generate-hashes` prints it."""
    blocks = re.findall(r"(?m)^[a-z]\S*==.*\n(?:    .*\n)*", lock)
    common = [block for block in blocks if not OF_CUDA.match(block)]
    cuda = [block for block in blocks if OF_CUDA.match(block)]
    return HEAD + "".join(common), HEAD + "".join(cuda)


def main() -> None:
    done = subprocess.run(
        [
            "uv", "pip", "compile", "--no-config", "--no-annotate", "--generate-hashes",
            "--python-version", PYTHON, "--python-platform", "x86_64-manylinux_2_28",
            "--extra", "train", "--constraint", "constraints.txt", "pyproject.toml",
        ],
        cwd=ROOT, check=True, text=True, stdout=subprocess.PIPE,
    )  # fmt: skip
    common, cuda = split(done.stdout)
    (ROOT / "docker" / "requirements.lock").write_text(common)
    (ROOT / "docker" / "torch-cuda.lock").write_text(cuda)


if __name__ == "__main__":
    main()
