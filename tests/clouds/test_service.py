"""The fakes' ground: what runs there is real, is billed until it is gone, and can be lost."""

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.clouds.service import Answer, Rental, Request, Service
from tests.waiting import wait_for

TICK = "open('ticks', 'a').write('x'); print('tick', flush=True); "


class Toy(Service):
    restarts = True

    def handle(self, request: Request) -> Answer:
        if request.method == "DELETE":
            self.end(request.path.strip("/"))
            return Answer(204)
        return Answer(200, {"token": request.token, "body": request.body, **request.query})


@pytest.fixture
def toy() -> Iterator[Toy]:
    with Toy() as service:
        yield service


def rent(toy: Toy, code: str, **env: str) -> Rental:
    rental = Rental("r1", "mimir-x-a0001", 0.6, toy.clock.time())
    rental.bill(0.6, toy.clock.time())
    toy.ledger.append(rental)
    toy.boot(rental, [sys.executable, "-c", TICK + code], env)
    return rental


def processes(needle: str) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode().split("\0")
        except OSError:
            continue
        found += [path.parent.name] * any(needle in word for word in words)
    return found


def test_what_exits_is_started_again_on_the_same_disk(toy: Toy) -> None:
    rent(toy, "")
    machine = toy.machines["r1"]
    wait_for(lambda: len(machine.exits) >= 2)
    assert (machine.disk / "ticks").read_text().startswith("xx")
    assert machine.output()[:2] == ["tick", "tick"]


def test_a_machine_sees_its_own_variables_only(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALLERS_SECRET", "1")
    code = "import os, time; print(sorted(os.environ), os.environ['A'], flush=True); time.sleep(60)"
    rent(toy, code, A="ordered")
    wait_for(lambda: len(toy.machines["r1"].output()) == 2)
    said = toy.machines["r1"].output()[1]
    assert "ordered" in said
    assert "CALLERS" not in said
    assert "PATH" in said


def test_crash_restarts_and_kill_does_not(toy: Toy) -> None:
    mark = f"grandchild{time.time_ns()}"
    code = (
        "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', "
        f"'import time; time.sleep(60)', '{mark}'], start_new_session=True); time.sleep(60)"
    )
    rent(toy, code)
    machine = toy.machines["r1"]
    wait_for(lambda: processes(mark))
    toy.crash("r1")
    wait_for(lambda: machine.exits and machine.working)
    toy.kill("r1")
    assert not machine.working
    assert not processes(mark), "what left the session must die with the host too"
    before = len(machine.exits)
    time.sleep(0.3)
    assert len(machine.exits) == before
    machine.start()
    wait_for(lambda: machine.working)


def test_stop_gives_notice(toy: Toy) -> None:
    rent(
        toy,
        "import signal, sys, time\n"
        "signal.signal(15, lambda *_: (open('notice', 'w'), sys.exit(0)))\n"
        "print('ready', flush=True)\n"
        "time.sleep(60)",
    )
    machine = toy.machines["r1"]
    wait_for(lambda: "ready" in machine.output())
    machine.stop(grace=5)
    assert (machine.disk / "notice").exists()
    machine.wipe()
    assert list(machine.disk.iterdir()) == [machine.disk / "tmp"]


def test_an_ended_rental_costs_no_more_and_runs_no_more(toy: Toy) -> None:
    rental = rent(toy, "import time; time.sleep(60)")
    toy.clock.advance(3600)
    assert toy.spent() == pytest.approx(0.6, abs=0.01)
    rental.bill(0.1, toy.clock.time())
    toy.clock.advance(7200)
    assert toy.alive() == [rental]
    assert httpx.delete(f"{toy.url}/r1", trust_env=False).status_code == 204
    toy.clock.advance(7200)
    assert toy.alive() == []
    assert toy.spent() == pytest.approx(0.8, abs=0.01)
    assert not toy.machines["r1"].working
    assert not toy.machines["r1"].disk.exists()


def test_requests_are_answered_and_noted(toy: Toy) -> None:
    with httpx.Client(base_url=toy.url, trust_env=False) as client:
        headers = {"Authorization": "Bearer k"}
        answer = client.post("/a%20b?x=1", json={"y": 2}, headers=headers)
        assert answer.json() == {"token": "k", "body": {"y": 2}, "x": "1"}
        toy.fault("html_403", path="^/b")
        assert client.get("/a").status_code == 200
        assert "1010" in client.get("/b").text
        assert client.get("/b").status_code == 200
        toy.fault("plain_429", times=2, method="PUT")
        assert [client.put("/").status_code for _ in range(3)] == [429, 429, 200]
        toy.fault("error_after")
        assert client.get("/").status_code == 500
    first = toy.requests[0]
    assert first[:6] == ("POST", "/a b", {"x": "1"}, {"y": 2}, 200, answer.json())
    assert [exchange.fault for exchange in toy.requests if exchange.status != 200] == [
        "html_403", "plain_429", "plain_429", "error_after",
    ]  # fmt: skip
    assert toy.armed() == []


@pytest.mark.parametrize(("fault", "done"), [("lost_after", True), ("hang_up", False)])
def test_an_answer_is_lost(toy: Toy, fault: str, done: bool) -> None:
    rent(toy, "import time; time.sleep(60)")
    toy.fault(fault)
    with pytest.raises(httpx.RemoteProtocolError):
        httpx.delete(f"{toy.url}/r1", trust_env=False)
    assert (toy.alive() == []) is done
    assert toy.requests[-1].status is None


def test_a_fault_that_no_fake_knows_is_an_error(toy: Toy) -> None:
    with pytest.raises(AssertionError, match="no such fault"):
        toy.fault("nonsense")
