"""Lambda Cloud: its adapter against its fake, whose machines boot what user data says."""

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from launch.contract.cloud import Boot, State
from launch.contract.errors import (
    AuthFailed,
    BalanceEmpty,
    NoCapacity,
    ProviderError,
    RateLimited,
    UnknownOutcome,
)
from launch.contract.offer import Need, Offer
from launch.providers import ssh
from launch.providers.lambda_cloud.adapter import Lambda
from mimir.errors import BadInput
from tests.clouds import documents
from tests.clouds.fake_lambda import FakeLambda
from tests.clouds.vm_programs import SSHD

pytest.importorskip(
    "paramiko", reason="machines of Lambda are entered by SSH: pip install paramiko"
)

NAME = "mimir-r-a0001"
SLEEP = Boot("org/image:tag", ("sleep", "60"), {"MIMIR_RUN": "r"})
OFFER = Offer(
    "lambda", "gpu_1x_a10@us-west-2", "A10", 24, 0.75, "us-west-2", place="us-west-2",
    key={"type": "gpu_1x_a10", "region": "us-west-2"},
)  # fmt: skip
PLAIN = httpx.HTTPTransport(verify=False)
"""Loopback needs no certificates: to load them takes ten times as long as a request."""


@pytest.fixture
def service() -> Iterator[FakeLambda]:
    with FakeLambda() as made:
        yield made
        assert made.complaints() == []
        assert documents.violations("lambda", made.requests) == []


@pytest.fixture
def cloud(service: FakeLambda, tmp_path: Path) -> Lambda:
    return adapter(service, tmp_path)


def adapter(service: FakeLambda, folder: Path, **environ: str) -> Lambda:
    return Lambda(
        environ={**service.environ(), **environ}, transport=PLAIN, clock=service.clock.time,
        sleep=service.clock.advance, folder=folder,
    )  # fmt: skip


def until(there: Callable[[], Any]) -> Any:
    end = time.monotonic() + 20
    while not (found := there()):
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.02)
    return found


def sent(service: FakeLambda, path: str, method: str = "POST") -> list[Any]:
    return [each for each in service.requests if each.method == method and path in each.path]


def test_offers_are_single_amd64_gpus_where_they_are(cloud: Lambda) -> None:
    found = {offer.id: offer for offer in cloud.offers(Need())}
    assert set(found) == {
        "gpu_1x_a10@us-west-2", "gpu_1x_a10@us-east-1", "gpu_1x_a100_sxm4@us-west-2",
        "gpu_1x_h100_sxm5@europe-central-1",
    }  # fmt: skip
    assert found["gpu_1x_a10@us-west-2"] == OFFER
    large = found["gpu_1x_a100_sxm4@us-west-2"]
    assert (large.gpu, large.memory_gb, large.price, large.spot) == ("A100 40GB", 40, 1.99, False)


@pytest.mark.parametrize(
    ("need", "types"),
    [
        (Need(memory_gb=25), {"gpu_1x_a100_sxm4", "gpu_1x_h100_sxm5"}),
        (Need(max_price=1.99), {"gpu_1x_a10", "gpu_1x_a100_sxm4"}),
        (Need(gpus=("H100 SXM", "H100 PCIe")), {"gpu_1x_h100_sxm5"}),
        (Need(disk_gb=2000), {"gpu_1x_h100_sxm5"}),
        (Need(memory_gb=100), set()),
    ],
)
def test_offers_meet_the_need(cloud: Lambda, need: Need, types: set[str]) -> None:
    assert {offer.key["type"] for offer in cloud.offers(need)} == types


@pytest.mark.parametrize(
    ("name", "described"),
    [("gpu_1x_gh200_sxm", "H200 (96 GB)"), ("gpu_1x_new", "GH200 (96 GB)"), ("x-gb300-1", "")],
)
def test_arm_machines_are_told_by_either_name(
    service: FakeLambda, cloud: Lambda, name: str, described: str
) -> None:
    each = service.types["gpu_1x_a10"]
    service.types = {name: each}
    each["instance_type"]["gpu_description"] = described
    assert cloud.offers(Need()) == []


