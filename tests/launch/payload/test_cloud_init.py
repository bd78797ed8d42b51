"""User data: what a virtual machine is told to do, without one."""

import os
import re
import shlex
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from launch.contract import deadlines
from launch.contract.cloud import ContainerSpec, Login
from launch.payload import cloud_init
from launch.payload.cloud_init import OnceDone
from launch.providers.ssh import Pair
from mimir.errors import BadInput
from tests.waiting import LIMIT

HOST = Pair("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n", "pub")
STAYS = OnceDone()
BOOT = ContainerSpec(
    "org/image:tag",
    ("sh", "-c", "exec worker \"$X\" 'a'\n"),
    {"X": "a b=c #'\"", "SECRET": "s3cr3t"},
)


def of(boot: ContainerSpec = BOOT, once_done: OnceDone = STAYS) -> dict[str, Any]:
    made = cloud_init.text(boot, HOST, ("ssh-ed25519 AAAA mimir",), once_done=once_done)
    assert made.startswith("#cloud-config\n")
    value = yaml.safe_load(made)
    assert isinstance(value, dict)
    return value


def files(boot: ContainerSpec = BOOT, once_done: OnceDone = STAYS) -> dict[str, dict[str, str]]:
    return {each["path"]: each for each in of(boot, once_done)["write_files"]}


def test_keys() -> None:
    value = of()
    assert value["ssh_keys"] == {"ed25519_private": HOST.private, "ed25519_public": HOST.public}
    assert value["ssh_deletekeys"] is True, "else the image's own host keys would be offered too"
    assert value["ssh_authorized_keys"] == ["ssh-ed25519 AAAA mimir"]


def test_variables_lie_in_a_file_of_their_own() -> None:
    made = files()
    env = made.pop("/var/lib/mimir/env")
    assert env["content"] == "X=a b=c #'\"\nSECRET=s3cr3t\n"
    assert (env["permissions"], env["owner"]) == ("0600", "root:root")
    assert all("s3cr3t" not in each["content"] for each in made.values())
    assert "s3cr3t" not in str(of()["runcmd"])


@pytest.mark.parametrize(
    ("env", "what"),
    [
        ({"A": "x\ny"}, "several lines"), ({"A": "\r"}, "several lines"),
        ({"A": "x" * 60_001}, "60,000 bytes"), ({"A B": "x"}, "not a name"),
        ({"": "x"}, "not a name"), ({f"A{n}": "x" * 5_000 for n in range(9)}, "40,000 are taken"),
    ],
)  # fmt: skip
def test_variables_that_cannot_be_handed_over(
    env: dict[str, str], what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cloud_init, "LARGEST", 40_000)
    with pytest.raises(BadInput, match=what) as caught:
        of(ContainerSpec("i", ("true",), env))
    assert "xxxx" not in str(caught.value)


def test_the_unit_runs_at_every_boot() -> None:
    unit = files()["/etc/systemd/system/mimir.service"]["content"]
    assert "ExecStart=/var/lib/mimir/run\n" in unit
    assert "WantedBy=multi-user.target" in unit
    assert "Restart=on-failure" in unit
    assert of()["runcmd"][-1][:2] == ["systemctl", "enable"]
    assert files()["/var/lib/mimir/run"]["permissions"] == "0700"


def test_nothing_turns_the_machine_off() -> None:
    text = cloud_init.text(BOOT, HOST, ())
    assert not re.search(r"shutdown|poweroff|halt\b", text)


LIFE = 10_000.0
DELETED = OnceDone(cloud_init.TURN_OFF, deletes=LIFE)
LONG = replace(BOOT, seconds=LIFE + 510)


def test_only_a_timer_turns_the_machine_off_by_itself() -> None:
    """A service that deletes its machines would not delete one that is off."""
    armed = of(LONG, OnceDone(cloud_init.TURN_OFF, timer=True))
    assert "shutdown -h now" in armed["bootcmd"][0][-1]
    assert "bootcmd" not in of(LONG, DELETED)
    assert "bootcmd" not in of(LONG, OnceDone(cloud_init.TURN_OFF))


