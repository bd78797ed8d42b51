"""A fresh virtual machine's first boot: cloud-init text that runs the attempt's container.

cloud-init writes three files and starts a systemd unit; all else is in that unit's script, so
that a reboot does the same again. The container has a name and is kept: started again it finds
its disk as it was, as on the services that rent out containers. After its end the machine does what
its service wants (OnceDone): it turns itself off where that ends its bill, and a timer, which is
armed before anything else is done, does so at the latest; or it turns itself off unless its service
deletes it soon. Elsewhere it stays as it is, and ending it is the launcher's.
Format: https://cloudinit.readthedocs.io/en/latest/reference/modules.html. Tested with the
stand-ins under tests/clouds, not on the real service.
"""

import re
import shlex
from dataclasses import dataclass, field
from typing import Any

from launch.contract import deadlines
from launch.contract.cloud import ContainerSpec, Login
from mimir.errors import BadInput

CONTAINER = "mimir"
FOLDER = "/var/lib/mimir"
LOG = f"{FOLDER}/log"
"""What the script says of its own; the container's output is in the engine's log."""
TURN_OFF = "shutdown -h now"
"""What turns a machine off, for services that end its bill then."""
GPU_TRIES = 30
"""Looks for the GPU, ten seconds apart, before the script fails and is started again."""
LARGEST = 1_000_000
"""Bytes of the text that Lambda takes."""
LINE = 60_000
"""Bytes of a variable: the engine reads the file with them by lines of at most 64 KiB."""

_UNIT = f"""\
[Unit]
Description=Mimir: an attempt in a container
After=network-online.target docker.service
Wants=network-online.target
# No limit to starts: a machine whose parts come up one by one gets there.
StartLimitIntervalSec=0

[Service]
ExecStart={FOLDER}/run
StandardOutput=append:{LOG}
StandardError=inherit
# The script fails if the container could not be started, never because of how that ended.
Restart=on-failure
RestartSec=30

[Install]
WantedBy=multi-user.target
"""