def test_an_order_runs_its_command(service: FakeLambda, cloud: Lambda) -> None:
    text = "a b'c\"; $HOME `x`\n* {x} %s"
    script = (
        "import os,sys; print(sys.argv[1:], os.environ['MORE'], 'LAMBDA_API_KEY' in os.environ)"
    )
    boot = Boot("org/image:tag", (sys.executable, "-c", script, text), {"MORE": "x = 'y' #"})
    id = cloud.create(OFFER, boot, NAME)
    vm = service.vms[id]
    assert until(vm.output) == [f"{[text]} x = 'y' # False"]
    until(lambda: any("ended with 0" in line for line in vm.said()))
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
    id = cloud.create(OFFER, Boot("i", ("sh", "-c", "exit 75"), {}), NAME)
    until(lambda: any("ended with 75" in line for line in service.vms[id].said()))
    assert cloud.get(id).state is State.RUNNING  # type: ignore[union-attr]
    assert cloud.ending() is None
    assert not cloud.caps.ends_itself


def test_a_reboot_starts_the_same_container_on_its_disk(service: FakeLambda, cloud: Lambda) -> None:
    boot = Boot("i", ("sh", "-c", "echo x >> seen; cat seen; exec sleep 60"), {}, seconds=600)
    id = cloud.create(OFFER, boot, NAME)
    vm = service.vms[id]
    until(lambda: vm.output() == ["x"])
    limit = (vm.root / "var/lib/mimir/until").read_text()
    service.reboot(id)
    until(lambda: vm.output() == ["x", "x", "x"])
    assert [call[0] for call in vm.calls].count("create") == 1
    assert (vm.root / "var/lib/mimir/until").read_text() == limit
    assert abs(int(limit) - time.time() - 600) < 30


def test_the_time_limit_ends_the_container(service: FakeLambda, cloud: Lambda) -> None:
    script = "trap 'echo asked; exit 0' TERM; echo up; while :; do sleep 0.05; done"
    id = cloud.create(OFFER, Boot("i", ("sh", "-c", script), {}, seconds=1.0), NAME)
    vm = service.vms[id]
    until(lambda: any("ended with" in line for line in vm.said()))
    assert "asked" in vm.output()
    assert any("its time is over" in line for line in vm.said())
    service.reboot(id)
    until(lambda: sum("its time is over" in line for line in vm.said()) == 2)
    assert not vm.working


def test_without_a_gpu_nothing_is_started(
    service: FakeLambda, cloud: Lambda, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("launch.payload.cloud_init.GPU_TRIES", 1)
    service.fault("no_gpu")
    id = cloud.create(OFFER, SLEEP, NAME)
    until(lambda: any("no GPU" in line for line in service.vms[id].said()))
    assert service.vms[id].calls == []


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("no_capacity", NoCapacity), ("quota", NoCapacity), ("inactive", BalanceEmpty),
        ("forbidden", AuthFailed), ("plain_429", RateLimited), ("html_403", ProviderError),
    ],
)  # fmt: skip
def test_refused(
    service: FakeLambda, cloud: Lambda, tmp_path: Path, fault: str, error: type[Exception]
) -> None:
    service.fault(fault, path="launch")
    with pytest.raises(error) as caught:
        cloud.create(OFFER, SLEEP, NAME)
    assert type(caught.value) is error
    assert len(sent(service, "launch")) == 1
    assert service.ledger == []
    assert list((tmp_path / "lambda/hosts").iterdir()) == []


def test_capacity_is_advice(service: FakeLambda, cloud: Lambda) -> None:
    (offer, *_) = cloud.offers(Need())
    service.types["gpu_1x_a10"]["regions_with_capacity_available"] = []
    with pytest.raises(NoCapacity, match="Not enough capacity"):
        cloud.create(offer, SLEEP, NAME)


def test_a_type_that_is_no_more(service: FakeLambda, cloud: Lambda) -> None:
    del service.types["gpu_1x_a10"]
    with pytest.raises(BadInput, match="does not exist"):
        cloud.create(OFFER, SLEEP, NAME)


@pytest.mark.parametrize(
    "fault", ["lost_after", "error_after", "unknown_after", "nameless", "html_200"]
)
def test_a_lost_answer_is_an_unknown_outcome_of_one_request(
    service: FakeLambda, cloud: Lambda, fault: str
) -> None:
    service.fault(fault, path="launch")
    with pytest.raises(UnknownOutcome):
        cloud.create(OFFER, SLEEP, NAME)
    assert len(sent(service, "launch")) == 1
    assert [each.name for each in cloud.instances()] == [NAME] * (fault != "html_200")


