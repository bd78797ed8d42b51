"""A whole Slurm on this computer: slurmctld, four slurmd and munge, as root, in one folder.

No systemd, no cgroups, no database, and nothing in /etc. What each setting is for:

- `SlurmctldHost` must be the host's own name; each node has a port of its own on 127.0.0.1.
- `AuthInfo=cred_expire` is also how long a requeued job must wait: 120 s by default, 5 at least.
- `proctrack/linuxproc` and `task/none` need no cgroup.
- GPUs are empty regular files: a mere count is refused for the name `gpu`.
- `preempt_send_user_signal` sends --signal at the beginning of a preemption's GraceTime; 23 and
  later have it as PreemptParameters=send_user_signal, which 22.05 refuses.
- `SlurmdTimeout` is how long a node may be silent: 300 s by default.
"""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tests.waiting import LIMIT, wait_for

NODES = ("gpu1", "gpu2", "cpu1", "cpu2")
MISSING = [each for each in ("slurmctld", "slurmd", "munged") if not shutil.which(
    each, path=f"{os.environ.get('PATH', '')}:/usr/sbin")]  # fmt: skip
"""Programs that a cluster needs and this computer lacks."""

_CONF = """\
ClusterName=mimir
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket,cred_expire=5
CredType=cred/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/state/slurmctld.pid
SlurmdPidFile={folder}/spool/%n.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,sched_min_interval=0,batch_sched_delay=0
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmctldParameters=preempt_send_user_signal
KillWait=30
MessageTimeout=4
SlurmdTimeout=6
MinJobAge=60
JobRequeue=1
GresTypes=gpu
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
SlurmdParameters=config_overrides
NodeName=gpu1 NodeHostname={host} NodeAddr=127.0.0.1 Port={gpu1} {size} Gres=gpu:h100:2
NodeName=gpu2 NodeHostname={host} NodeAddr=127.0.0.1 Port={gpu2} {size} Gres=gpu:h100:2
NodeName=cpu1 NodeHostname={host} NodeAddr=127.0.0.1 Port={cpu1} {size}
NodeName=cpu2 NodeHostname={host} NodeAddr=127.0.0.1 Port={cpu2} {size}
PartitionName=gpu Nodes=gpu[1-2] Default=YES MaxTime=2:00:00 DefaultTime=60 PriorityTier=1
PartitionName=urgent Nodes=gpu[1-2] MaxTime=INFINITE PriorityTier=10 PreemptMode=OFF
PartitionName=scavenge Nodes=gpu[1-2] PriorityTier=0 PreemptMode=REQUEUE GraceTime=30
PartitionName=cpu Nodes=cpu[1-2] MaxTime=INFINITE PriorityTier=1
PartitionName=down Nodes=cpu[1-2] MaxTime=INFINITE State=DOWN
"""
_SIZE = "CPUs=2 Sockets=1 CoresPerSocket=2 ThreadsPerCore=1 RealMemory=4000 State=UNKNOWN"


