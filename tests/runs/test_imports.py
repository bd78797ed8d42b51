"""The contract is light: a laptop without torch uses all of it, a file store needs no boto3."""

import subprocess
import sys
from pathlib import Path

import mimir.runs
from tests.waiting import LIMIT

MODULES = sorted(path.stem for path in Path(mimir.runs.__file__).parent.glob("[a-z]*.py"))


def _loaded(modules: list[str]) -> set[str]:
    code = "import sys, importlib\n"
    code += "".join(f"importlib.import_module('mimir.runs.{name}')\n" for name in modules)
    code += "print(*{name.partition('.')[0] for name in sys.modules})"
    root = Path(mimir.runs.__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True,
        timeout=LIMIT,
    )  # fmt: skip
    return set(done.stdout.split())


def test_no_torch_and_no_launcher() -> None:
    assert not {"torch", "numpy", "launch"} & _loaded(MODULES)


def test_boto3_only_for_s3() -> None:
    assert "boto3" not in _loaded([name for name in MODULES if not name.startswith("s3_")])
