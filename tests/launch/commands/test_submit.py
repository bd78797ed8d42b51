"""submit, resume and stop, from outside, with a stand-in for the worker."""

import json
import os
import signal
import time

import pytest
from safetensors.numpy import load

from mimir.runs.status import derive, read_head
from tests.launch.conftest import ENDLESS, SETTINGS, World, write_data
from tests.waiting import LIMIT, wait_for


def test_submit_watch_pull(world: World) -> None:
    out, err = world.submit("first", "--watch")
    assert "step 10\n" in out
    assert "attempt 1 ended: finished" in out
    assert "run first is done" in err
    assert world.status("first")["state"] == "done"
    out, _ = world.launch("pull", "first", "--out", str(world.folder / "out"), "--json")
    pulled = json.loads(out)
    assert pulled["finished"] is True
    weights = load((world.folder / "out" / "model.safetensors").read_bytes())
    assert weights["w"].tolist() == [1.0] * 3
    assert "step 10\n" in (world.folder / "out" / "run.log").read_text()
    rows = (world.folder / "out" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(row)["step"] for row in rows] == list(range(1, 11))
    _, err = world.submit("first", code=78)
    assert "run first is done" in err
    assert "pull first" in err


def test_submit_stop_resume(world: World) -> None:
    world.env["STEPS"] = ENDLESS
    out, _ = world.submit("run", "--json")
    begun = json.loads(out)
    assert begun["attempt"] == 1
    assert begun["beginning"] == "running"
    wait_for(lambda: read_head(world.store, "run").step >= 5)
    assert "running" in world.launch("status", "run")[0]
    out, _ = world.launch("stop", "run")
    assert "run run is stopped at step" in out
    stopped = world.status("run")
    assert stopped["state"] == "stopped"
    assert stopped["attempts"][0]["exit_code"] == 75
    out, err = world.submit("run")
    assert f"goes on from step {stopped['committed_step']}" in err
    assert "logs run --follow" in out
    status = world.status("run")
    assert status["attempt"] == 2
    assert status["attempts"][1]["from_step"] == stopped["committed_step"]


def test_a_live_run_is_not_replaced_unless_told_to(world: World) -> None:
    world.env["STEPS"] = ENDLESS
    world.submit("run")
    for words in (world.submission("run"), ("resume", "run")):
        _, err = world.launch(*words, code=78)
        assert "is running already" in err
        assert "logs run --follow" in err
    wait_for(lambda: read_head(world.store, "run").step >= 5)
    assert world.status("run")["attempt"] == 1
    world.launch("resume", "run", "--take-over")
    status = world.status("run")
    assert status["attempt"] == 2
    first = status["attempts"][0]
    assert "SIGTERM; committed at step" in first["end"], "it had its time to commit"
    assert status["attempts"][1]["from_step"] > 0


def test_a_killed_machine_is_resumed_at_once(world: World) -> None:
    world.env["STEPS"] = ENDLESS
    world.submit("run")
    wait_for(lambda: read_head(world.store, "run").step >= 5)
    machine = world.status("run")["attempts"][0]["machine"]
    os.killpg(machine["pid"], signal.SIGKILL)
    # A signal takes its time to arrive.
    wait_for(lambda: "Its machine is gone" in world.launch("status", "run")[0])
    text = world.launch("status", "run")[0]
    assert text.startswith("run: running, its machine is gone\n")
    world.launch("resume", "run")
    status = world.status("run")
    assert status["attempt"] == 2
    assert status["attempts"][1]["from_step"] >= 5


def test_stop_of_a_run_whose_machine_is_gone(world: World) -> None:
    world.submit("run", STAND_IN="vanish")
    wait_for(lambda: "gone" in world.launch("status", "run")[0])
    out, _ = world.launch("stop", "run")
    assert "run run is stopped" in out
    assert derive(world.store, "run", time.time()).state == "stopped"


def test_watch_ends_when_the_machine_vanishes(world: World) -> None:
    out, err = world.submit("run", "--watch", code=75, STAND_IN="vanish")
    assert "step 4\n" in out
    assert "gone without a word" in err
    assert "resume run" in err


def test_a_worker_that_finds_the_configuration_bad(world: World) -> None:
    out, err = world.submit("run", code=78, STAND_IN="bad")
    assert "no GPU is visible" in out
    assert "| attempt 1 begins at step 0" in err
    assert world.status("run")["state"] == "failed"
    world.launch("resume", "run", "--watch")