_SCRIPT = """\
#!/bin/sh
# Starts the attempt's container, ends it when its time is over. Run at every boot.
set -u
umask 077
cd {folder} || exit 1
say() {{ echo "$(date -u +%Y-%m-%dT%H:%M:%SZ) $*"{console}; }}
give_up() {{ say "$*"; {failing}exit 1; }}
{functions}
# Written once: a reboot gives no more time.
[ -s until ] || echo $(({seconds} ? $(date +%s) + {seconds} : 0)) > until
until=$(cat until)
[ "$until" = 0 ] || [ "$until" -gt "$(date +%s)" ] || {{ say "its time is over"; {off}; exit 0; }}

n=0
until nvidia-smi -L; do
  n=$((n + 1)); [ $n -lt {tries} ] || give_up "the machine shows no GPU: nvidia-smi fails"
  sleep 10
done

if ! command -v docker >/dev/null || ! command -v nvidia-ctk >/dev/null; then
  say "the engine or NVIDIA's part of it is missing: they are installed"
  export DEBIAN_FRONTEND=noninteractive
  apt-get -q update
  command -v docker >/dev/null || apt-get -q -y install docker.io
  command -v nvidia-ctk >/dev/null || apt-get -q -y install nvidia-container-toolkit
fi
if ! docker info 2>/dev/null | grep -q nvidia; then
  nvidia-ctk runtime configure --runtime=docker
  systemctl restart docker
fi
# Without these links a `systemctl daemon-reload` takes the GPU from a running container.
nvidia-ctk system create-dev-char-symlinks --create-all >/dev/null 2>&1 || true

if ! docker inspect {name} >/dev/null 2>&1; then
  export DOCKER_CONFIG="$PWD/docker"
  [ ! -s login ] || docker login --username {user} --password-stdin {registry} < login ||
    give_up "the login is refused at" {registry}
  n=0
  until docker pull --quiet {image}; do
    n=$((n + 1))
    if [ $n -ge 3 ] && [ -n {elsewhere} ] && docker pull --quiet {elsewhere}; then
      docker tag {elsewhere} {image}
      say {image} "cannot be pulled:" {elsewhere} "is taken, the same image"
      break
    fi
    [ $n -lt 5 ] || give_up "the image cannot be pulled"
    sleep 10
  done
  rm -rf login docker
  docker create --name {name} --gpus all --ipc=host --env-file env \\
    --security-opt no-new-privileges --stop-timeout {grace} \\
    --log-opt max-size=10m --log-opt max-file=2 --entrypoint {command} ||
    give_up "the container cannot be made"
fi
docker start {name} >/dev/null || give_up "the container cannot be started"
say "the container is started"
{alive}
if [ "$until" = 0 ]; then
  code=$(docker wait {name}); told=$?
else
  left=$((until - $(date +%s) + 1)); [ $left -gt 0 ] || left=1  # 0 would be no limit
  code=$(timeout $left docker wait {name}); told=$?
fi
if [ $told = 124 ]; then
  say "its time is over: the container is ended"
  docker stop --time {grace} {name} >/dev/null || docker kill {name} >/dev/null
  code=$(docker wait {name}); told=$?
fi
{alive}[ $told = 0 ] || give_up "the engine went away; the container is started again if it did too"
say "the container ended with $code; {then}"
{off}
"""
_FUNCTIONS = """
up() {{ cut -d. -f1 /proc/uptime; }}
# Seconds. Uptime cannot jump.
[ -s boot ] || cat /proc/sys/kernel/random/boot_id > boot
until_deleted() {{ echo $(({deleted} - $(up))); }}
# A service may have forgotten the deletion of a machine that was off meanwhile, or be overdue.
stays() {{
  [ {deleted} != 0 ] && [ "$(cat boot)" = "$(cat /proc/sys/kernel/random/boot_id)" ] &&
    [ "$(until_deleted)" -le {left_on} ] && [ "$(until_deleted)" -gt -{overdue} ]
}}
turn_off() {{
  while stays; do
    say "the machine stays on: its service deletes it in $(until_deleted) s"
    sleep {overdue}
  done
  {off}
}}
# Since the boot or since the container was there, whichever is later.
is_hopeless() {{ [ $(($(up) - $(cat {began} 2>/dev/null || echo 0))) -gt {patience} ]; }}
"""
_BEGAN = "/run/mimir-began"
"""The uptime at which the container was last there; a boot forgets it."""
_OVERDUE = 300
"""Seconds after which a machine that its service should have deleted turns itself off."""
_HOPELESS = 'if is_hopeless && ! stays; then say "no container comes up here"; {off}; fi; '
_CONSOLE = " | tee -a /dev/console"
"""The service shows a machine's console also when it is gone."""
_LAST_LINES = f"docker logs --tail 40 {CONTAINER} 2>&1{_CONSOLE}; "
_TIMER = """\
mkdir -p {folder}; cd {folder} || exit 1
[ -s off ] || echo $(($(date +%s) + {seconds})) > off
n=$(($(cat off) - $(date +%s))); [ $n -gt 1 ] || n=1
systemd-run --no-block --on-active=$n {off}"""


@dataclass(frozen=True)
class OnceDone:
    """What a machine does when its container has ended for good, and if that never starts.

    turns_off: the command that turns it off (TURN_OFF), "" where that does not lower its bill.
    timer: whether the command is armed at boot too, for when its time is over. deletes: seconds
    from its boot after which its service deletes it whatever it does, if it is on, 0 for never;
    None for a service that deletes a machine that is turned off.
    """

    turns_off: str = ""
    timer: bool = False
    deletes: float | None = None


@dataclass(frozen=True)
class Pair:
    """An Ed25519 key pair in OpenSSH's formats. The repr shows no secret."""

    private: str = field(repr=False)
    public: str