def test_a_slow_launch_is_waited_for(service: FakeLambda, tmp_path: Path) -> None:
    class Slow(httpx.BaseTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            asked = request.extensions["timeout"]["read"]
            times[request.url.path] = asked
            return PLAIN.handle_request(request)

    times: dict[str, float] = {}
    cloud = Lambda(
        environ=service.environ(), transport=Slow(), clock=service.clock.time,
        sleep=service.clock.advance, folder=tmp_path,
    )  # fmt: skip
    cloud.create(OFFER, SLEEP, NAME)
    assert times["/api/v1/instance-operations/launch"] == 120
    assert times["/api/v1/ssh-keys"] == 30


def test_launches_keep_their_distance(service: FakeLambda, cloud: Lambda) -> None:
    for number in (1, 2, 3):
        cloud.create(OFFER, SLEEP, f"mimir-r-a000{number}")
    assert [each.status for each in sent(service, "launch")] == [200] * 3
    assert service.clock.offset > 20


def test_launches_of_two_launchers_are_refused(service: FakeLambda, tmp_path: Path) -> None:
    adapter(service, tmp_path / "1").create(OFFER, SLEEP, NAME)
    with pytest.raises(RateLimited) as caught:
        adapter(service, tmp_path / "2").create(OFFER, SLEEP, "mimir-s-a0001")
    assert caught.value.retry_after == 12


def test_no_key_and_a_wrong_one(service: FakeLambda, tmp_path: Path) -> None:
    cloud = adapter(service, tmp_path, LAMBDA_API_KEY="")
    assert not cloud.configured()
    with pytest.raises(AuthFailed, match="LAMBDA_API_KEY"):
        cloud.offers(Need())
    cloud = adapter(service, tmp_path, LAMBDA_API_KEY="wrong-key-of-mine")
    assert cloud.configured()
    with pytest.raises(AuthFailed, match="not accepted") as caught:
        cloud.create(OFFER, SLEEP, NAME)
    assert "wrong-key-of-mine" not in str(caught.value)
    assert [check.status for check in cloud.checks()] == ["fail"]


def test_an_ssh_key_is_registered_once(service: FakeLambda, tmp_path: Path) -> None:
    for number, folder in enumerate(("mine", "mine", "other")):
        cloud = adapter(service, tmp_path / folder)
        service.clock.advance(20)
        cloud.create(OFFER, SLEEP, f"mimir-r-a000{number}")
    assert len(sent(service, "ssh-keys")) == 1
    private = tmp_path / "mine/lambda/id_ed25519"
    assert private.stat().st_mode & 0o777 == 0o600
    assert private.parent.stat().st_mode & 0o777 == 0o700
    assert "PRIVATE" not in service.keys["mimir"]


@pytest.mark.parametrize("fault", ["duplicate_key", "lost_after"])
def test_an_ssh_key_that_is_there_after_all(service: FakeLambda, cloud: Lambda, fault: str) -> None:
    service.fault(fault, path="ssh-keys", method="POST")
    cloud.create(OFFER, SLEEP, NAME)
    assert len(service.alive()) == 1


def test_an_ssh_key_that_is_not_taken_orders_nothing(service: FakeLambda, cloud: Lambda) -> None:
    service.fault("error", path="ssh-keys", method="POST")
    with pytest.raises(ProviderError, match="nothing was ordered") as caught:
        cloud.create(OFFER, SLEEP, NAME)
    assert type(caught.value) is ProviderError, "no machine may be looked for"
    assert sent(service, "launch") == []


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


def test_an_unknown_word_is_not_gone(service: FakeLambda, cloud: Lambda) -> None:
    service.fault("odd_status")
    id = cloud.create(OFFER, SLEEP, NAME)
    assert cloud.get(id).state is State.BROKEN  # type: ignore[union-attr]


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


def test_only_ours_are_listed(service: FakeLambda, cloud: Lambda) -> None:
    cloud.create(OFFER, SLEEP, NAME)
    cloud.create(OFFER, SLEEP, "mimir-s-a0002")
    service.ledger[1].name = "somebody-elses"
    assert [each.name for each in cloud.instances()] == [NAME]


@pytest.mark.parametrize("fault", ["null_list", "nameless_row", "html_403"])
def test_a_list_that_is_not_whole_is_an_error(
    service: FakeLambda, cloud: Lambda, fault: str
) -> None:
    cloud.create(OFFER, SLEEP, NAME)
    service.fault(fault, path="/instances$")
    with pytest.raises(ProviderError):
        cloud.instances()
    assert len(cloud.instances()) == 1


def test_reads_are_tried_again(service: FakeLambda, cloud: Lambda) -> None:
    service.fault("plain_429", path="/instances$")
    service.fault("error", path="/instances$")
    service.fault("hang_up", path="/instances$")
    assert cloud.instances() == []
    assert len(sent(service, "/instances", "GET")) == 4


def test_a_refusal_does_not_repeat_the_host_key(service: FakeLambda, cloud: Lambda) -> None:
    service.fault("echo", path="launch")
    with pytest.raises(BadInput) as caught:
        cloud.create(OFFER, SLEEP, NAME)
    (launch,) = sent(service, "launch")
    assert "PRIVATE KEY" in launch.body["user_data"]
    assert "PRIVATE KEY" not in str(caught.value)
    assert "b3BlbnNzaC1rZXktdjE" not in str(caught.value), "how such keys begin"


def test_checks_rent_nothing(service: FakeLambda, cloud: Lambda) -> None:
    found = {check.name: check for check in cloud.checks()}
    assert {check.status for check in found.values()} == {"ok", "warn"}
    assert "first order" in found["ssh"].details
    assert {each.method for each in service.requests} == {"GET"}
    service.fault("html_403", path="instance-types")
    assert [each.status for each in cloud.checks()].count("fail") == 1


@pytest.mark.skipif(SSHD is None, reason="there is no sshd here: tests/servers/sshd.sh gets one")
class TestLogs:
    def test_logs_come_by_ssh(self, service: FakeLambda, cloud: Lambda) -> None:
        boot = Boot("i", ("sh", "-c", "seq 1 200; echo to-stderr >&2; exec sleep 60"), {})
        id = cloud.create(OFFER, boot, NAME)
        until(lambda: "to-stderr" in service.vms[id].output())
        lines = until(lambda: logs(cloud, id, 5))
        assert lines == ["197", "198", "199", "200", "to-stderr"]
        whole = cloud.logs(id, 1000)
        assert any("the container is started" in line for line in whole)
        assert "1" in whole

    def test_another_host_key_is_refused(
        self, service: FakeLambda, cloud: Lambda, tmp_path: Path
    ) -> None:
        id = cloud.create(OFFER, SLEEP, NAME)
        until(lambda: logs(cloud, id, 5))
        pin = tmp_path / "lambda/hosts" / f"{NAME}.pub"
        assert pin.stat().st_mode & 0o777 == 0o600
        before = accepted(service, id)
        assert before
        pin.write_text(ssh.new_pair("other").public)
        with pytest.raises(ProviderError, match="another host key"):
            cloud.logs(id, 5)
        assert accepted(service, id) == before
        pin.unlink()
        with pytest.raises(ProviderError, match="only the computer that ordered"):
            cloud.logs(id, 5)

    def test_logs_before_there_is_an_address(self, service: FakeLambda, cloud: Lambda) -> None:
        service.fault("no_address")
        assert cloud.logs(cloud.create(OFFER, SLEEP, NAME), 5) == []
        assert cloud.logs("0" * 32, 5) == []

    def test_a_machine_that_fails_to_start_can_be_looked_into(
        self, service: FakeLambda, cloud: Lambda, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("launch.payload.cloud_init.GPU_TRIES", 1)
        service.fault("no_gpu")
        id = cloud.create(OFFER, SLEEP, NAME)
        lines = until(lambda: [each for each in logs(cloud, id, 50) if "no GPU" in each])
        assert "nvidia-smi" in lines[0]
        assert "Cloud-init runs" in cloud.logs(id, 50)


def logs(cloud: Lambda, id: str, lines: int) -> list[str]:
    """[] while sshd comes up."""
    try:
        return cloud.logs(id, lines)
    except ProviderError:
        return []


def accepted(service: FakeLambda, id: str) -> int:
    return (service.vms[id].folder / "sshd.log").read_text().count("Accepted publickey")


def test_nothing_of_a_machine_is_left(service: FakeLambda, cloud: Lambda) -> None:
    id = cloud.create(
        OFFER, Boot("i", (sys.executable, "-c", "import time; time.sleep(99)"), {}), NAME
    )
    vm = service.vms[id]
    until(lambda: vm.working)
    assert processes(str(vm.folder))
    service.kill(id)
    until(lambda: not processes(str(vm.folder)))
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
