"""Bad words get one sentence with the way out, and exit code 78."""

from collections.abc import Mapping

import pytest

from launch.commands import SUMMARY, TREE, options
from launch.providers.docker.cli import Engine, Refused
from launch.ui import confirm
from mimir import cli
from mimir.errors import BadInput
from mimir.runs.order import Limits, Plan
from mimir.runs.store import Store
from tests.launch.conftest import Fake

FROM_JOB = ("--provider", "slurm", "--notify-from-machine", "--notify", "https://hooks.example/x")


def answer(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit) as ended:
        cli.main("python -m launch", SUMMARY, TREE, words)
    assert ended.value.code == 78
    err = capsys.readouterr().err
    assert err.startswith("python -m launch: ")
    assert err.count("\n") == 1
    return err


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (("statsu", "x"), "did you mean 'status'?"),
        (("status",), "needs NAME"),
        (("status", "rnu"), "did you mean run?"),
        (("logs", "rnu", "--follow"), "did you mean run?"),
        (("stop", "rnu"), "did you mean run?"),
        (("resume", "rnu"), "did you mean run?"),
        (("pull", "rnu"), "did you mean run?"),
        (("logs", "run", "--folow"), "did you mean '--follow'?"),
        (("logs", "run"), "has not begun"),
        (("stop", "run"), "nothing to stop"),
        (("submit", "--provider", "locl"), "did you mean 'local'?"),
        (("resume", "run", "--provider", "moon"), "known are local"),
        (("submit", "smoke"), "say `submit NAME --preset smoke`, or `submit --preset smoke` for"),
        (("submit", "help"), "help is no name for a run: `submit --help` is the help of"),
        (("submit", "version", "--preset", "smoke"), "version is no name for a run"),
        (("sweep", "help"), "help is no name for a sweep: `sweep --help` is the help of `sweep`"),
        (
            ("sweep", "version", "--grid", "seed=0..1", "--dry-run"),
            "version is no name for a sweep",
        ),
        (("sweep", "help", "--resume"), "help is no name for a sweep"),
        (("sweep", "helper"), "there is no sweep helper"),
        (("submit", "my/own.yaml"), "my/own.yaml is a preset's file: say `submit NAME --preset"),
        (("submit", "my.yml", "--preset", "smoke"), "my.yml is a preset's file"),
        (("submit", "first", "--preset", "smal"), "did you mean 'small'?"),
        (("submit", "--preset", "smal"), "did you mean 'small'?"),
        (("submit", "--preset", "smoke", "--epohcs", "2"), "did you mean '--epochs'?"),
        (("submit", "--preset", "smoke", "--nmae", "x"), "did you mean '--name'?"),
        (("submit", "--preset", "smoke", "--epochs", "many"), "must be a whole number"),
        (("submit", "--preset", "smoke", "--store", "runs"), "has no scheme"),
        (("submit", "--preset", "smoke", "--store", "s4://b"), "did you mean s3://?"),
        (("submit", "--preset", "smoke", "--data", "no.csv"), "no data file"),
        (("status", "NO"), "is not allowed"),
        (
            ("submit", "--preset", "smoke", "--device", "cuda:x"),
            "a card is written as cuda:0 to cuda:63",
        ),
        (
            ("submit", "--preset", "smoke", "--device", "cuda:64"),
            "a card is written as cuda:0 to cuda:63",
        ),
        (("submit", "--preset", "smoke", "--device", "gpu:1"), "must be one of auto, cpu, cuda"),
        (
            ("submit", "--preset", "smoke", "--device", "cuda:1", "--provider", "local,lambda"),
            "and a machine of lambda has only one: leave the number out",
        ),
        (("prune", "--state", "alive"), "to remove; known are finished, done, failed"),
        (("prune", "--state", "stoped"), "to remove; known are finished, done, failed"),
        (("runs", "--label", ","), "--label is ',', which says nothing"),
        (("runs", "--state", " , "), "--state is ' , ', which says nothing"),
        (("runs", "--provider", "runpot"), "there is no provider 'runpot'; did you mean 'runpod'?"),
        (("submit", "--data", ""), "--data is '', which says nothing: leave it out, or set"),
        (("submit", ""), "NAME is '', which says nothing"),
        (("resume", "run", "--gpu="), "--gpu is '', which says nothing"),
        (("note", "run", ""), "TEXT is '', which says nothing"),
        (("label", "run", "y="), "run run has no label y to take away: it has none"),
        (("status", ""), "NAME is '', which says nothing: set the variable"),
        (("submit", "--data", "/"), "--data / is a folder"),
        (("submit", "--preset", "zzz"), "known are smoke, small, medium, large"),
        (("report", "--sweep", "no"), "one by `python -m launch sweep --name no --grid …`"),
        (("list",), "there is no command 'list': the command is `python -m launch runs`"),
        (
            ("submit", "--preset", "smoke", "--gpu", "H100"),
            "--gpu names a GPU to rent, and provider local",
        ),
        (
            ("submit", "--preset", "smoke", "--provider", "docker", "--gpu", "H100"),
            "and provider docker",
        ),
        (("resume", "run", "--gpu", "H100"), "--gpu names a GPU to rent, and provider local"),
        (("submit", "--preset", "smoke", *FROM_JOB), "leave --notify-from-machine out"),
        (("resume", "run", *FROM_JOB), "leave --notify-from-machine out"),
    ],
)
def test_bad_words(
    words: tuple[str, ...],
    wanted: str,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MIMIR_STORE", store.url)
    assert wanted in answer(capsys, *words)


def dead(self: Engine, *words: str, **how: object) -> str:
    """What a container engine answers whose disk is full."""
    raise Refused("it is out of disk")


@pytest.mark.parametrize(("words", "wanted"), [
    (("--preset", "Smoke"), "did you mean 'smoke'?"),
    (("--preset", "smoke", "--data", "no.csv"), "there is no data file no.csv"),
    (("--preset", "smoke", "--name", "my run"), "run name 'my run' is not allowed"),
    (("--preset", "smoke"), "it is out of disk"),
])  # fmt: skip
def test_the_words_themselves_come_before_what_is_wrong_elsewhere(
    words: tuple[str, ...], wanted: str, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(Engine, "ask", dead)
    monkeypatch.setenv("MIMIR_STORE", "s3://b/p?endpoint=http://127.0.0.1:9")
    assert wanted in answer(capsys, "submit", "--provider", "docker", *words)


def test_a_budget_in_the_environment_counts_unless_another_is_said(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MIMIR_MAX_COST_MONTH", "50")
    assert options.with_budgets(Limits(), None, None) == Limits(max_cost_month=50.0)
    assert options.with_budgets(Limits(max_cost_month=7), None, 9).max_cost_month == 7
    assert options.with_budgets(Limits(), 0, 9) == Limits(max_cost_store=9)
    monkeypatch.setenv("MIMIR_MAX_COST_MONTH", "50 dollars")
    monkeypatch.setenv("MIMIR_STORE", store.url)
    assert "$MIMIR_MAX_COST_MONTH is '50 dollars', but must" in answer(
        capsys, "submit", "--preset", "smoke"
    )
    assert "--max-cost-month is -5, but" in answer(
        capsys, "submit", "--preset", "smoke", "--max-cost-month", "-5"
    )


@pytest.mark.parametrize("words", [
    ("submit", "--preset", "smoke"), ("submit", "--preset", "smoke", "--dry-run"),
    ("resume", "run"),
    ("sweep", "many", "--grid", "seed=0..1", "--preset", "smoke"),
])  # fmt: skip
def test_what_could_not_train_is_refused_before_anything_is_made(
    words: tuple[str, ...], store: Store, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(Engine, "ask", dead)
    monkeypatch.setenv("MIMIR_STORE", store.url)
    before = list(store.list(""))
    with pytest.raises(SystemExit) as ended:
        cli.main("python -m launch", SUMMARY, TREE, (*words, "--provider", "docker"))
    assert ended.value.code == 78
    assert "engine cannot be used: it is out of disk" in capsys.readouterr().err
    assert list(store.list("")) == before


def test_what_spot_changes_nothing_for_is_said(fake: Fake) -> None:
    (told,) = [
        line for line in confirm.warnings([fake], Plan(("fake",), spot=True)) if "spot" in line
    ]
    assert told == "note: fake has no spot machines: --spot changes nothing there"
    assert not [line for line in confirm.warnings([fake], Plan(("fake",))) if "spot" in line]


def test_a_machine_that_costs_money_is_confirmed(
    fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal:
        def __init__(self, line: str, tty: bool = True) -> None:
            self.line, self.tty = line, tty

        def isatty(self) -> bool:
            return self.tty

        def readline(self) -> str:
            return self.line

    confirm.agree([fake], yes=True)
    monkeypatch.setattr("sys.stdin", Terminal("y\n"))
    confirm.agree([fake], yes=False)
    for stdin, wanted in ((Terminal("\n"), "nothing was ordered"), (Terminal("y", False), "--yes")):
        monkeypatch.setattr("sys.stdin", stdin)
        with pytest.raises(BadInput, match=wanted):
            confirm.agree([fake], yes=False)


COMMANDS = [
    f"{name} {inner}".strip()
    for name, node in TREE.items()
    for inner in (node if isinstance(node, Mapping) else ("",))
]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_told_and_every_command_has_an_example(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main("python -m launch", SUMMARY, TREE, [*name.split(), "--help"])
    assert ended.value.code == 0
    out = capsys.readouterr().out
    options = out.partition("Options:\n")[2].partition("\n\n")[0].splitlines()
    assert options
    # An option without an explanation is a line that ends with its name.
    assert not [line for line in options if len(line.split("  ")) < 2]
    assert f"python -m launch {name}" in out.partition("Example:")[2]
    # A cluster's store lies there, so this computer's default is none for it. A script for a shell
    # is the same for every store.
    where = "  --store STORE" if name.startswith("cluster") else "where runs live (default: $MIMIR"
    assert (where in out) == (name != "completion")
