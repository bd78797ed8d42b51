"""Jobs on a real Slurm that wait, and answers that do not come."""

import threading

import pytest

from launch.commands.status import status as show
from launch.commands.submit import submit
from launch.contract.cloud import State
from launch.provision import liveness
from launch.supervise.watcher import Watcher
from mimir.errors import BadInput
from mimir.runs.listing import list_names
from mimir.runs.store import open_store
from tests.slurm.conftest import GPU, Ground, Her
from tests.waiting import wait_for

CPU = "--partition=cpu"


@pytest.mark.parametrize(
    ("slurm", "code", "said"),
    [
        (f"{GPU} --hold", 78, "scontrol release"),
        (f"{GPU} --begin=now+2hours", 0, "expected start"),
        ("--partition=down", 78, "partition is down"),
    ],
)
def test_what_waits_is_told_and_left_alone(
    ground: Ground, capsys: pytest.CaptureFixture[str], slurm: str, code: int, said: str
) -> None:
    ground.run = f"waits-{abs(hash(slurm)) % 10_000}"
    ground.create()
    assert ground.order(slurm) == code
    out = capsys.readouterr().out
    assert said in out
    assert "queued" in out or "will not begin by itself" in out
    show(ground.run, store=ground.store.url)
    assert said in capsys.readouterr().out
    seen = Watcher(ground.store, lambda _: None).round(ground.run)
    assert (seen.over, seen.acted) == (False, False)
    with pytest.raises(BadInput, match=r"has a job.*pending"):
        ground.order(slurm)
    assert ground.order(f"{GPU} --hold", take_over=True) == 78
    assert ground.alive() == ["PENDING"], "the one before is off the queue"
    assert ground.status().attempt == 2


@pytest.mark.parametrize(
    ("slurm", "said"),
    [
        ("--partition=nosuch", "no partition 'nosuch'"),
        ("--partition=gpu --time=5:00:00", "--time is 5.0 h, but partition gpu allows 2.0 h"),
        ("--time=10 --signal=TERM@600", "more than a quarter of the time limit"),
        ("--gres=gpu:2", "a run trains on one GPU"),
        ("--gres=gpu:a100:1", "Slurm refuses the job: .*not available"),
        ("--frob=1", "Slurm refuses the job: .*frob"),
        ("--array=1-4", "--array is what Mimir says"),
        ("'--partition", "a quote is missing"),
    ],
)
def test_bad_options_are_one_sentence_and_nothing_is_submitted(
    ground: Ground, slurm: str, said: str
) -> None:
    empty = open_store((ground.folder / "empty").as_uri())
    before = jobs(ground)
    with pytest.raises(BadInput, match=said) as caught:
        submit(preset="smoke", provider="slurm", slurm=slurm, store=empty.url)
    assert "\n" not in str(caught.value)
    assert list_names(empty) == []
    assert jobs(ground) <= before, "Slurm forgets older ones"


def jobs(ground: Ground) -> set[str]:
    said = ground.cluster.said("squeue", "--noheader", "--states=all", "--format=%A")
    return set(said.split())


def test_an_order_whose_answer_is_lost(ground: Ground) -> None:
    """slurmctld takes it, and answers after sbatch has given up: the job begins the run itself."""
    ground.gate.open(3)
    known = ground.provider.settle(GPU)  # what is asked before the order is answered
    assert known
    said: list[object] = []
    real = ground.cluster.pause_controller
    provider = ground.provider
    ask = provider._order

    def paused(*words: object) -> str:
        real()
        return str(ask(*words))

    def begin() -> None:
        try:
            said.append(ground.order(GPU))
        except Exception as error:  # noqa: BLE001 - looked at below
            said.append(error)

    patch = pytest.MonkeyPatch()
    patch.setattr(type(provider), "_order", lambda self, *words: paused(*words))
    thread = threading.Thread(target=begin)
    try:
        thread.start()
        thread.join()
    finally:
        patch.undo()
        ground.cluster.continue_controller()
    assert "is not over" in str(said[0])
    ground.held_at(3, attempt=1)
    machine = ground.status().attempts[0].machine
    assert machine is not None
    assert machine.id == ground.cluster.said(
        "squeue", "--noheader", f"--name={machine.name}", "--format=%A"
    ).strip()  # fmt: skip
    ground.gate.open()
    ground.over()
    assert ground.status().attempt == 1
    ground.assert_undisturbed()


def test_the_controller_is_away_while_it_trains(ground: Ground) -> None:
    ground.gate.open(5)
    assert ground.order(GPU) == 0
    ground.held_at(5, attempt=1)
    machine = ground.status().attempts[0].machine
    assert machine is not None
    ground.cluster.end_controller()
    try:
        assert liveness.state_of(machine)[0] is None, "its silence is not an end"
        seen = Watcher(ground.store, lambda _: None).round(ground.run)
        assert (seen.over, seen.acted) == (False, False)
        ground.gate.open()
        wait_for(lambda: ground.status().state == "done", ground.told)
    finally:
        ground.cluster.begin_controller()
    wait_for(lambda: liveness.state_of(machine)[0] is State.GONE, ground.told)
    ground.assert_undisturbed()


def test_a_node_that_does_not_see_the_store(
    ground: Ground, capsys: pytest.CaptureFixture[str]
) -> None:
    """It has a mount of its own over the store, as another computer has."""
    for node in ("cpu1", "cpu2"):
        ground.cluster.kill_node(node)
        hidden = f'mount -t tmpfs none {ground.folder}/runs && exec "$@"'
        ground.cluster.begin_node(node, "unshare", "--mount", "sh", "-c", hidden, "sh")
    wait_for(lambda: {"cpu1", "cpu2"} <= ground.cluster.idle(), ground.told)
    ground.order(CPU)
    wait_for(lambda: not ground.alive(), ground.told)
    capsys.readouterr()
    show(ground.run, store=ground.store.url)
    said = capsys.readouterr().out
    assert f"does not reach the store {ground.store.url}" in said
    assert "choose a folder that the nodes share" in said
    for node in ("cpu1", "cpu2"):
        ground.cluster.kill_node(node)


def test_an_ordinary_user(ground: Ground, her: Her) -> None:
    """Who is nobody on this computer but a name: her jobs run as her."""
    ground.gate.open()
    her.submit("hers")
    status = ground.over()
    machine = status.attempts[0].machine
    assert machine is not None
    assert machine.detail("user") == "games"
    assert (her.home / "runs" / "hers" / "HEAD").stat().st_uid != 0
    ground.assert_undisturbed()
