"""The commands of the page for coding agents do what it says."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

from tests import ROOT
from tests.waiting import LIMIT, wait_for


def test_the_commands_of_the_page(tmp_path: Path) -> None:
    """From the dry run to samples, in a folder and with a store of its own."""
    page = (ROOT / "docs" / "guides" / "agents.md").read_text()
    first, second = re.findall(r"```bash\n(.*?)```", page, re.DOTALL)
    keep = {"PATH", "LANG", "XDG_CACHE_HOME", "VIRTUAL_ENV"}
    env = {name: value for name, value in os.environ.items() if name in keep}
    env |= {
        "HOME": str(tmp_path), "MIMIR_STORE": f"file://{tmp_path}/runs", "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
    }  # fmt: skip

    def said(line: str) -> str:
        words = shlex.split(line)
        assert words[0] == "python"
        done = subprocess.run(
            [sys.executable, *words[1:]], cwd=tmp_path, env=env, capture_output=True, text=True,
            timeout=LIMIT, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{line}: {done.stdout}{done.stderr}"
        return done.stdout

    def over() -> bool:
        state = json.loads(said("python -m launch status agents-first --json"))["state"]
        assert state not in ("failed", "stopped"), state
        return bool(state == "done")

    for line in first.splitlines():
        said(line)
    wait_for(over, "the end of the run", every=1.0)
    for line in second.splitlines():
        told = said(line)
    assert json.loads(told)
    assert json.loads((tmp_path / "samples.json").read_text())["peptides"]
