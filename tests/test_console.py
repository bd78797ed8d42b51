"""What a command prints is shown safely, whoever prints it and wherever it goes."""

import fcntl
import io
import json
import os
import pty
import struct
import subprocess
import sys
import termios

import pytest

from mimir import cli, console
from mimir.errors import BadInput
from tests import ROOT
from tests.waiting import LIMIT

EVIL = "\x1b]52;c;cm0gLXJm\x07\x9b2J\u202e\u200b\r\x7f\udc80"
SHOWN = r"\u001b]52;c;cm0gLXJm\u0007\u009b2J\u202e\u200b\u000d\u007f\udc80"
PROGRAM = """
import logging, sys, warnings
from mimir import cli
from mimir.errors import BadInput
EVIL = {evil!a}
def show(how: str) -> None:
    "Show it."
    if how == "out": print("a", EVIL, "é")
    if how == "err": print("b", EVIL, file=sys.stderr)
    if how == "log": logging.warning("%s", EVIL)
    if how == "error": raise BadInput("it says " + EVIL + "\\nrun x is done")
    if how == "bug": raise ValueError(EVIL)
cli.run("show", show)
"""


def shown(how: str, **options: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", PROGRAM.format(evil=EVIL), how], cwd=ROOT, text=True, check=False,
        timeout=LIMIT, encoding="utf-8", **{"stdout": -1, "stderr": -1, **options},  # type: ignore[call-overload]
    )  # fmt: skip


@pytest.mark.parametrize(
    ("how", "code", "wanted"),
    [
        ("out", 0, f"a {SHOWN} é\n"),
        ("err", 0, f"b {SHOWN}\n"),
        ("log", 0, SHOWN),
        ("error", 78, f"show: it says {SHOWN}\\nrun x is done\n"),
        ("bug", 1, f"ValueError: {SHOWN}\n"),
    ],
)
def test_every_way_out(how: str, code: int, wanted: str) -> None:
    done = shown(how)
    assert done.returncode == code
    assert wanted in done.stdout + done.stderr
    assert (
        not set(EVIL) - {"c", "m"}
        & set("\x1b\x07\x9b\u202e\u200b\r\x7f")
        & set(done.stdout + done.stderr)
    )


def test_a_terminal_sees_no_escape() -> None:
    ours, theirs = pty.openpty()
    try:
        assert shown("out", stdout=theirs).returncode == 0
        assert os.read(ours, 4096).decode() == f"a {SHOWN} é\r\n"
    finally:
        os.close(ours)
        os.close(theirs)


def test_an_output_that_has_no_such_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii:strict")
    done = shown("out")
    assert (done.returncode, done.stdout) == (0, f"a {SHOWN} \\xe9\n")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_an_output_that_takes_nothing() -> None:
    with open("/dev/full", "w") as full:
        done = shown("out", stdout=full)
    assert done.returncode == 78
    assert done.stderr == "show: standard output cannot be written: No space left on device\n"