def text(
    boot: ContainerSpec, host: Pair | None = None, visitors: tuple[str, ...] = (), *,
    once_done: OnceDone = OnceDone(),
) -> str:  # fmt: skip
    """The user data of a machine that runs this.

    Args:
        host: the machine's host key, None for the image's own; the private half stands in the text.
        visitors: public keys that may log in, beside those that the service puts there.
        once_done: what the machine does after its work; by default it stays as it is.

    Raises:
        BadInput: a variable cannot be handed over by a file of lines, or it is all too large.
    """
    import yaml

    private = {"owner": "root:root"}
    value: dict[str, Any] = {}
    if once_done.timer and boot.seconds:
        value["bootcmd"] = [
            ["sh", "-c", _timer(boot, once_done.turns_off)]
        ]  # at every boot, the first thing
    if host is not None:
        value |= {
            "ssh_deletekeys": True,
            "ssh_keys": {"ed25519_private": host.private, "ed25519_public": host.public},
            "ssh_authorized_keys": list(visitors),
        }
    script = _script(boot, once_done, console=host is None)
    value |= {
        "write_files": [
            {"path": f"{FOLDER}/env", "permissions": "0600", "content": _env(boot), **private},
            {"path": f"{FOLDER}/run", "permissions": "0700", "content": script, **private},
            *_login(boot.login),
            {
                "path": f"/etc/systemd/system/{CONTAINER}.service", "permissions": "0644",
                "content": _UNIT, **private,
            },
        ],
        # --no-block: cloud-init is itself a unit, whose end others wait for.
        "runcmd": [
            ["systemctl", "daemon-reload"],
            ["systemctl", "enable", "--now", "--no-block", f"{CONTAINER}.service"],
        ],
    }  # fmt: skip
    made = "#cloud-config\n" + yaml.safe_dump(value, sort_keys=False, width=10**9)
    if len(made.encode()) > LARGEST:
        raise BadInput(
            f"the machine's first instructions are {len(made.encode()):,} bytes, and {LARGEST:,} "
            "are taken: hand over fewer variables"
        )
    return made


def show(lines: int) -> str:
    """A shell command that prints the last lines of what happened on such a machine."""
    engine = f"sudo docker logs --tail {lines} {CONTAINER}"
    return (
        f"sudo docker inspect {CONTAINER} >/dev/null 2>&1 || "
        f"sudo tail -n {lines} /var/log/cloud-init-output.log; "
        f"sudo tail -n {lines} {LOG}; {engine}"
    )


def _env(boot: ContainerSpec) -> str:
    for name, value in boot.env.items():
        # The engine takes each line as it is: there is no way to write a line's end in a value.
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise BadInput(f"{name!r} is not a name that a machine's variable can have")
        if re.search(r"[\n\r\0]", value) or len(f"{name}={value}".encode()) > LINE:
            raise BadInput(
                f"the variable {name} has several lines or more than {LINE:,} bytes, which the "
                "machine's container engine cannot take"
            )
    return "".join(f"{name}={value}\n" for name, value in boot.env.items())


def _login(login: Login | None) -> list[dict[str, str]]:
    """The password as a file, which the script removes once the image is there."""
    if login is None:
        return []
    file = {"path": f"{FOLDER}/login", "permissions": "0600", "owner": "root:root"}
    return [{**file, "content": login.password}]


def _timer(boot: ContainerSpec, turns_off: str) -> str:
    """Turns the machine off whatever becomes of the rest, after the script's own end."""
    seconds = round(boot.seconds) + deadlines.CONTAINER_GRACE + deadlines.KILL_AFTER
    return _TIMER.format(folder=FOLDER, seconds=seconds, off=turns_off)


def _script(boot: ContainerSpec, once_done: OnceDone, console: bool) -> str:
    """console: nobody can log in, so that what happens is written to the machine's console too."""
    entrypoint, *rest = boot.command
    login = boot.login or Login("", "", "")
    last, functions, failing, alive = _LAST_LINES if console else "", "", "", ""
    off, then = once_done.turns_off or ":", "the machine waits for the launcher to end it"
    if once_done.turns_off:
        then = "it turns the machine off"
    if once_done.deletes is not None:
        functions = _FUNCTIONS.format(
            deleted=round(once_done.deletes), left_on=round(deadlines.LEFT_ON), off=off,
            overdue=_OVERDUE, began=_BEGAN, patience=round(deadlines.BEGIN_WITHIN),
        )  # fmt: skip
        off, then = "turn_off", "the machine is turned off, unless its service deletes it soon"
        failing, alive = _HOPELESS.format(off=last + off), f"up > {_BEGAN}\n"
    return _SCRIPT.format(
        console=_CONSOLE if console else "", off=last + off, then=then,
        functions=functions, failing=failing, alive=alive,
        elsewhere=shlex.quote(boot.image_elsewhere), user=shlex.quote(login.user),
        registry=shlex.quote(login.registry),
        folder=FOLDER, name=CONTAINER, grace=deadlines.CONTAINER_GRACE,
        seconds=round(boot.seconds), tries=GPU_TRIES,
        image=shlex.quote(boot.image), command=shlex.join([entrypoint, boot.image, *rest]),
    )  # fmt: skip
