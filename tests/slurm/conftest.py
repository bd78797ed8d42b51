"""One cluster for the tests of a process, and a store that its nodes share."""

import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from launch.commands.resume import resume
from launch.providers import registry
from mimir.runs.machine import Machine
from mimir.runs.status import Status, derive
from mimir.runs.store import Store, open_store
from tests import ROOT
from tests.e2e import jobs
from tests.gates import HOOK, Gate
from tests.slurm.cluster import MISSING, NODES, Cluster
from tests.waiting import LIMIT, wait_for

CI = os.environ.get("MIMIR_CI", "") == "1"
SECRETS = {
    "RUNPOD_API_KEY": "planted-runpod-key-01", "AWS_SECRET_ACCESS_KEY": "planted-aws-secret-02",
    "MIMIR_NOTIFY": "https://hooks.example.org/planted-hook-03", "SBATCH_EXPORT": "ALL",
    "SLURM_NTASKS": "7", "HTTPS_PROXY": "http://user:planted-proxy-04@proxy.example.org",
}  # fmt: skip
"""What the launcher has around it and no job may have."""
GPU = "--partition=gpu --gres=gpu:1"
FREE = "--partition=scavenge --gres=gpu:1 --signal=TERM@60"


@pytest.fixture(scope="session")
def _cluster() -> Iterator[Cluster]:
    if MISSING or os.getuid() != 0:
        if CI:
            pytest.fail("CI tests a real Slurm: tests/slurm/install.sh")
        pytest.skip("a cluster needs root and Slurm: tests/slurm/install.sh installs it")
    cluster = Cluster()
    try:
        yield cluster.up()
    finally:
        cluster.down()


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return jobs.write_data(tmp_path_factory.mktemp("data") / "peptides.csv", 60)


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Store:
    """A store with run `whole`, which nothing has disturbed."""
    store = open_store(tmp_path_factory.mktemp("whole").as_uri())
    with pytest.MonkeyPatch.context() as patch:  # not what an older Mimir has packed
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        jobs.submit(store, "whole", data)
    assert jobs.train(store, "whole")[0]
    return store


class Ground:
    """A cluster and a store for one test, and a run in it. gate: of the run's training."""

    def __init__(
        self, cluster: Cluster, folder: Path, data: Path, whole: Store, run: str = ""
    ) -> None:
        self.cluster, self.folder, self._data, self._whole = cluster, folder, data, whole
        self.store = open_store((folder / "runs").as_uri())
        self.run = run or folder.name
        self.gate = Gate(folder / f"gate-{self.run}")

    def beside(self, run: str) -> "Ground":
        """The same place for another run."""
        return Ground(self.cluster, self.folder, self._data, self._whole, run)

    @property
    def provider(self) -> Any:
        return registry.get("slurm")

    def create(self) -> None:
        """The run, of which nothing is ordered yet."""
        jobs.submit(self.store, self.run, self._data)

    def order(self, slurm: str = GPU, **options: Any) -> int:
        """As `launch resume` on the login node; its exit code."""
        registry.get.cache_clear()
        return resume(
            self.run, provider="slurm", slurm=slurm, store=self.store.url, **options
        )  # fmt: skip

    def status(self) -> Status:
        return derive(self.store, self.run, self.store.now())

    def machine(self) -> Machine:
        """The newest job that is written down: a start has none between its first two acts."""
        return [each.machine for each in self.status().attempts if each.machine][-1]

    def name(self) -> str:
        """The name of the run's jobs."""
        return self.machine().name

    def job(self) -> str:
        """The number of the newest attempt's job."""
        return self.machine().id

    def node(self) -> str:
        """Where the job runs."""
        return self.cluster.said("squeue", "--noheader", f"--job={self.job()}",
                                 "--format=%N").strip()  # fmt: skip

    def limit_soon(self) -> None:
        """Move the job's time limit to the next minute but one."""
        ran = self.cluster.said("squeue", "--noheader", f"--job={self.job()}", "--format=%M")
        minutes = int(ran.strip().split(":")[-2])
        limit = f"TimeLimit={minutes + 2}"
        self.cluster.run("scontrol", "update", f"JobId={self.job()}", limit)

    def held_at(self, step: int, attempt: int) -> None:
        """Wait until this attempt is held at the step, which is committed then."""
        wait_for(
            lambda: (s := self.status()).attempt == attempt and s.committed_step == step,
            self.told,
        )

    def over(self, state: str = "done") -> Status:
        """Wait until the run has ended and none of its jobs is left; its status."""
        wait_for(lambda: self.status().state == state, self.told)
        wait_for(lambda: not self.alive(), self.told)
        return self.status()

    def alive(self) -> list[str]:
        """The states of the run's jobs that have not ended."""
        ended = ("COMPLETED", "CANCELLED", "FAILED", "TIMEOUT", "NODE_FAIL", "PREEMPTED")
        return [each for each in self.cluster.states(self.name()) if each not in ended]

    def told(self) -> str:
        log = "\n".join(self.log())
        return f"{self.status()}\n{self.cluster.said('squeue', '--states=all')}\n{log}"

    def log(self) -> list[str]:
        logs = (self.folder / "state" / "mimir" / "slurm").glob("*.out")
        return [line for log in sorted(logs) for line in log.read_text().splitlines()]

    def assert_undisturbed(self) -> None:
        jobs.assert_same(self.store, self.run, "whole", self._whole)


