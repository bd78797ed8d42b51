"""Lambda: what its machines run, their states and their end; they boot what user data says."""

import sys
import time
from pathlib import Path
from typing import Any

import pytest

from launch.contract.cloud import ContainerSpec, State
from launch.contract.errors import ProviderError, UnknownOutcome
from launch.providers.lambda_cloud.adapter import Lambda
from tests.clouds.fake_lambda import FakeLambda
from tests.clouds.virtual_machine import VirtualMachine
from tests.launch.providers.lambda_cloud.case import NAME, OFFER, SLEEP, logs, sent
from tests.waiting import wait_for


def test_an_order_runs_its_command(service: FakeLambda, cloud: Lambda) -> None:
    text = "a b'c\"; $HOME `x`\n* {x} %s"
    script = (
        "import os,sys; print(sys.argv[1:], os.environ['MORE'], 'LAMBDA_API_KEY' in os.environ)"
    )
    boot = ContainerSpec(
        "org/image:tag", (sys.executable, "-c", script, text), {"MORE": "x = 'y' #"}
    )
    id = cloud.create(OFFER, boot, NAME)
    vm = service.vms[id]
    assert wait_for(vm.output) == [f"{[text]} x = 'y' # False"]
    wait_for(lambda: any("ended with 0" in line for line in vm.said()))
    (launch,) = sent(service, "launch")
    assert launch.body["name"] == NAME
    assert launch.body["ssh_key_names"] == ["mimir"]
    assert {"key": "mimir-run", "value": "r"} in launch.body["tags"]
    found = cloud.get(id)
    assert found is not None
    assert (found.name, found.state, found.price, found.place) == (
        NAME, State.RUNNING, 0.75, "us-west-2",
    )  # fmt: skip
    assert (vm.root / "var/lib/mimir/env").stat().st_mode & 0o777 == 0o600
    cloud.terminate(id)
    assert cloud.get(id) is None
    assert service.alive() == []


def test_what_a_container_ended_with_costs_on(service: FakeLambda, cloud: Lambda) -> None:
    id = cloud.create(OFFER, ContainerSpec("i", ("sh", "-c", "exit 75"), {}), NAME)
    wait_for(lambda: any("ended with 75" in line for line in service.vms[id].said()))
    assert cloud.get(id).state is State.RUNNING  # type: ignore[union-attr]
    assert cloud.ending() is None
    assert not cloud.caps.ends_itself


def test_a_reboot_starts_the_same_container_on_its_disk(service: FakeLambda, cloud: Lambda) -> None:
    boot = ContainerSpec(
        "i", ("sh", "-c", "echo x >> seen; cat seen; exec sleep 60"), {}, seconds=600
    )
    before = time.time()
    id = cloud.create(OFFER, boot, NAME)
    vm = service.vms[id]
    wait_for(lambda: vm.output() == ["x"])
    limit = (vm.root / "var/lib/mimir/until").read_text()
    service.reboot(id)
    wait_for(lambda: vm.output() == ["x", "x", "x"])
    assert [call[0] for call in vm.calls].count("create") == 1
    assert (vm.root / "var/lib/mimir/until").read_text() == limit
    assert before - 1 <= int(limit) - 600 <= time.time() + 1


def test_the_time_limit_ends_the_container(service: FakeLambda, cloud: Lambda) -> None:
    script = "trap 'echo asked; exit 0' TERM; echo up; while :; do sleep 0.05; done"
    id = cloud.create(OFFER, ContainerSpec("i", ("sh", "-c", script), {}, seconds=1.0), NAME)
    vm = service.vms[id]
    wait_for(lambda: any("ended with" in line for line in vm.said()))
    # A shell that was not up yet by then ends without a word.
    assert ("asked" in vm.output()) == ("up" in vm.output())
    assert any("its time is over" in line for line in vm.said())
    service.reboot(id)
    wait_for(lambda: sum("its time is over" in line for line in vm.said()) == 2)
    assert not vm.working


