import inspect
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from launch.commands import TREE as LAUNCH
from mimir import cli, commands
from mimir.cli.help import group_help
from mimir.commands import SUMMARY, TREE
from mimir.config import load_preset
from mimir.errors import OPTIONAL, BadInput, Fenced, MissingPackage
from mimir.runs.record import RunRecord, create_run
from mimir.runs.store import open_store
from mimir.text import NEVER_MEANT, nearest
from tests import ROOT
from tests.waiting import LIMIT

calls: list[dict[str, Any]] = []
TORCHLESS = """
import contextlib, io, sys
sys.modules["torch"] = None
from mimir import cli
from mimir.commands import SUMMARY, TREE
for words in sys.argv[1:]:
    err = io.StringIO()
    with contextlib.redirect_stderr(err):
        try:
            cli.main("mimir", SUMMARY, TREE, words.split())
        except SystemExit as ended:
            print(words, ended.code, err.getvalue().strip(), sep="|")
"""


def bake(
    name: str,
    *extras: str,
    heat: float = 180.0,
    n: int = 1,
    verbose: bool = False,
    min_length: int = 4,
    note: str = "",
) -> int | None:
    """Bake a cake.

    Longer words about cakes.

    Args:
        name: of the cake.
        extras: more words.
        heat: of the oven,
            in degrees.
        n: how many.
        verbose: say more.
        min_length: an option of two words.
        note: to print on it.

    Example:
        python -m oven bake plum --heat 200
        python -m oven bake plum -v
    """
    calls.append({"name": name, "extras": extras, "heat": heat, "n": n, "verbose": verbose,
                  "min_length": min_length, "note": note})  # fmt: skip
    return None


def tune(*, preset: str = "small", **settings: object) -> int:
    """Tune it.

    Args:
        preset: to begin with.
        settings: any setting.

    Example:
        python -m oven tune --lr 3
    """
    calls.append({"preset": preset, **settings})
    return 0


def fail(kind: str) -> int:
    """Fail.

    Args:
        kind: of failure.

    Example:
        python -m oven fail fenced
    """
    if kind == "fenced":
        raise Fenced("a newer attempt owns it")
    if kind == "interrupt":
        raise KeyboardInterrupt
    if kind == "broken":
        raise BrokenPipeError
    if kind == "memory":
        raise MemoryError("cannot have 3 TiB")
    return int(kind)


OVEN: cli.Tree = {"bake": bake, "tune": tune, "fail": fail, "deep": {"er": bake}}