class Cluster:
    """Down when made. Its folder can be entered by every user."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="mimir-slurm-", dir="/tmp"))
        self.folder.chmod(0o755)
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        for name in ("munge", "state", "etc", "dev", "log", *(f"spool/{n}" for n in NODES)):
            (self.folder / name).mkdir(parents=True)
        ports = _free_ports(len(NODES) + 1)
        where = dict(zip(NODES, ports[1:], strict=True))
        host = socket.gethostname().partition(".")[0]
        (self.folder / "etc" / "slurm.conf").write_text(
            _CONF.format(host=host, port=ports[0], folder=self.folder, size=_SIZE, **where)
        )
        files = f"{self.folder}/dev/gpu[0-1]"
        (self.folder / "etc" / "gres.conf").write_text(
            f"AutoDetect=off\nNodeName=gpu[1-2] Name=gpu Type=h100 File={files}\n"
        )
        for card in ("gpu0", "gpu1"):
            (self.folder / "dev" / card).touch()

    @property
    def environment(self) -> dict[str, str]:
        """What its commands need to find it."""
        return {"SLURM_CONF": str(self.folder / "etc" / "slurm.conf")}

    def up(self) -> "Cluster":
        munge = self.folder / "munge"
        (munge / "key").write_bytes(os.urandom(128))
        (munge / "key").chmod(0o400)
        shutil.chown(munge, "munge", "munge")
        shutil.chown(munge / "key", "munge", "munge")
        self._begin(
            "munged", "setpriv", "--reuid=munge", "--regid=munge", "--clear-groups", "munged",
            "--foreground", f"--key-file={munge}/key", f"--socket={munge}/socket",
            f"--pid-file={munge}/pid", f"--log-file={munge}/log", f"--seed-file={munge}/seed",
        )  # fmt: skip
        wait_for((munge / "socket").exists, "munge")
        self.begin_controller()
        for node in NODES:
            self.begin_node(node)
        wait_for(lambda: self.idle() == set(NODES), lambda: f"the nodes: {self.said('sinfo')}")
        return self

    def down(self) -> None:
        """End all that was begun, and every job's processes."""
        for job in self.said("squeue", "--noheader", "--format=%A").split():
            self.run("scancel", "--signal=KILL", "--full", job)
        for process in self._running.values():
            process.send_signal(signal.SIGCONT)
            process.terminate()
        for process in self._running.values():
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for pid in self.processes(""):
            os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)

    def begin_controller(self) -> None:
        self._begin("slurmctld", "slurmctld", "-D")

    def end_controller(self) -> None:
        self._running["slurmctld"].terminate()
        self._running.pop("slurmctld").wait(timeout=LIMIT)

    def pause_controller(self) -> None:
        """It takes connections and answers none, as one that is overloaded."""
        self._running["slurmctld"].send_signal(signal.SIGSTOP)

    def continue_controller(self) -> None:
        self._running["slurmctld"].send_signal(signal.SIGCONT)

    def begin_node(self, node: str, *before: str) -> None:
        """before: words that go before its command."""
        self._begin(node, *before, "slurmd", "-D", "-N", node)

    def kill_node(self, node: str) -> None:
        """Its slurmd is gone at once; what its jobs have started goes on."""
        self._running[node].kill()
        self._running.pop(node).wait()

    def has_node(self, node: str) -> bool:
        """Whether its slurmd runs."""
        return node in self._running

    def idle(self) -> set[str]:
        lines = self.said("sinfo", "--noheader", "--Node", "--format=%N %t").splitlines()
        return {name for name, state in map(str.split, lines) if state == "idle"}

    def lost(self) -> set[str]:
        """Nodes that do not answer, by the controller's word."""
        lines = self.said("sinfo", "--noheader", "--Node", "--format=%N %t").splitlines()
        return {name for name, state in map(str.split, lines) if state.startswith("down")}

    def run(
        self, *words: str, environ: Mapping[str, str] = os.environ, text: str = ""
    ) -> "subprocess.CompletedProcess[str]":
        """One of Slurm's commands, whatever it answers."""
        return subprocess.run(
            words, input=text, capture_output=True, text=True, check=False, timeout=120,
            env={**environ, **self.environment},
        )  # fmt: skip

    def said(self, *words: str) -> str:
        return self.run(*words).stdout

    def states(self, name: str) -> list[str]:
        """Of all jobs of this name, the newest last; those that have ended for MinJobAge."""
        return self.said("squeue", "--noheader", "--states=all", f"--name={name}", "--sort=i",
                         "--format=%T").split()  # fmt: skip

    def processes(self, words: str) -> list[int]:
        """Processes whose command line holds these words, and whose environment this cluster."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                environ = (folder / "environ").read_bytes()
            except OSError:
                continue
            ours = str(self.folder).encode() in environ
            if ours and words in line and int(folder.name) != os.getpid():
                found.append(int(folder.name))
        return found

    def _begin(self, name: str, *words: str) -> None:
        environ = {k: v for k, v in os.environ.items() if not k.startswith("SLURM_")}
        environ["PATH"] = f"{environ.get('PATH', '')}:/usr/sbin"
        with (self.folder / "log" / f"{name}.out").open("ab") as out:
            self._running[name] = subprocess.Popen(
                words, stdout=out, stderr=out, stdin=subprocess.DEVNULL,
                env={**environ, **self.environment}, start_new_session=True,
            )  # fmt: skip


def _free_ports(count: int) -> list[int]:
    held = [socket.socket() for _ in range(count)]
    for each in held:
        each.bind(("127.0.0.1", 0))
    found = [each.getsockname()[1] for each in held]
    for each in held:
        each.close()
    return found


def main() -> None:
    """A cluster to try things on by hand, until Ctrl-C or SIGTERM."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    cluster = Cluster().up()
    print("".join(f"export {name}={value}\n" for name, value in cluster.environment.items()),
          flush=True)  # fmt: skip
    try:
        signal.pause()
    except KeyboardInterrupt:
        cluster.down()


if __name__ == "__main__":
    main()
