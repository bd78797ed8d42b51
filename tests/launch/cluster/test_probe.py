"""The job that asks a node what it sees, on a cluster on paper."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from launch.cluster import probe
from launch.contract.errors import ProviderError
from launch.providers.slurm.commands import Commands
from mimir.errors import BadInput, MimirError, StoreUnfit
from mimir.runs.file_store import FileStore
from tests.launch.providers.slurm.paper import Paper


class Cluster(Paper):
    """Its node runs what the job's script says, with these words replaced."""

    def __init__(self) -> None:
        super().__init__()
        self.other: dict[str, str] = {}
        self.word = ""
        self.reason = "None"
        self.ended: list[str] = []
        self.text = ""

    def _sbatch(self, words: list[str], text: str) -> str:
        number = super()._sbatch(words, text)
        self.text = text
        job = self.jobs[number.strip()]
        job["reason"] = self.reason
        if self.word:
            job["word"] = self.word
            return number
        found = re.search(r"said=\$\((.*) 2>&1\)", text)
        assert found
        program = shlex.split(found[1])[3:]
        given = {name.removeprefix("--"): self.other.get(value, value)
                 for name, value in zip(program[::2], program[1::2], strict=True)}  # fmt: skip
        try:
            probe.see(**given)
            job |= {"word": "COMPLETED", "comment": "node gpu1 sees it"}
        except MimirError as error:
            job |= {"word": "FAILED", "comment": f"python -m {probe.PROGRAM}: {error}"}
        return number

    def _scancel(self, words: list[str], text: str) -> str:
        self.ended += words
        return super()._scancel(words, text)


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("SLURMD_NODENAME", "gpu1")
    monkeypatch.setattr(probe, "SEEN_WITHIN", 0.0)
    return Cluster()


def ask(cluster: Cluster, url: str = "", slurm: str = "") -> tuple[str, list[str]]:
    """The node's word, and what was told meanwhile."""
    told: list[str] = []
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    environ = {"PATH": "/bin", "HOME": "/home/me", "RUNPOD_API_KEY": "planted"}
    prober = probe.Prober(
        Commands(environ, cluster.run), told.append, 60.0, environ, sleep, lambda: now[0]
    )
    return prober.ask(url, slurm), told


def left(folder: Path) -> list[str]:
    return [str(path) for path in folder.rglob("*probe*") if path.is_file()]


@pytest.mark.parametrize("with_store", [True, False])
def test_a_node_that_sees_all(cluster: Cluster, tmp_path: Path, with_store: bool) -> None:
    url = (tmp_path / "runs").as_uri() if with_store else ""
    said, told = ask(cluster, url, "--partition=long --time=4:00:00")
    assert said == "node gpu1 sees it"
    assert told == ["job 1 asks a node what it sees"]
    words, environ = next(call for call in cluster.calls if call[0][:2] == ["sbatch", "--parsable"])
    assert words[-3:-1] == ["--no-requeue", "--time=5"]
    assert "planted" not in f"{words}{environ}{cluster.text}"
    assert left(tmp_path) == []


@pytest.mark.parametrize(
    ("hidden", "said"),
    [
        ("runs", r"does not reach the store .*what the login node wrote is not there"),
        ("state/mimir/slurm", "does not see .*, where the jobs' logs are"),
    ],
)
def test_a_node_that_does_not(cluster: Cluster, tmp_path: Path, hidden: str, said: str) -> None:
    for form in (str, Path.as_uri):
        cluster.other[form(tmp_path / hidden)] = form(tmp_path / "elsewhere")
    with pytest.raises(BadInput, match=said) as caught:
        ask(cluster, (tmp_path / "runs").as_uri())
    assert str(caught.value).startswith("job 1 on gpu1 ended as failed: node gpu1")
    assert left(tmp_path) == []


def test_a_store_that_takes_a_write_over_the_nodes(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = FileStore.compare_and_swap

    def lax(store: FileStore, key: str, data: bytes, version: str) -> str:
        return "v" if data == b"stale" else real(store, key, data, version)

    monkeypatch.setattr(FileStore, "compare_and_swap", lax)
    with pytest.raises(StoreUnfit, match="took a write over what node gpu1 had written"):
        ask(cluster, (tmp_path / "runs").as_uri())


def test_a_node_whose_writes_are_not_seen_here(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FileStore, "compare_and_swap", lambda *_: "v")
    monkeypatch.setattr(probe.probe, "conditions", lambda *_: {})
    with pytest.raises(StoreUnfit, match="is not seen here"):
        ask(cluster, (tmp_path / "runs").as_uri())


def stays(cluster: Cluster) -> None:
    cluster.word, cluster.reason = "PENDING", "Priority"


def hangs(cluster: Cluster) -> None:
    cluster.word = "RUNNING"


def held(cluster: Cluster) -> None:
    cluster.word, cluster.reason = "PENDING", "JobHeldUser"


def silent(cluster: Cluster) -> None:
    cluster.word = "FAILED"


def away(cluster: Cluster) -> None:
    cluster.always["squeue"] = "it is away"


def refused(cluster: Cluster) -> None:
    cluster.always["sbatch"] = "Invalid account"


@pytest.mark.parametrize(
    ("arm", "kind", "said", "cancelled"),
    [
        (
            stays,
            ProviderError,
            r"pending \(Priority\) is not over after 1.0 min, and is canc",
            True,
        ),
        (hangs, ProviderError, "running is not over after 5.0 min", True),
        (held, BadInput, "scontrol release 1.; it is cancelled", True),
        (away, ProviderError, "Slurm tells nothing .*it is away.*is not over after", True),
        (silent, BadInput, "ended as failed: and left no word", False),
        (refused, BadInput, "Slurm refuses the job that probes: Invalid account", False),
    ],
)
def test_a_job_that_tells_nothing(
    cluster: Cluster, arm: Callable[[Cluster], None], kind: type[Exception], said: str,
    cancelled: bool, tmp_path: Path,
) -> None:  # fmt: skip
    arm(cluster)
    with pytest.raises(kind, match=said):
        ask(cluster, (tmp_path / "runs").as_uri())
    assert cluster.ended == (["1"] if cancelled else [])
    assert left(tmp_path) == []


def test_a_bad_option_is_refused_before(cluster: Cluster) -> None:
    with pytest.raises(BadInput, match="no partition 'nosuch'"):
        ask(cluster, slurm="--partition=nosuch")
    assert cluster.orders() == 0