class Result:
    def __init__(self, code: Any, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def oven(capsys: pytest.CaptureFixture[str]) -> Any:
    calls.clear()

    def run(*words: str) -> Result:
        with pytest.raises(SystemExit) as caught:
            cli.main("oven", "All about ovens.", OVEN, words)
        shown = capsys.readouterr()
        return Result(caught.value.code, shown.out, shown.err)

    return run


def test_words_become_arguments(oven: Any) -> None:
    assert oven("bake", "plum", "a", "b", "--heat", "200", "-n", "3", "-v").code == 0
    assert calls == [{"name": "plum", "extras": ("a", "b"), "heat": 200.0, "n": 3,
                      "verbose": True, "min_length": 4, "note": ""}]  # fmt: skip
    assert isinstance(calls[0]["heat"], float)


@pytest.mark.parametrize("words", [
    ["--min-length", "7"], ["--min_length", "7"], ["--min-length=7"], ["--min_length=7"],
])  # fmt: skip
def test_forms_of_an_option(oven: Any, words: list[str]) -> None:
    assert oven("bake", "plum", *words).code == 0
    assert calls[0]["min_length"] == 7


@pytest.mark.parametrize(("words", "value"), [
    (["--verbose"], True), (["-v"], True), (["--verbose=true"], True), (["--verbose=1"], True),
    (["--verbose=YES"], True), (["--no-verbose"], False), (["--verbose=false"], False),
    (["--verbose=0"], False), (["--verbose=no"], False), ([], False),
])  # fmt: skip
def test_forms_of_a_flag(oven: Any, words: list[str], value: bool) -> None:
    assert oven("bake", *words, "plum").code == 0
    assert calls[0]["verbose"] is value
    assert calls[0]["name"] == "plum"


@pytest.mark.parametrize(("words", "message"), [
    (["bake", "plum", "--no-note"],
     "`oven bake` has no option --no-note: --note takes a value (see `oven bake --help`)"),
    (["bake", "plum", "--no-min-length=3"], "--no-min-length: --min-length takes a value"),
    (["tune", "--no-preset"], "`oven tune` has no option --no-preset: --preset takes a value"),
    (["tune", "--no-preset", "x"], "has no option --no-preset: --preset takes a value"),
    (["tune", "--no-composition"], "has no option --no-composition: --composition takes a value"),
    (["tune", "--no-composition", "off"], "--no-composition: --composition takes a value (see"),
    (["bake", "plum", "--no-composition"], "has no option --no-composition; known are --name, "),
])  # fmt: skip
def test_only_a_flag_has_an_opposite(oven: Any, words: list[str], message: str) -> None:
    result = oven(*words)
    assert result.code == 78
    assert message in result.err
    assert calls == []


@pytest.mark.parametrize("text", [
    "007", "1e5", "1_000", "None", "True", "[1,2]", "a b", "it's", '"', "{}", "é", "-", "a=b",
    "0x10", "(1)", "--", "-5",
])  # fmt: skip
def test_text_stays_text(oven: Any, text: str) -> None:
    assert oven("bake", "plum", f"--note={text}").code == 0
    assert calls[0]["note"] == text
    if text and not text.startswith("--"):
        assert oven("bake", "plum", "--note", text).code == 0
        assert calls[1]["note"] == text
    if text and not text.startswith("-"):
        assert oven("bake", text, text).code == 0
        assert (calls[2]["name"], calls[2]["extras"]) == (text, (text,))


@pytest.mark.parametrize(("words", "shown"), [
    (["--note="], "--note is ''"), (["--note", ""], "--note is ''"), (["--note", " , "], "--note"),
])  # fmt: skip
def test_an_empty_text_is_a_variable_that_is_not_set(
    oven: Any, words: list[str], shown: str
) -> None:
    result = oven("bake", "plum", *words)
    assert result.code == 78
    assert shown in result.err
    assert "says nothing: leave it out" in result.err
    assert calls == []


def test_negative_numbers(oven: Any) -> None:
    assert oven("bake", "plum", "--heat", "-18.5", "-n", "-3").code == 0
    assert (calls[0]["heat"], calls[0]["n"]) == (-18.5, -3)


def bask(*, max_hours: cli.Hours = 0.0, wait_minutes: cli.Minutes = 10.0) -> None:
    """Bask.

    Args:
        max_hours: at most.
        wait_minutes: before.

    Example:
        python -m oven bask --max-hours 90m
    """
    calls.append({"max_hours": max_hours, "wait_minutes": wait_minutes})


@pytest.mark.parametrize(("words", "hours"), [
    ("6", 6.0), ("0.5", 0.5), ("0", 0.0), ("90m", 1.5), ("6h", 6.0), ("1.5h", 1.5), ("2 d", 48.0),
    ("1x", None), ("-1h", None), ("h", None), ("1h30m", 1.5), ("1d 12h", 36.0),
    ("30m1h", None), ("1h1h", None), ("1h30", None), ("", None),
    ("1_0", None), ("\u0663", None), ("010", None), (" 6", None),
])  # fmt: skip
def test_a_time_is_a_number_in_its_unit_or_a_duration(
    words: str, hours: float | None, capsys: pytest.CaptureFixture[str]
) -> None:
    calls.clear()
    with pytest.raises(SystemExit):
        cli.run("bask", bask, ["--max-hours", words, "--wait-minutes=90s"])
    if hours is None:
        assert (
            f"--max-hours is {words!r}, but must be a number of hours, or a duration such as"
            in (capsys.readouterr().err)
        )
    else:
        assert calls == [{"max_hours": hours, "wait_minutes": 1.5}]


def test_every_time_is_declared_as_one() -> None:
    """So that each takes 90m, and says so in its help."""
    times = []
    for _, function in [*leaves(TREE), *leaves(LAUNCH)]:
        for name, parameter in inspect.signature(function).parameters.items():
            if name.rpartition("_")[2] in ("hours", "minutes"):
                unit = {"hours": cli.Hours, "minutes": cli.Minutes}[name.rpartition("_")[2]]
                assert parameter.annotation in (unit, unit | None), (function, name)
                assert "or as 90m" in " ".join(cli.command_help("x", function).split())
                times.append(name)
    assert {"max_hours", "limit_hours", "wait_minutes"} <= set(times)


@pytest.mark.parametrize(("word", "value"), [
    ("7", 7), ("-7", -7), ("3e-4", 3e-4), (".5", 0.5), ("1e5", 1e5), ("True", True), ("on", "on"),
    ("007", "007"), ("0x10", "0x10"), ("1_0", "1_0"), ("1:30", "1:30"), ("nan", "nan"),
    ("1e400", "1e400"), ("None", "None"), ("[1]", "[1]"), ("(" * 5000, "(" * 5000), ("", ""),
    ("9" * 300, int("9" * 300)), ("9" * 5000, "9" * 5000),
])  # fmt: skip
def test_a_setting_is_a_plain_number_or_a_word(oven: Any, word: str, value: Any) -> None:
    assert oven("tune", f"--lr={word}").code == 0
    assert (calls[0]["lr"], type(calls[0]["lr"])) == (value, type(value))


def test_further_settings(oven: Any) -> None:
    assert (
        oven("tune", "--lr", "3e-4", "--warmup-steps=5", "--seed", "-1", "--device", "cpu").code
        == 0
    )
    assert calls == [
        {"preset": "small", "lr": 3e-4, "warmup_steps": 5, "seed": -1, "device": "cpu"}
    ]


@pytest.mark.parametrize(("words", "message"), [
    (["bakee"], "there is no command 'bakee'; did you mean 'bake'? (see `oven --help`)"),
    (["zzz"], "there is no command 'zzz'; known are bake, tune, fail, deep (see `oven --help`)"),
    (["deep", "err"],
     "there is no command 'err'; did you mean 'er'? (see `oven deep --help`)"),
    (["bake", "plum", "--heet", "3"], "`oven bake` has no option --heet; did you mean '--heat'?"),
    (["bake", "plum", "--minlength=3"], "no option --minlength; did you mean '--min-length'?"),
    (["bake", "plum", "-x"], "`oven bake` has no option -x (see `oven bake --help`)"),
    (["bake", "-x"], "`oven bake` has no option -x"),
    (["bake"], "`oven bake` needs NAME (see `oven bake --help`)"),
    (["bake", "plum", "--heat"], "--heat needs a value (see `oven bake --help`)"),
    (["bake", "plum", "--heat", "--verbose"], "--heat needs a value"),
    (["bake", "plum", "--heat", "hot"], "--heat is 'hot', but must be a number"),
    (["bake", "plum", "--heat", "1_0"], "--heat is '1_0', but must be a number"),
    (["bake", "plum", "--heat", "007.5"], "--heat is '007.5', but must be a number"),
    (["bake", "plum", "--heat", "0x10"], "--heat is '0x10', but must be a number"),
    (["bake", "plum", "-n", "1_0"], "--n is '1_0', but must be a whole number"),
    (["bake", "plum", "-n", " \u0663"], "--n is ' \u0663', but must be a whole number"),
    (["bake", "plum", "-n", "007"], "--n is '007', but must be a whole number"),
    (["bake", "plum", "-n", "1.5"], "--n is '1.5', but must be a whole number"),
    (["bake", "plum", "-n", "1" + "0" * 20], f"--n is '1{'0' * 20}', but must be less than 2^63"),
    (["bake", "plum", "-n", "9" * 5000], f"--n is '{'9' * 40}', but must be less than 2^63"),
    (["bake", "plum", "--heat", "nan"], "--heat is 'nan', but must be a finite number"),
    (["bake", "plum", "--heat", "-inf"], "--heat is '-inf', but must be a finite number"),
    (["bake", "plum", "--verbose=maybe"], "--verbose is 'maybe', but must be true or false"),
    (["bake", "plum", "--heat=1", "--heat=2"], "--heat is given twice"),
    (["bake", "plum", "-v", "--verbose"], "--verbose is given twice"),
    (["bake", "plum", "--verbose", "--no-verbose"], "--verbose is given twice"),
    (["bake", "plum", "--min-length=1", "--min_length=2"], "--min-length is given twice"),
    (["bake", "plum", "--name=pear"], "--name is given twice"),
    (["tune", "more"], "'more' is one word too many for `oven tune` (see `oven tune --help`)"),
    (["tune", "--lr"], "--lr needs a value"),
    (["tune", "--prset"], "there is no option or setting --prset; did you mean '--preset'?"),
    (["tune", "--compile"], "--compile needs a value (see `oven tune --help`)"),
    (["tune", "--lr", "1", "--lr", "2"], "--lr is given twice"),
])  # fmt: skip
def test_wrong_words_get_one_sentence(oven: Any, words: list[str], message: str) -> None:
    result = oven(*words)
    assert result.code == 78
    assert result.out == ""
    assert result.err.startswith("oven: ")
    assert message in result.err
    assert result.err.count("\n") == 1
    assert calls == []


@pytest.mark.parametrize("offered", sorted(NEVER_MEANT))
def test_no_slip_is_answered_with_what_ends_or_deletes(offered: str) -> None:
    for slip in (offered[:-1], offered + "s", offered[1:] + offered[0]):
        assert "did you mean" not in nearest(slip, [offered])
        assert offered in nearest(slip, [offered])  # it is listed among what there is


@pytest.mark.parametrize(("word", "offered"), [
    ("resum", ""), ("submitt", "submit"), ("sumbit", "submit"), ("commit", ""),
    ("stpo", ""), ("prnue", ""), ("reaps", ""), ("wacth", "watch"), ("staus", "status"),
    ("begin", ""), ("quit", ""), ("finish", ""), ("clean", ""), ("exit", ""), ("subset", ""),
])  # fmt: skip
def test_a_command_is_offered_only_where_it_is_near(
    word: str, offered: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        cli.main("mimir", "", {**LAUNCH, **TREE}, [word])
    err = capsys.readouterr().err
    assert (f"did you mean '{offered}'?" in err) if offered else ("; known are submit, " in err)


@pytest.mark.parametrize(("word", "ours"), [
    *((word, "stop") for word in ("terminate", "abort", "halt", "end")),
    ("restart", "resume"), ("resubmit", "resume"), ("diff", "compare"), ("history", "alerts"),
])  # fmt: skip
def test_what_others_call_a_command_is_known(
    word: str, ours: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        cli.main("mimir", "", {**LAUNCH, **TREE}, [word])
    said = capsys.readouterr().err
    assert f"there is no command {word!r}: the command is `mimir {ours}`" in said


def test_a_name_of_another_tool_is_told_ours(monkeypatch: pytest.MonkeyPatch, oven: Any) -> None:
    monkeypatch.setitem(cli.SYNONYMS, "roast", "bake")
    assert "the command is `oven bake`" in oven("roast").err
    assert "the command is" not in oven("ls").err  # for there is no `runs`
    everything = {*TREE, *LAUNCH}
    assert {*cli.SYNONYMS.values()} - {"bake"} <= everything
    assert not {*cli.SYNONYMS} & everything


@pytest.mark.parametrize("option", ["--name", "--run", "--run-name"])
@pytest.mark.parametrize("command", ["rm", "compare", "alerts", "watch"])
def test_a_run_is_named_so_where_several_may_be_named(command: str, option: str) -> None:
    function = cli.loaded(LAUNCH[command])
    assert callable(function)
    bound = cli.check_words(command, function, ["a", option, "b", f"{option}=c"])
    assert bound.args == ("a", "b", "c")
    with pytest.raises(BadInput, match=f"{option} needs a value"):
        cli.check_words(command, function, [option])


@pytest.mark.parametrize("option", ["--name", "--run", "--run-name"])
@pytest.mark.parametrize("command", ["status", "report"])
def test_a_second_name_is_one_of_the_others(command: str, option: str) -> None:
    function = cli.loaded(LAUNCH[command])
    assert callable(function)
    for words in (
        ["a", "b", option, "c"], [option, "a", "b", option, "c"], [f"{option}=a", "b", "c"],
        [option, "a", "--name", "b", "--name=c"], ["a", option, "b", "c"],
    ):  # fmt: skip
        assert cli.check_words(command, function, words).args == ("a", "b", "c"), words


def test_a_refused_value_is_shown_as_it_was_written(oven: Any) -> None:
    for short in ("-v", "-y", "-n"):
        said = oven("bake", "plum", "--note", short).err
        assert f"begins with dashes is written as --note='{short}'" in said
    assert oven("bake", "plum", "--note=-v", "-v").code == 0
    assert (calls[0]["note"], calls[0]["verbose"]) == ("-v", True)


def test_words_are_read_once(oven: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fire calls the function, and gets no word that it could read as something else."""
    import fire

    heard: list[Any] = []
    real = fire.Fire
    monkeypatch.setattr(
        fire, "Fire", lambda *a, **more: heard.append(more["command"]) or real(*a, **more)
    )
    assert oven("bake", "1", "2", "--note=[3]", "--heat", "4").code == 0
    assert heard == [[]]
    assert (calls[0]["name"], calls[0]["extras"], calls[0]["note"]) == ("1", ("2",), "[3]")


@pytest.mark.parametrize(("words", "wanted"), [
    (["help", "bake"], "Usage: oven bake NAME"), (["--help", "bake"], "Usage: oven bake NAME"),
    (["help", "deep", "er"], "Usage: oven deep er NAME"), (["deep", "help"], "oven deep COMMAND"),
    (["help"], "oven COMMAND"), (["version"], "mimir "), (["--version"], "mimir "),
    (["help", "--help"], "oven COMMAND"), (["-h", "-h"], "oven COMMAND"),
    (["help", "help"], "oven COMMAND"), (["help", "-h", "bake"], "Usage: oven bake NAME"),
    (["help", "version"], "mimir "), (["--help", "--version"], "mimir "),
])  # fmt: skip
def test_help_and_version_as_words(oven: Any, words: list[str], wanted: str) -> None:
    result = oven(*words)
    assert (result.code, result.err) == (0, "")
    assert wanted in result.out
    assert calls == []


@pytest.mark.parametrize(("words", "message"), [
    (["--version", "foo"], "'foo' is one word too many for `oven --version`"),
    (["version", "foo"], "'foo' is one word too many for `oven version`"),
    (["help", "bake", "foo"], "'foo' is one word too many: `oven bake --help`"),
    (["help", "version", "foo"], "'foo' is one word too many for `oven version`"),
    (["help", "bakee"], "there is no command 'bakee'; did you mean 'bake'?"),
])  # fmt: skip
def test_no_word_is_dropped(oven: Any, words: list[str], message: str) -> None:
    result = oven(*words)
    assert (result.code, result.out) == (78, "")
    assert message in result.err


@pytest.mark.parametrize(("words", "message"), [
    (["train", "x", "--provider", "runpod"],
     "`mimir train` has no option --provider: it is an option of submit, resume, runs, …"),
    (["train", "x", "--max-cost", "5"], "--max-cost: it is an option of submit, resume, sweep"),
    (["train", "x", "--gpu=T4"], "--gpu: it is an option of submit, resume, offers, …"),
    (["train", "x", "--static-keys"], "--static-keys: it is an option of submit, resume, sweep"),
    (["submit", "x", "--take-over"], "`mimir submit` has no option --take-over: it is an option "
     "of resume"),
    (["submit", "x", "--zzzzz"], "there is no option or setting --zzzzz (see `mimir submit"),
    (["submit", "x", "--max-step"], "setting --max-step; did you mean '--max-steps'?"),
    (["submit", "x", "--batch-siz"], "setting --batch-siz; did you mean '--batch'?"),
    (["submit", "x", "--lrr"], "there is no option or setting --lrr; did you mean '--lr'?"),
    (["submit", "x", "--epoch"], "setting --epoch; did you mean '--epochs'?"),
    (["submit", "x", "--compile"], "--compile needs a value (see `mimir submit --help`)"),
    (["submit", "x", "--max-cos"], "setting --max-cos; did you mean '--max-cost'?"),
    (["submit", "x", "--static-key"], "no option or setting --static-key (see `mimir submit"),
    (["status", "x", "--follow"], "`mimir status` has no option --follow: it is an option of logs"),
    (["label", "one", "--unset", "x"], "has no option --unset: `KEY=` takes a label away"),
    (["label", "one", "--remove", "x"], "has no option --remove: `KEY=` takes a label away"),
])  # fmt: skip
def test_an_option_of_another_command_is_told_whose_it_is(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main("mimir", "", {**LAUNCH, **TREE, "resume": LAUNCH["resume"]}, words)
    assert caught.value.code == 78
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("option", ["--name", "--run", "--run-name"])
def test_a_run_is_named_by_any_of_its_spellings(oven: Any, option: str) -> None:
    assert oven("bake", option, "plum").code == 0
    assert calls[0]["name"] == "plum"
    assert "is given twice" in oven("bake", "plum", option, "pear").err


def test_without_torch_each_command_that_needs_it_says_so_and_makes_nothing(
    tmp_path: Path,
) -> None:
    commands = (
        "train --preset smoke", "resume x", "sample --run x", "score --run x --peptides y",
        "evaluate --run x", "replay x", "preflight", "benchmark pepbenchmark x",
    )  # fmt: skip
    env = {**os.environ, "MIMIR_STORE": (tmp_path / "store").as_uri()}
    done = subprocess.run(
        [sys.executable, "-c", TORCHLESS, *commands], cwd=ROOT, env=env, timeout=LIMIT,
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    told = [line.split("|") for line in done.stdout.splitlines()]
    why = f"mimir: {MissingPackage('torch')}"
    assert told == [[command, "78", why] for command in commands]
    assert not (tmp_path / "store").exists()


@pytest.fixture
def broken(tmp_path: Path) -> dict[str, str]:
    """An environment whose torch is installed, and cannot be imported."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "torch.py").write_text("raise OSError('libcudart.so.12: no such file')\n")
    found = os.pathsep.join([str(tmp_path / "site"), str(ROOT)])
    return {**os.environ, "PYTHONPATH": found, "MIMIR_STORE": (tmp_path / "store").as_uri()}


@pytest.mark.parametrize("words", [
    "mimir train one --preset smoke", "mimir resume one", "launch submit one --preset smoke",
    "launch submit one --preset smoke --dry-run", "launch doctor",
])  # fmt: skip
def test_a_torch_that_cannot_be_imported_is_told_before_a_run_is_made(
    words: str, broken: dict[str, str], tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *words.split()], cwd=tmp_path, env=broken, timeout=LIMIT,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 78, done.stderr
    why = "torch is installed here, but cannot be imported (OSError: libcudart.so.12: no such file)"
    (told,) = [line for line in (done.stdout + done.stderr).splitlines() if "libcudart" in line]
    assert why in told
    assert "Traceback" not in done.stderr
    store = tmp_path / "store"
    assert words == "launch doctor" or not store.exists()


def test_a_package_is_advised_as_the_extras_have_it() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needs = project["optional-dependencies"]
    assert {*OPTIONAL.values()} == {one for name in ("train", "ssh", "gcp") for one in needs[name]}
    # Nobody of ours owns that name on an index, so that no advice may send a person there.
    texts = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("notebooks/*"),
             *(path for room in ("mimir", "launch", "docker") for path in ROOT.glob(f"{room}/**/*")
               if path.suffix in (".py", ".md", ".txt"))]  # fmt: skip
    advice = re.compile(r"install\s+['\"]?" + project["name"])
    assert [path for path in texts if advice.search(path.read_text())] == []


def test_exit_codes(oven: Any) -> None:
    assert oven("fail", "0").code == 0
    assert oven("fail", "75").code == 75
    fenced = oven("fail", "fenced")
    assert (fenced.code, fenced.err) == (76, "oven: a newer attempt owns it\n")
    memory = oven("fail", "memory")
    assert (memory.code, memory.err.count("\n")) == (78, 1)
    assert "out of memory: ask for less" in memory.err
    interrupted = oven("fail", "interrupt")
    assert (interrupted.code, interrupted.err) == (130, "oven: interrupted\n")


def test_a_bug_keeps_its_traceback() -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        cli.main("oven", "", OVEN, ["fail", "x"])


def test_group_help(oven: Any) -> None:
    result = oven("--help")
    assert result.code == 0
    for part in ("All about ovens.", "oven COMMAND", "bake", "Bake a cake.", "tune", "deep"):
        assert part in result.out
    assert oven().code == 78
    assert oven("deep").code == 78
    assert "er" in oven("deep", "-h").out


def testcommand_help(oven: Any) -> None:
    result = oven("bake", "--help")
    assert result.code == 0
    for part in (
        "Bake a cake.", "Longer words about cakes.", "Usage: oven bake NAME [EXTRAS …]",
        "--heat HEAT", "of the oven, in degrees. (default: 180.0)", "--n N", "(default: 1)",
        "--verbose", "--min-length MIN_LENGTH", "python -m oven bake plum --heat 200",
        "python -m oven bake plum -v",
    ):  # fmt: skip
        assert part in result.out, part
    assert oven("bake", "plum", "--heat", "hot", "-h").code == 0
    assert calls == []
    assert "--SETTING VALUE" in oven("tune", "--help").out


def test_help_shows_a_word_that_may_be_left_out() -> None:
    def bake(name: str, text: str = "", *, hot: bool = False) -> None:
        """Bake."""

    assert "Usage: oven bake NAME [TEXT] [OPTIONS]" in cli.command_help("oven bake", bake)


def test_the_usage_names_each_option_that_must_be_given() -> None:
    """As it must be written, so that what it shows is not refused."""

    def bake(name: str, *, oven_door: str, hot: bool = False) -> None:
        """Bake.

        Args:
            name: of it.
            oven_door: of the oven.
            hot: or not.
        """

    text = cli.command_help("oven bake", bake)
    assert "Usage: oven bake NAME --oven-door OVEN_DOOR [OPTIONS]" in text
    assert "\n  --oven-door OVEN_DOOR\n" in text or "\n  --oven-door OVEN_DOOR  of" in text
    assert cli.check_words("bake", bake, ["plum", "--oven-door", "OPEN"]).args == ("plum",)
    functions = {" ".join(path): function for path, function in leaves(TREE)}
    for path, option in (("data build", "--pairs PAIRS"), ("score", "--peptides PEPTIDES")):
        usage = cli.command_help(f"mimir {path}", functions[path]).partition("Usage: ")[2]
        assert usage.startswith(f"mimir {path} {option} [OPTIONS]")
        with pytest.raises(BadInput, match=f"needs {option.split()[0]} "):
            cli.check_words(f"mimir {path}", functions[path], [])


def test_help_says_a_default_once() -> None:
    def bake(*, dollars: float = -1.0, seed: int = 0, hot: bool = False, note: str = "") -> None:
        """Bake.

        Args:
            dollars: for sugar (default: what the purse holds).
            seed: of the plum.
            hot: or not.
            note: to print.
        """

    text = cli.command_help("oven bake", bake)
    assert "of the plum. (default: 0)" in text  # 0 equals False, and is a default all the same
    assert text.count("default") == 2
    assert "for sugar (default: what the purse holds)" in text
    assert "-1" not in text


ZERO = {"seed"}
"""Options whose 0 is a number like any other."""


def test_each_option_of_each_command_has_a_meaning_and_one_default() -> None:
    for path, function in [*leaves(TREE), *leaves(LAUNCH)]:
        text = cli.command_help("x", function)
        told, settings, _ = text.partition("\nSettings (")
        takes = any(
            p.kind == p.VAR_KEYWORD for p in inspect.signature(function).parameters.values()
        )
        assert bool(settings) == takes, path
        listed = told.partition("\nOptions:\n")[2].partition("\n\n")[0]
        for entry in re.split(r"\n  (?=\S)", f"\n{listed}")[1:]:
            entry = " ".join(entry.split())  # however wide the terminal is
            name = entry.split()[0].removeprefix("--")
            meaning = re.sub(r"^\S+( [A-Z_]+(?=\s|$))?", "", entry).partition("(default")[0]
            assert re.search(r"[a-z]", meaning), (path, entry)
            assert entry.count("(default") <= 1, (path, entry)
            assert not re.search(r"less than 0|\(default: -", entry), (path, entry)
            assert name in ZERO or not re.search(r"\(default: 0(\.0)?\)", entry), (path, entry)


def test_help_says_what_0_stands_for() -> None:
    def bake(*, most: int = 0, hours: cli.Hours = 0.0) -> None:
        """Bake.

        Args:
            most: so many; 0: all of them.
            hours: in the oven (default: until done).
        """

    text = " ".join(cli.command_help("oven bake", bake).split())
    assert "so many; 0: all of them. (default: all of them)" in text
    assert "in the oven (a number of hours, or as 90m, 1.5h, 2d) (default: until done)" in text


@pytest.mark.parametrize("columns", [50, 60, 80, 120, 200])
def test_help_fits_the_terminal(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    everything = {**LAUNCH, **TREE}
    texts = [group_help("mimir", f"{SUMMARY}\n\n{SUMMARY}", everything)]
    texts += [cli.command_help("mimir x", function) for _, function in leaves(everything)]
    longest = 0
    for text in texts:
        copied = text.partition("\nExample:")[0] + "".join(text.partition("\nSettings (")[1:])
        for line in copied.splitlines():
            if not line.startswith("Usage: ") and len(line.split()) > 1:
                longest = max(longest, len(line))
                assert len(line) <= min(columns, 120), line
            assert line == line.rstrip()
    assert longest > min(columns, 120) - 10
    begin = [line.index(line.split()[1]) for line in texts[0].splitlines() if "  runs " in line]
    assert begin[0] < columns / 2


def leaves(tree: cli.Tree, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any]]:
    found = []
    for name, node in tree.items():
        node = cli.loaded(node)
        if callable(node):
            found.append(((*path, name), node))
        else:
            found += leaves(node, (*path, name))
    return found


@pytest.mark.parametrize(("path", "function"), leaves(TREE))
def test_every_command_of_mimir_tells_all_its_options(
    path: tuple[str, ...], function: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main("python -m mimir", SUMMARY, TREE, [*path, "--help"])
    text = capsys.readouterr().out
    assert caught.value.code == 0
    assert f"python -m mimir {' '.join(path)}" in text
    assert "Example:" in text
    _, told, examples = cli.sections(inspect.getdoc(function) or "")
    assert examples
    for name, parameter in inspect.signature(function).parameters.items():
        assert told.get(name), f"{name} is not described"
        shown = name.replace("_", "-")
        if parameter.kind != parameter.VAR_KEYWORD:
            assert shown in text or shown.upper() in text


def test_the_examples_of_mimir_are_accepted() -> None:
    import shlex

    for path, function in leaves(TREE):
        for line in cli.sections(inspect.getdoc(function) or "")[2]:
            words = shlex.split(line)
            assert words[: 3 + len(path)] == ["python", "-m", "mimir", *path]
            cli.check_words(" ".join(path), function, words[3 + len(path) :])


def test_without_names_in_reach() -> None:
    assert cli.nearest("x", []) == ""
    with pytest.raises(BadInput, match="known are --heat"):
        raise BadInput(cli.nearest("qqqqq", ["heat"], "--"))


def mimir(*words: str, **more: Any) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "mimir", *words], cwd=ROOT, capture_output=True, text=True,
        env=dict(os.environ, OMP_NUM_THREADS="1"), timeout=LIMIT, check=False, **more,
    )  # fmt: skip


@pytest.mark.parametrize(("words", "message"), [
    (["train", "small"], "say `train NAME --preset small`"),
    (["train", "help"], "help is no name for a run: `train --help` is the help of `train`"),
    (["train", "--preset", "smal"], "there is no preset 'smal'; did you mean 'small'?"),
    (["train", "--preset", "smoke", "--lr", "-1"], "lr is -1.0, but must be from 1e-30 to 1e+30"),
    (["train", "--preset", "smoke", "--epoch", "1"], "no setting 'epoch'; did you mean 'epochs'?"),
    (["train", "--preset", "smoke", "--seed", "007"], "seed is '007'"),
    (["train", "--preset", "smoke", "--batch", "100000"], "use a smaller --batch or more data"),
    (["train", "--preset", "smoke", "--data", "/no/data.csv"], "/no/data.csv"),
    (["sample"], "give either --run NAME or --model FOLDER"),
    (["sample", "--model", "/no/model"], "holds no model.safetensors"),
    (["sample", "--run", "demo", "--label", "bakground"], "did you mean 'background'?"),
    (["resume", "nothing"], "there is no run nothing"),
    (["train", "--preset", "smoke", "--store", "file:///proc/foo", "--data", "/no"],
     "store file:///proc/foo: nothing can be written in /proc (No such file or directory); choose"),
])  # fmt: skip
def test_mistakes_at_the_real_command_line(words: list[str], message: str) -> None:
    result = mimir(*words)
    assert result.returncode == 78, result.stderr
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    *before, last = result.stderr.splitlines()
    assert last.startswith("python -m mimir: ")
    assert all(line.startswith("pack ") for line in before)
    assert not (Path(os.environ["HOME"]) / ".local" / "share" / "mimir" / "runs" / "demo").exists()


def test_a_reader_that_leaves_is_no_error() -> None:
    script = (
        "from mimir import cli\n"
        "def many() -> None:\n"
        "    '''Print a lot.'''\n"
        "    for i in range(100_000):\n"
        "        print(i)\n"
        "cli.run('many', many, [])\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline() == b"0\n"
    process.stdout.close()
    error = process.stderr.read()
    process.stderr.close()
    assert (process.wait(timeout=LIMIT), error) == (0, b"")


def queue(run: str = "", *, slurm: str = "", note: str = "", watch: bool = False,
          **settings: object) -> None:  # fmt: skip
    """Queue.

    Args:
        run: of it.
        slurm: options of sbatch.
        note: a text.
        watch: it.
        settings: more.

    Example:
        python -m oven queue
    """
    calls.append({"run": run, "slurm": slurm, **settings})


@pytest.mark.parametrize(("words", "wanted"), [
    (["--slurm", "--partition=gpu --gres=gpu:1"], "--partition=gpu --gres=gpu:1"),
    (["--slurm", "--time=1:00"], "--time=1:00"),
    (["--slurm", "--constraint a100"], "--constraint a100"),
    (["--slurm", "-p gpu"], "-p gpu"),
    (["--slurm=--exclusive"], "--exclusive"),
    (["--slurm", "--exclusive"], None),  # it may be an option of ours that is misspelt
    (["--slurm", "--watch"], None), (["--slurm", "--note=x"], None), (["--slurm", "--lr=1"], None),
    (["--slurm", "--no-watch=x"], None), (["--slurm", "--name=x"], None), (["--slurm"], None),
    (["--note", "--time=1:00"], None),
])  # fmt: skip
def test_options_of_another_program_are_a_value(
    words: list[str], wanted: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    calls.clear()
    with pytest.raises(SystemExit):
        cli.run("queue", queue, words)
    if wanted is not None:
        assert calls == [{"run": "", "slurm": wanted}]
        return
    err = capsys.readouterr().err
    assert f"{words[0]} needs a value" in err
    how = f"; one that begins with dashes is written as {words[0]}='" in err
    assert how == (len(words) > 1)


def test_train_goes_on_with_a_run_by_its_name_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever settings it was begun with: they stand in its record."""
    url = (tmp_path / "store").as_uri()
    store = open_store(url)
    create_run(store, RunRecord("first", "smoke", load_preset("smoke").as_dict(), 0, 1.0))
    asked: list[tuple[str, str]] = []
    monkeypatch.setattr(
        commands, "_work_here", lambda store, name, named: len(asked.append((name, named)) or "")
    )
    assert commands.train("first", store=url) == 0
    assert asked == [("first", url)]
    with pytest.raises(BadInput, match=r"no\.csv"):  # other data are another job
        commands.train("first", store=url, data=str(tmp_path / "no.csv"))