def test_a_worker_that_dies_before_it_begins(world: World) -> None:
    out, err = world.submit("run", code=75, STAND_IN="dead")
    assert "ended before it began" in out
    assert "| no module named torch" in err
    assert world.status("run")["state"] == "failed"


def test_two_submits_of_one_name_at_once(world: World) -> None:
    world.env["STEPS"] = "40"
    world.launch(*world.submission("warm"))  # packs the data, so that both begin together
    processes = [world.spawn(*world.submission("run")) for _ in range(2)]
    ends = [(p.communicate(timeout=LIMIT), p.returncode) for p in processes]
    wait_for(lambda: derive(world.store, "run", time.time()).state == "done")
    status = world.status("run")
    codes = sorted(code for _, code in ends)
    if status["attempt"] == 1:  # one found the other's order on its way, or its run alive
        assert codes in ([0, 76], [0, 78]), ends
    else:
        assert status["attempt"] == 2
        assert codes in ([0, 0], [0, 76]), ends
        assert status["attempts"][0]["exit_code"] is None, "the fenced attempt ended the run"
    assert status["attempts"][-1]["exit_code"] == 0
    assert status["step"] == 40


def test_ctrl_c_while_waiting_leaves_the_machine(world: World) -> None:
    process = world.spawn(*world.submission("run"), STAND_IN="slow")
    machine = world.folder / "store" / "run" / "launcher" / "a0001" / "machine.json"
    wait_for(machine.exists)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=LIMIT)
    assert process.returncode == 130
    assert "goes on by itself" in err
    assert "Traceback" not in err
    os.kill(json.loads(machine.read_text())["pid"], 0)


def test_dry_run_orders_nothing(world: World) -> None:
    out, err = world.submit("run", "--dry-run", "--json")
    assert json.loads(out)["steps"] > 0
    assert "steps" in err
    assert "a dry run: nothing was ordered" in world.submit("run", "--dry-run")[1]
    assert not (world.folder / "store").exists()


@pytest.mark.slow
def test_the_real_worker(world: World) -> None:
    del world.env["STAND_IN"]
    out, _ = world.submit("real", "--watch", "--max-steps", "4", "--threads", "1")
    assert "run real is done: finished at step 4" in out
    world.launch("pull", "real", "--out", str(world.folder / "out"))
    assert (world.folder / "out" / "model.safetensors").stat().st_size > 1000


def test_what_is_no_role_begins_nothing(world: World) -> None:
    _, err = world.submit("run", "--role", "worker", code=78)
    assert "'worker' is no role: write it as arn:aws:iam::" in err
    assert not list(world.store.list(""))


def test_the_first_word_is_the_name_of_the_run(world: World) -> None:
    words = ("--preset", "smoke", "--data", str(world.data), *SETTINGS, "--dry-run")
    _, err = world.launch("submit", "first", *words)
    assert "  run       first\n" in err
    _, err = world.launch("submit", "smoke", *words)  # a run may be called as its preset
    assert "  run       smoke\n" in err


def test_a_dry_run_refuses_what_the_store_refuses(world: World) -> None:
    world.env["STEPS"] = ENDLESS
    world.submit("run")
    for words, wanted in (
        ((), "run run is running already"),
        (("--epochs", "7"), "exists in"),
        (("--data", str(write_data(world.folder / "other.csv", "K"))), "with another data"),
    ):
        for dry in (("--dry-run",), ()):
            said = world.submission("run") if "--data" not in words else (
                "submit", "run", "--preset", "smoke", *SETTINGS)  # fmt: skip
            _, err = world.launch(*said, *words, *dry, code=78)
            assert wanted in err
            assert "  steps  " not in err, "no plan is shown"


def test_a_setting_that_an_existing_run_keeps_is_told(world: World) -> None:
    world.env["STEPS"] = ENDLESS
    world.submit("run")
    wait_for(lambda: read_head(world.store, "run").step >= 5)
    world.launch("stop", "run")
    _, err = world.submit("run", "--checkpoint-minutes", "7", "--dry-run")
    assert "run run keeps checkpoint_minutes" in err
    assert "7.0 changes nothing" in err
