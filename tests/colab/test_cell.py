"""What the kernel runs, as a process of this computer."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from launch.providers.colab import cell
from tests.waiting import LIMIT

SECRET = "planted-secret-key"


def put(folder: Path, code: str) -> Path:
    job = {"command": [sys.executable, "-c", code], "env": {"KEY": SECRET}}
    (folder / "job.json").write_text(json.dumps(job))
    return folder / "job"


def test_the_job_is_deleted_before_it_is_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    base = put(tmp_path, "import os; print(os.listdir('.'), len(os.environ['KEY']))")
    freed: list[str] = []
    monkeypatch.chdir(tmp_path)
    cell.work("job", lambda: freed.append("yes"), lambda seconds: time.sleep(0.01))
    assert base.with_suffix(".log").read_text() == f"['job.log'] {len(SECRET)}\n"
    assert base.with_suffix(".exit").read_text() == "0"
    assert capfd.readouterr().out == "::mimir-begun::\n::mimir-exit 0::\n"
    assert freed == ["yes"]


def test_its_last_lines_are_told_if_it_did_not_end_well(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    put(tmp_path, "[print('line', i) for i in range(100)]; raise SystemExit(78)")
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        time.sleep(0.01)

    cell.work(str(tmp_path / "job"), lambda: None, sleep)
    lines = capfd.readouterr().out.splitlines()
    assert lines[0] == "::mimir-begun::"
    assert lines[1:-1] == [f"line {i}" for i in range(60, 100)]
    assert lines[-1] == "::mimir-exit 78::"
    assert slept[-1] == cell.LINGER


def test_it_is_asked_to_end_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code = (
        "import signal,sys,time;n=[];signal.signal(15,lambda *_:n.append(1));"
        "print('up',flush=True)\nwhile not n: time.sleep(.02)\ntime.sleep(.3);sys.exit(70+len(n))"
    )
    base = put(tmp_path, code)

    def sleep(seconds: float) -> None:
        if base.with_suffix(".log").read_text():
            base.with_suffix(".stop").touch()
        time.sleep(0.02)

    cell.work(str(base), lambda: None, sleep)
    assert base.with_suffix(".exit").read_text() == "71"


def test_a_machine_that_cannot_be_given_back_says_so(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "google.colab", None)  # whoever has imported one before
    put(tmp_path, "pass")
    cell.work(str(tmp_path / "job"), sleep=lambda seconds: time.sleep(0.01))
    assert "not given back from inside (ModuleNotFoundError)" in capfd.readouterr().out


def test_its_text_needs_nothing_but_python() -> None:
    text = Path(cell.__file__).read_text()
    done = subprocess.run(
        [sys.executable, "-IS", "-c", text + "\nprint(work.__name__)"],
        capture_output=True, text=True, check=True, timeout=LIMIT,
    )  # fmt: skip
    assert done.stdout == "work\n"