def test_a_container_that_starts_after_its_time_is_ended(
    service: FakeLambda, cloud: Lambda, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For `timeout`, the 0 seconds that are left would be no limit at all."""
    create = VirtualMachine.create

    def late(vm: VirtualMachine, *words: Any) -> None:
        until = int((vm.root / "var/lib/mimir/until").read_text())
        wait_for(lambda: time.time() >= until + 1)
        create(vm, *words)

    monkeypatch.setattr(VirtualMachine, "create", late)
    id = cloud.create(OFFER, ContainerSpec("i", ("sleep", "600"), {}, seconds=1.0), NAME)
    vm = service.vms[id]
    wait_for(lambda: any("its time is over" in line for line in vm.said()))
    wait_for(lambda: not vm.working)


def test_without_a_gpu_nothing_is_started(
    service: FakeLambda, cloud: Lambda, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("launch.payload.cloud_init.GPU_TRIES", 1)
    service.fault("no_gpu")
    id = cloud.create(OFFER, SLEEP, NAME)
    wait_for(lambda: any("no GPU" in line for line in service.vms[id].said()))
    assert service.vms[id].calls == []


def test_states(service: FakeLambda, cloud: Lambda) -> None:
    service.boots_in = service.ends_in = 100.0
    id = cloud.create(OFFER, SLEEP, NAME)

    def shown() -> tuple[State, str]:
        found = cloud.get(id)
        assert found is not None
        return found.state, found.said

    assert shown() == (State.PENDING, "booting")
    service.clock.advance(100)
    assert shown() == (State.RUNNING, "active")
    for said in ("unhealthy", "preempted", "hibernating", ""):
        service.say(id, said or "active")
        assert shown() == ((State.BROKEN, said) if said else (State.RUNNING, "active"))
    cloud.terminate(id)
    assert shown() == (State.BROKEN, "terminating"), "it may still cost"
    cloud.terminate(id)
    assert len(sent(service, "terminate")) == 1, "a second request would fail"
    service.clock.advance(100)
    assert cloud.get(id) is None
    cloud.terminate(id)
    assert len(sent(service, "terminate")) == 1


@pytest.mark.parametrize(
    ("fault", "state"), [("stuck", State.PENDING), ("unhealthy", State.BROKEN)]
)
def test_a_machine_that_never_works(
    service: FakeLambda, cloud: Lambda, fault: str, state: State
) -> None:
    service.fault(fault)
    id = cloud.create(OFFER, SLEEP, NAME)
    service.clock.advance(3600)
    assert cloud.get(id).state is state  # type: ignore[union-attr]
    assert logs(cloud, id, 9) == []
    assert service.spent() == pytest.approx(0.75, rel=0.01)
    cloud.terminate(id)
    assert service.alive() == []


def test_an_end_that_is_not_confirmed(service: FakeLambda, cloud: Lambda) -> None:
    id = cloud.create(OFFER, SLEEP, NAME)
    service.fault("not_listed")
    with pytest.raises(ProviderError, match="does not name machine"):
        cloud.terminate(id)
    assert len(service.alive()) == 1
    service.fault("error_after", path="terminate")
    with pytest.raises(UnknownOutcome):
        cloud.terminate(id)
    cloud.terminate(id)
    assert service.alive() == []


def test_an_end_is_sent_though_the_look_before_it_fails(service: FakeLambda, cloud: Lambda) -> None:
    id = cloud.create(OFFER, SLEEP, NAME)
    service.fault("html_403", path=f"/instances/{id}")
    cloud.terminate(id)
    assert service.alive() == []


def test_an_end_of_one_that_is_being_ended_by_another(service: FakeLambda, cloud: Lambda) -> None:
    service.ends_in = 60.0
    id = cloud.create(OFFER, SLEEP, NAME)
    cloud.terminate(id)
    service.fault("html_403", path=f"/instances/{id}")
    with pytest.raises(UnknownOutcome, match="global/unknown"):
        cloud.terminate(id)


def test_nothing_of_a_machine_is_left(service: FakeLambda, cloud: Lambda) -> None:
    id = cloud.create(
        OFFER, ContainerSpec("i", (sys.executable, "-c", "import time; time.sleep(99)"), {}), NAME
    )
    vm = service.vms[id]
    wait_for(lambda: vm.working)
    assert processes(str(vm.folder))
    service.kill(id)
    wait_for(lambda: not processes(str(vm.folder)))
    assert cloud.get(id).state is State.RUNNING  # type: ignore[union-attr]
    assert not vm.working


def processes(needle: str) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode(errors="replace")
        except OSError:
            continue
        found += [path.parent.name] * (needle in words)
    return found