def test_an_output_that_is_closed() -> None:
    script = 'exec "$0" -c "$1" out >&-'
    done = subprocess.run(
        ["sh", "-c", script, sys.executable, PROGRAM.format(evil=EVIL)],
        cwd=ROOT, capture_output=True, text=True, timeout=LIMIT, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


def test_the_stream_below_is_for_drawing_and_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    below = io.StringIO()
    monkeypatch.setattr(sys, "stdout", below)
    with console.safe_output():
        print("\x1b")
        assert console.drawing(sys.stdout) is below
        with console.safe_output():
            print("\x1b")
        with pytest.raises(BadInput):
            cli.check_words("x", lambda: None, ["--y"])
    assert sys.stdout is below
    assert console.drawing(sys.stdout) is below
    assert below.getvalue() == "\\u001b\n" * 2


@pytest.mark.parametrize("terminal", [True, False])
def test_a_bar_is_made_where_somebody_looks(
    terminal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = io.StringIO()
    stream.isatty = lambda: terminal  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stderr", stream)
    if not terminal:
        monkeypatch.setitem(sys.modules, "tqdm", None)  # its import fails
    with console.bar("upload", 3 << 20, "B") as advance:
        advance(1 << 20)
        advance(2 << 20)
    assert stream.getvalue() == "" if not terminal else "upload: " in stream.getvalue()


@pytest.mark.parametrize(
    ("unit", "wanted"),
    [
        ("step", "replay: 500,000 of 2,000,000 steps (25%)\n"),
        ("B", "replay: 0.5 of 2.0 MB (25%)\n"),
    ],
)
def test_where_no_terminal_is_progress_is_a_line_now_and_then(
    unit: str, wanted: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 5.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    with console.bar("replay", 2_000_000, unit) as advance:
        advance(300_000)
        now += console.LINE_EVERY
        advance(200_000)
        now += console.LINE_EVERY - 1
        advance(900_000)
    assert capsys.readouterr().err == wanted


TERMINAL, PIPE = True, False


@pytest.mark.parametrize(
    ("terminal", "environ", "wanted"),
    [
        (TERMINAL, {}, True),
        (PIPE, {}, False),
        (TERMINAL, {"NO_COLOR": "1"}, False),
        (TERMINAL, {"NO_COLOR": ""}, True),
        (TERMINAL, {"TERM": "dumb"}, False),
        (TERMINAL, {"CLICOLOR": "0"}, False),
        (PIPE, {"CLICOLOR": "1"}, False),
        (PIPE, {"FORCE_COLOR": "1"}, True),
        (PIPE, {"CLICOLOR_FORCE": "1"}, True),
        (PIPE, {"CLICOLOR_FORCE": "0", "FORCE_COLOR": ""}, False),
        (TERMINAL, {"FORCE_COLOR": "0"}, False),
        (PIPE, {"FORCE_COLOR": "1", "TERM": "dumb"}, True),
        (TERMINAL, {"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
    ],
)
def test_where_colours_are_shown(terminal: bool, environ: dict[str, str], wanted: bool) -> None:
    stream = io.StringIO()
    stream.isatty = lambda: terminal  # type: ignore[method-assign]
    assert console.has_colour(stream, environ) is wanted


def test_a_text_is_made_visible_before_it_is_coloured(monkeypatch: pytest.MonkeyPatch) -> None:
    text = console.joined(["run ", console.styled("\x1b[32mdone", console.BAD), "\x1b[0m"])
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    with console.safe_output():
        monkeypatch.setenv("FORCE_COLOR", "1")
        console.show(text)
        print(text, json.dumps({"state": text}))
        monkeypatch.setenv("NO_COLOR", "1")
        console.show(text)
        below = console.drawing(sys.stdout)
    assert isinstance(below, io.StringIO)
    plain = "run \\u001b[32mdone\\u001b[0m"
    assert below.getvalue().splitlines() == [
        "run \x1b[31m\\u001b[32mdone\x1b[0m\\u001b[0m", f'{plain} {{"state": "{plain}"}}', plain,
    ]  # fmt: skip


def test_a_cut_text_keeps_its_styles() -> None:
    text = console.joined([console.styled("abc", console.BAD), "def"], "-")
    assert (text, console.cut(text, 2), console.cut(text, 6)) == ("abc-def", "ab", "abc-de")
    assert console.cut(text, 2).pieces[0] == ("ab", console.BAD)
    assert console.styled_line(console.styled("a\nb", console.BAD)).pieces == (
        ("a\\nb", console.BAD),
    )


def test_a_refusal_is_coloured_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert shown("error").stderr.startswith("\x1b[31mshow:\x1b[0m it says \\u001b]52")


@pytest.mark.parametrize(
    ("sentence", "wanted"),
    [
        ("see `python -m launch status x`, or `python -m mimir sample --run x`",
         "see `mimir status x`, or `mimir sample --run x`"),
        ("go on here: python -m mimir resume x --store s",
         "go on here: mimir train x --store s"),
        ("`python -m launch resume` orders one", "`mimir resume` orders one"),
        ("python -m mimir.worker and python -m launch.cluster.job", ""),
        ("python -m pip install, python -m launcher", ""),
        ("cron runs /usr/bin/python -m launch watch --once", ""),
    ],
)  # fmt: skip
def test_the_script_names_commands_as_it_was_called(sentence: str, wanted: str) -> None:
    assert console.as_script(sentence) == (wanted or sentence)


def test_a_script_spells_all_that_it_shows(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    named = "python -m launch status x"
    for as_script, wanted in [(False, named), (True, "mimir status x")]:
        with console.safe_output(as_script=as_script):
            print(named)
            console.show(console.joined(["see", console.styled(named, console.BAD)], " "))
            console.show(named, sys.stderr)
        seen = capsys.readouterr()
        assert seen.out == f"{wanted}\nsee \x1b[31m{wanted}\x1b[0m\n"
        assert seen.err == f"{wanted}\n"


@pytest.mark.parametrize(("told", "wanted"), [("60", 60), ("0", 98), ("wide", 98), (None, 98)])
def test_the_columns_are_those_of_the_environment_else_of_the_terminal(
    told: str | None, wanted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if told is None:
        monkeypatch.delenv("COLUMNS", raising=False)
    else:
        monkeypatch.setenv("COLUMNS", told)
    monkeypatch.setattr(sys, "__stdout__", None)
    assert console.columns_here(98) == wanted


def test_the_columns_of_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 77, 0, 0))
    monkeypatch.delenv("COLUMNS", raising=False)
    with open(slave, "w") as terminal:
        monkeypatch.setattr(sys, "__stdout__", terminal)
        assert console.columns_here(98) == 77
    os.close(master)