@pytest.mark.parametrize("once_done", [STAYS, OnceDone("shutdown -h now", True), DELETED])
@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_the_script_is_one(shell: str, once_done: OnceDone, tmp_path: Path) -> None:
    script = files(LONG, once_done)["/var/lib/mimir/run"]["content"]
    (tmp_path / "run").write_text(script)
    done = subprocess.run(
        [shell, "-n", str(tmp_path / "run")], capture_output=True, text=True, timeout=LIMIT
    )
    assert (done.returncode, done.stderr) == (0, "")
    if shutil.which("shellcheck"):
        subprocess.run(
            ["shellcheck", "-S", "warning", str(tmp_path / "run")], check=True, timeout=LIMIT
        )


class Scene:
    """The script in a folder, with programs beside it that note how they are called."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.program("sleep", "")
        self.program("nvidia-smi", "")
        self.program("nvidia-ctk", "")
        self.program("apt-get", "")
        self.program("systemctl", "")
        self.program("shutdown", "")
        random = folder / "proc/sys/kernel/random"
        random.mkdir(parents=True)
        (folder / "run-began").mkdir()
        (random / "boot_id").write_text("first\n")
        self.uptime(100)
        self.docker(wait="echo 0")

    def program(self, name: str, body: str) -> None:
        path = self.bin / name
        path.write_text(f'#!/bin/sh\necho "{name} $*" >> {self.folder}/calls\n{body}\n')
        path.chmod(0o755)

    def uptime(self, seconds: float) -> None:
        (self.folder / "proc/uptime").write_text(f"{seconds:.2f} 5.00\n")

    def docker(self, **verbs: str) -> None:
        known = {"info": "echo nvidia", "inspect": "exit 1", **verbs}
        cases = " ".join(f"{verb}) {body};;" for verb, body in known.items())
        self.program("docker", f'case "$1" in {cases} esac')

    def run(self, boot: ContainerSpec = BOOT, once_done: OnceDone = STAYS) -> tuple[int, str]:
        text = files(boot, once_done)["/var/lib/mimir/run"]["content"]
        for path, here in (("/var/lib/mimir", ""), ("/proc/", "/proc/"), ("/run/", "/run-began/")):
            text = re.sub(f"(?<![^ <]){path}", f"{self.folder}{here}", text)
        (self.folder / "run").write_text(text)
        (self.folder / "calls").write_text("")
        done = subprocess.run(
            ["sh", str(self.folder / "run")], capture_output=True, text=True, timeout=LIMIT,
            env={"PATH": f"{self.bin}:{os.defpath}"},
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    def calls(self, name: str) -> list[list[str]]:
        lines = (self.folder / "calls").read_text().splitlines()
        return [line.split()[1:] for line in lines if line.startswith(f"{name} ")]


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_the_container(scene: Scene) -> None:
    status, said = scene.run()
    assert status == 0, said
    verbs = [call[0] for call in scene.calls("docker")]
    assert verbs == ["info", "inspect", "pull", "create", "start", "wait"]
    create = next(call for call in scene.calls("docker") if call[0] == "create")
    assert " ".join(create).startswith(
        "create --name mimir --gpus all --ipc=host --env-file env "
        "--security-opt no-new-privileges --stop-timeout 120"
    )
    assert " ".join(create).endswith("--entrypoint sh org/image:tag -c exec worker \"$X\" 'a'")
    assert "s3cr3t" not in (scene.folder / "calls").read_text()
    assert scene.calls("apt-get") == []
    assert scene.calls("systemctl") == []


def test_a_container_that_is_there_is_started_again(scene: Scene) -> None:
    scene.docker(inspect="exit 0", wait="echo 75")
    status, said = scene.run()
    assert [call[0] for call in scene.calls("docker")] == ["info", "inspect", "start", "wait"]
    assert status == 0, "how the container ended is no reason to start it again"
    assert "ended with 75" in said


def test_a_gpu_that_comes_late(scene: Scene) -> None:
    scene.program("nvidia-smi", f"[ $(grep -c nvidia-smi {scene.folder}/calls) -gt 3 ]")
    status, said = scene.run()
    assert status == 0, said
    assert len(scene.calls("sleep")) == 3


def test_no_gpu(scene: Scene) -> None:
    scene.program("nvidia-smi", "exit 9")
    status, said = scene.run()
    assert status == 1
    assert "no GPU" in said
    assert scene.calls("docker") == []


def test_an_engine_that_is_half_set_up(scene: Scene) -> None:
    scene.docker(info="echo runc", wait="echo 0")
    status, said = scene.run()
    assert status == 0, said
    assert ["runtime", "configure", "--runtime=docker"] in scene.calls("nvidia-ctk")
    assert scene.calls("systemctl") == [["restart", "docker"]]


def test_what_is_missing_is_installed(scene: Scene) -> None:
    (scene.bin / "nvidia-ctk").unlink()
    _, said = scene.run()
    assert "are installed" in said
    assert ["-q", "-y", "install", "nvidia-container-toolkit"] in scene.calls("apt-get")
    assert not any("docker.io" in call for call in scene.calls("apt-get"))


@pytest.mark.parametrize(
    ("verb", "said"),
    [("pull", "cannot be pulled"), ("create", "cannot be made"), ("start", "cannot be started"),
     ("wait", "engine went away")],
)  # fmt: skip
def test_what_fails_is_said_and_tried_again_by_the_unit(scene: Scene, verb: str, said: str) -> None:
    scene.docker(**{"wait": "echo 0", verb: "exit 1"})
    status, words = scene.run()
    assert status == 1
    assert said in words


def test_an_image_that_has_another_name(scene: Scene) -> None:
    """After three tries; the container is made of the name that was ordered."""
    scene.docker(pull='case "$*" in *ghcr*) exit 0;; *) exit 1;; esac', wait="echo 0")
    status, said = scene.run(replace(BOOT, image_elsewhere="ghcr.io/org/image:tag"))
    assert status == 0, said
    verbs = [call[0] for call in scene.calls("docker")]
    assert verbs == ["info", "inspect", *["pull"] * 4, "tag", "create", "start", "wait"]
    assert ["tag", "ghcr.io/org/image:tag", "org/image:tag"] in scene.calls("docker")
    assert "ghcr.io/org/image:tag is taken" in said


@pytest.mark.parametrize("right", [True, False])
def test_a_registrys_login(scene: Scene, right: bool) -> None:
    """By a file that goes when the image is there, never as an argument."""
    login = Login("docker.io", "me", "token-of-a-person")
    boot = replace(BOOT, login=login)
    (file,) = [each for each in of(boot)["write_files"] if each["path"].endswith("/login")]
    assert (file["permissions"], file["content"]) == ("0600", login.password)
    (scene.folder / "login").write_text(file["content"])
    test = '[ "$(cat)" = token-of-a-person ]' if right else "exit 1"
    scene.docker(login=test, wait="echo 0")
    status, said = scene.run(boot)
    assert (status == 0) is right
    assert ("the login is refused at docker.io" in said) is not right
    assert ["login", "--username", "me", "--password-stdin", "docker.io"] in scene.calls("docker")
    assert "token-of" not in (scene.folder / "calls").read_text() + said
    assert (scene.folder / "login").exists() is not right


def test_the_limit_counts_from_the_first_boot(scene: Scene) -> None:
    boot = ContainerSpec("i", ("true",), {}, seconds=1000)
    assert scene.run(boot)[0] == 0
    until = (scene.folder / "until").read_text()
    (scene.folder / "until").write_text("12345\n")
    status, said = scene.run(boot)
    assert (status, scene.calls("docker")) == (0, [])
    assert "its time is over" in said
    now = subprocess.run(
        ["date", "+%s"], capture_output=True, text=True, check=True, timeout=LIMIT
    ).stdout
    assert 900 < int(until) - int(now) <= 1000


def test_the_limit_stops_the_container(scene: Scene) -> None:
    # The first look waits for what does not end, the second comes after the stop.
    gone = scene.folder / "gone"
    scene.docker(
        wait=f"[ -e {gone} ] && echo 143 || exec {shutil.which('sleep')} 30",
        stop=f"touch {gone}",
    )
    status, said = scene.run(ContainerSpec("i", ("true",), {}, seconds=1))
    assert status == 0, said
    assert ["stop", "--time", "120", "mimir"] in scene.calls("docker")
    assert "ended with 143" in said
    assert not any(call[0] == "kill" for call in scene.calls("docker"))


def test_no_limit(scene: Scene) -> None:
    assert scene.run()[0] == 0
    assert (scene.folder / "until").read_text() == "0\n"


OFF = [["-h", "now"]]


@pytest.mark.parametrize(
    ("deletes", "uptime", "off"),
    [
        (LIFE, 20, True),
        (LIFE, LIFE - deadlines.LEFT_ON - 1, True),
        (LIFE, LIFE - deadlines.LEFT_ON, False),
        (LIFE, LIFE + 299, False),
        (0.0, 10 * LIFE, True),
    ],
)
def test_a_machine_shuts_down_unless_its_service_deletes_it_soon(
    scene: Scene, deletes: float, uptime: float, off: bool
) -> None:
    """By its uptime: whatever its clock says of the time that it has. One that stays on looks again
    after five minutes, and shuts down where the service is overdue by then."""
    scene.uptime(uptime)
    overdue = f"echo {LIFE + 300:.0f}.00 5.00 > {scene.folder}/proc/uptime"
    scene.program("sleep", overdue)
    clock = "12345678901" if off else "99"
    scene.program("date", f'case "$*" in +%s) echo {clock};; esac')
    boot = replace(LONG, seconds=0.0) if not deletes else LONG
    status, said = scene.run(boot, OnceDone(cloud_init.TURN_OFF, deletes=deletes))
    assert status == 0, said
    assert scene.calls("shutdown") == OFF
    assert scene.calls("sleep") == ([] if off else [["300"]])
    assert ("the machine stays on: its service deletes it in" in said) is not off


def test_after_another_boot_nothing_is_known_of_a_deletion(scene: Scene) -> None:
    """The service forgets it when a machine is stopped: only a disk is at stake."""
    (scene.folder / "boot").write_text("an earlier one\n")
    scene.uptime(LIFE - 600)
    status, said = scene.run(LONG, DELETED)
    assert status == 0, said
    assert scene.calls("shutdown") == OFF
    assert "stays on" not in said


@pytest.mark.parametrize(
    ("uptime", "began", "off"),
    [
        (deadlines.BEGIN_WITHIN, None, False), (deadlines.BEGIN_WITHIN + 1, None, True),
        (deadlines.BEGIN_WITHIN + 1, 900, False), (LIFE - 600, None, False),
    ],
)  # fmt: skip
def test_where_no_container_comes_up_the_machine_shuts_down(
    scene: Scene, uptime: float, began: int | None, off: bool
) -> None:
    scene.uptime(uptime)
    if began is not None:
        (scene.folder / "run-began/mimir-began").write_text(f"{began}\n")
    scene.docker(start="exit 1")
    status, said = scene.run(LONG, DELETED)
    assert (status, "cannot be started" in said) == (1, True)
    assert scene.calls("shutdown") == (OFF if off else [])


def test_a_container_that_was_there_counts_from_its_end(scene: Scene) -> None:
    """An engine that goes away after hours comes back, perhaps."""
    scene.docker(wait=f"echo 5000.00 5.00 > {scene.folder}/proc/uptime; exit 1")
    status, said = scene.run(LONG, DELETED)
    assert (status, scene.calls("shutdown")) == (1, []), said
    assert (scene.folder / "run-began/mimir-began").read_text() == "5000\n"


def test_what_shows_the_end_of_logs_is_a_command() -> None:
    command = cloud_init.show(7)
    subprocess.run(["sh", "-n", "-c", command], check=True, timeout=LIMIT)
    assert "docker logs --tail 7 mimir" in command
    assert shlex.split(command)[0] == "sudo"
