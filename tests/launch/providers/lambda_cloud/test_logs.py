"""Lambda: logs, which come by SSH, with a host key that is made for each machine."""

from pathlib import Path

import pytest

from launch.contract.cloud import ContainerSpec
from launch.contract.errors import ProviderError
from launch.providers import ssh
from launch.providers.lambda_cloud.adapter import Lambda
from tests.clouds.fake_lambda import FakeLambda
from tests.clouds.vm_programs import SSHD
from tests.launch.providers.lambda_cloud.case import NAME, OFFER, SLEEP, logs
from tests.waiting import wait_for


@pytest.mark.skipif(SSHD is None, reason="there is no sshd here: tests/servers/sshd.sh gets one")
class TestLogs:
    def test_logs_come_by_ssh(self, service: FakeLambda, cloud: Lambda) -> None:
        boot = ContainerSpec("i", ("sh", "-c", "seq 1 200; echo to-stderr >&2; exec sleep 60"), {})
        id = cloud.create(OFFER, boot, NAME)
        wait_for(lambda: "to-stderr" in service.vms[id].output())
        lines = wait_for(lambda: logs(cloud, id, 5))
        assert lines == ["197", "198", "199", "200", "to-stderr"]
        whole = cloud.logs(id, 1000)
        assert any("the container is started" in line for line in whole)
        assert "1" in whole

    def test_another_host_key_is_refused(
        self, service: FakeLambda, cloud: Lambda, tmp_path: Path
    ) -> None:
        id = cloud.create(OFFER, SLEEP, NAME)
        wait_for(lambda: logs(cloud, id, 5))
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
        lines = wait_for(lambda: [each for each in logs(cloud, id, 50) if "no GPU" in each])
        assert "nvidia-smi" in lines[0]
        assert "Cloud-init runs" in cloud.logs(id, 50)


def accepted(service: FakeLambda, id: str) -> int:
    return (service.vms[id].folder / "sshd.log").read_text().count("Accepted publickey")