@pytest.fixture
def ground(
    request: pytest.FixtureRequest, _cluster: Cluster, data: Path, undisturbed: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Ground]:  # fmt: skip
    words = request.node.name.removeprefix("test_").split("[")[0].replace("_", "-")[:24]
    shared = _cluster.folder / "shared"
    shared.mkdir(exist_ok=True)
    folder = shared / f"{words.strip('-')}-{len(list(shared.iterdir()))}"
    folder.mkdir()
    made = Ground(_cluster, folder, data, undisturbed)
    for variable, value in {**SECRETS, **_cluster.environment, **made.gate.environment}.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(HOOK), os.environ["PYTHONPATH"])))
    monkeypatch.setenv("MIMIR_SLURM_ENV", "MIMIR_TEST_GATE")
    monkeypatch.setenv("XDG_STATE_HOME", str(folder / "state"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    made.create()
    yield made
    made.gate.open()
    _cluster.run("scancel", "--me")
    for node in NODES:
        if not _cluster.has_node(node):
            _cluster.begin_node(node)
    wait_for(lambda: _cluster.idle() == set(NODES), lambda: _cluster.said("sinfo"))


class Her:
    """An ordinary user: nobody on this computer but a name, with a home that the nodes share.

    python: this Python at a place that every user may enter, and not below root's home.
    """

    def __init__(self, ground: Ground, data: Path, python: Path) -> None:
        self._ground, self.python, self.home = ground, python, ground.folder / "home"
        self.home.mkdir()
        self._data = self.home / "peptides.csv"
        jobs.copy_data(data, self._data)
        ground.store = open_store((self.home / "runs").as_uri())
        self.environ = {
            **os.environ, "HOME": str(self.home), "USER": "games",
            "PYTHONPATH": os.pathsep.join((str(ROOT), sysconfig.get_path("purelib"))),
            "XDG_STATE_HOME": str(self.home / "state"), "XDG_CACHE_HOME": str(self.home / "cache"),
            "MIMIR_SLURM": "--partition=cpu", "MIMIR_SLURM_ENV": "",
            "LD_LIBRARY_PATH": str(python.parents[1] / "lib"),
        }  # fmt: skip

    def submit(self, run: str, *options: str, **environ: str) -> None:
        """Submit a run of the ground's settings, which is the ground's from then on."""
        subprocess.run(["chown", "-R", "games:games", str(self.home)], check=True, timeout=LIMIT)
        tiny = [f"--{name.replace('_', '-')}={value}" for name, value in jobs.TINY.items()]
        done = self._ground.cluster.run(
            "setpriv", "--reuid=games", "--regid=games", "--clear-groups", str(self.python),
            "-m", "launch", "submit", "--preset", "smoke", "--name", run, "--provider", "slurm",
            "--data", str(self._data), "--store", self._ground.store.url, *tiny, *options,
            environ={**self.environ, **environ},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        self._ground.run = run

    def log(self) -> list[str]:
        """Of her jobs."""
        logs = (self.home / "state" / "mimir" / "slurm").glob("*.out")
        return [line for log in sorted(logs) for line in log.read_text().splitlines()]


@pytest.fixture
def her(ground: Ground, data: Path) -> Iterator[Her]:
    place = ground.folder / "python"
    place.mkdir()
    subprocess.run(["mount", "--bind", sys.base_prefix, str(place)], check=True, timeout=LIMIT)
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    yield Her(ground, data, place / "bin" / version)
    ground.cluster.run("scancel", "--user=games")
    wait_for(lambda: not ground.cluster.processes(str(place)), "her processes' end")
    subprocess.run(["umount", "--lazy", str(place)], check=True, timeout=LIMIT)
