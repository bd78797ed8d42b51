"""The picture of a session in the README, and the script that records one."""

import re
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from scripts.record_session import COLUMNS, PICTURE, Recorder, in_terminal

ROOT = Path(__file__).resolve().parent.parent


def rows_of(svg: str) -> list[str]:
    """What the picture shows, row by row."""
    rows: dict[float, str] = {}
    for text in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text"):
        if "clip-path" in text.attrib:  # not the title of the window
            y = float(text.attrib["y"])
            rows[y] = rows.get(y, "") + (text.text or "").replace("\xa0", " ")
    return [rows[y].rstrip() for y in sorted(rows)]


def asks_for_nothing(svg: str) -> bool:
    around = re.sub(r">[^<]*</text>", "></text>", svg)
    outside = re.findall(r"(?:https?:)?//[^\s\"')]+|@import|<(?:image|script|use)\b", around)
    return outside == ["http://www.w3.org/2000/svg"]


def test_what_a_terminal_shows_in_the_end(tmp_path: Path) -> None:
    """Colours, the last state of a line that was redrawn, long lines over several rows."""
    script = tmp_path / "says"
    script.write_text(
        "import os, sys; assert sys.stdout.isatty() and os.get_terminal_size()[0] == "
        f"{COLUMNS}\n"
        "print('10 %\\r\\x1b[K20 %\\r\\x1b[Kdone')\n"
        "print('\\x1b[32mgreen\\x1b[0m <&>', os.getcwd())\n"
        f"print('x' * {COLUMNS} + 'y\\n')\n"
    )
    recorder = Recorder(tmp_path)
    recorder.run(f"{sys.executable} says")
    recorder.typed("next")
    svg = recorder.picture()
    assert rows_of(svg)[-6:] == ["done", "green <&> ~", "x" * COLUMNS, "y", "", "$ next"]
    assert "20 %" not in svg
    assert str(tmp_path) not in svg
    assert asks_for_nothing(svg)


def test_a_command_that_fails_is_not_recorded(tmp_path: Path) -> None:
    assert in_terminal(("sh", "-c", "echo no; exit 7"), {"PATH": "/bin:/usr/bin"}, tmp_path) == (
        7, "no\r\n"
    )  # fmt: skip
    with pytest.raises(SystemExit, match="ended with exit code 1"):
        Recorder(tmp_path).run("false")


def test_the_picture_in_the_readme() -> None:
    svg = PICTURE.read_text(encoding="utf-8")
    assert asks_for_nothing(svg)
    text = "\n".join(rows_of(svg))
    for said in ("$ python -m launch submit", "its machine is gone", "launch resume", "done"):
        assert said in text
    assert f"({PICTURE.relative_to(ROOT).as_posix()})" in (ROOT / "README.md").read_text()
