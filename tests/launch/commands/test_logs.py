"""logs and runs."""

import json
import signal

from mimir.runs.notes import read_heartbeat
from mimir.runs.status import read_head
from tests.launch.conftest import ENDLESS, World
from tests.waiting import LIMIT, wait_for


def test_follow_goes_over_attempts_and_ends_by_itself(world: World) -> None:
    world.env["STEPS"] = ENDLESS
    world.submit("run")
    follower = world.spawn("logs", "run", "--follow")
    assert follower.stdout is not None
    # It follows before the attempt is replaced, however long it takes to come up.
    assert follower.stdout.readline() == "attempt 1 begins at step 0\n"
    wait_for(lambda: read_head(world.store, "run").step >= 5)
    world.launch("resume", "run", "--take-over", STEPS="60")
    out, err = follower.communicate(timeout=LIMIT)
    # A follower that saw the first attempt's end in between has ended with it, as it should.
    assert follower.returncode == 0
    assert "attempt 1 ended: SIGTERM" in out
    if "interrupted" not in err:
        assert "attempt 2 goes on" in err
        assert "attempt 2 ended: finished" in out
        assert "run run is done at step" in err
    out, _ = world.launch("logs", "run", "--attempt", "1")
    assert out.startswith("attempt 1 begins at step 0\nstep 1\n")
    assert "attempt 2" not in out


def test_lines_as_json(world: World) -> None:
    world.env["STEPS"] = "3"
    world.submit("run")
    plain, _ = world.launch("logs", "run", "--follow")
    told, _ = world.launch("logs", "run", "--json")
    assert [json.loads(line) for line in told.splitlines()] == plain.splitlines()
    followed, _ = world.launch("logs", "run", "--follow", "--json")
    assert followed == told
    for more in ((), ("--follow",)):
        ended, _ = world.launch("logs", "run", "--tail", "2", *more)
        assert ended.splitlines() == plain.splitlines()[-2:]
    for since, wanted in (("1h", plain.splitlines()), ("0s", [])):
        lately, _ = world.launch("logs", "run", "--since", since)
        assert lately.splitlines() == wanted
    assert (
        "give --tail or --since, not both"
        in world.launch("logs", "run", "--tail", "1", "--since", "1h", code=78)[1]
    )
    assert "--tail is -1," in world.launch("logs", "run", "--tail", "-1", code=78)[1]


def test_ctrl_c_ends_the_following_and_not_the_run(world: World) -> None:
    world.env["STEPS"] = ENDLESS
    world.submit("run")
    follower = world.spawn("logs", "run", "--follow")
    assert follower.stdout is not None
    assert follower.stdout.readline() == "attempt 1 begins at step 0\n"
    follower.send_signal(signal.SIGINT)
    _, err = follower.communicate(timeout=LIMIT)
    assert follower.returncode == 130
    assert "run run goes on by itself" in err
    assert "logs run --follow" in err
    assert "stop run" in err
    assert "Traceback" not in err
    before = read_heartbeat(world.store, "run", 1)
    assert before is not None

    def further() -> bool:
        after = read_heartbeat(world.store, "run", 1)
        return after is not None and after.step > before.step

    wait_for(further, "another step of the run")


def test_ctrl_c_on_watch(world: World) -> None:
    watcher = world.spawn(*world.submission("run"), "--watch", STEPS=ENDLESS)
    assert watcher.stdout is not None
    assert watcher.stdout.readline() == "attempt 1 begins at step 0\n"
    watcher.send_signal(signal.SIGINT)
    watcher.communicate(timeout=LIMIT)
    assert watcher.returncode == 130
    assert world.status("run")["state"] == "running"


def test_runs(world: World) -> None:
    assert "there is no folder" in world.launch("runs")[1]
    assert json.loads(world.launch("runs", "--json")[0]) == []
    world.submit("one", "--watch")
    (world.folder / "store" / "broken").mkdir()
    (world.folder / "store" / "broken" / "run.json").write_text("{}")
    out, _ = world.launch("runs")
    assert "damaged" in out
    lines = {line.split()[0]: line for line in out.splitlines()}
    assert "done" in lines["one"]
    assert "10 of 10" in lines["one"]
    rows = {row["run"]: row for row in json.loads(world.launch("runs", "--json")[0])}
    assert rows["one"]["status"]["state"] == "done"
    assert rows["broken"]["status"] is None
    assert "format" in rows["broken"]["problem"]
