"""What a cell shows of a step that takes its time."""

from pathlib import Path

import pytest

from mimir.notebook import shown

TALKS = """
import sys, time
print("one", file=sys.stderr, flush=True)
while not sys.stdin: pass
print("result")
print("two \\x1b[2J", file=sys.stderr)
sys.exit(3)
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "talks.py").write_text(TALKS)
    return "talks"


def test_a_command_is_shown_as_it_speaks(
    module: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shown, "SILENT", 0.0)
    done = shown.command(module, what="It")
    out = capsys.readouterr().out
    assert (done.code, done.out, done.last) == (3, "result", "two \\u001b[2J")
    assert out.index("one\n") < out.index("two \\u001b[2J\n")
    assert "It: 0." in out
    assert "result" not in out


def test_an_interrupted_command_is_ended(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "talks.py").write_text("import time\nwhile True: time.sleep(1)\n")
    children = []
    popen = shown.subprocess.Popen

    def started(*words: object, **more: object) -> object:
        children.append(popen(*words, **more))  # type: ignore[call-overload]
        return children[-1]

    def pressed(*words: object, **more: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(shown.subprocess, "Popen", started)
    monkeypatch.setattr(shown, "SILENT", 0.0)
    monkeypatch.setattr("builtins.print", pressed)
    with pytest.raises(KeyboardInterrupt):
        shown.command(module, what="It")
    assert children[0].returncode is not None


def test_bytes_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    with shown.counting("Fetching x") as more:
        for _ in range(3):
            more(1_000_000)
    out = capsys.readouterr().out
    assert out.startswith("Fetching x …\n")
    assert out.endswith("Fetching x: 3.0 MB\n")
