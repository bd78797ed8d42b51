"""What the provider says to Slurm, and what it makes of Slurm's words."""

import shutil
from dataclasses import replace
from pathlib import Path
from unittest import mock

import pytest

from launch.contract.cloud import State
from launch.contract.errors import NotGone, ProviderError
from launch.contract.provider import AttemptSpec
from launch.providers.slurm import own_job, states
from launch.providers.slurm.commands import Commands
from launch.providers.slurm.provider import SlurmProvider
from mimir.errors import BadInput
from mimir.runs.store import open_store
from tests.launch.providers.slurm.paper import DOWN, Paper


class Login:
    """A provider on a cluster on paper."""

    def __init__(self, folder: Path, **environ: str) -> None:
        self.paper, self.now = Paper(), 1000.0
        self.environ = {"PATH": "/bin", "HOME": str(folder), "RUNPOD_API_KEY": "planted",
                        "SLURM_NTASKS": "8", "SBATCH_EXPORT": "ALL", **environ}  # fmt: skip
        self.provider = SlurmProvider(
            Commands(self.environ, self.paper.run), environ=self.environ,
            clock=lambda: self.now, sleep=self._sleep,
        )  # fmt: skip
        self.store = open_store((folder / "runs").as_uri())

    def spec(self, attempt: int = 1, *words: str, store: str = "") -> AttemptSpec:
        return AttemptSpec(store or self.store.url, "run", attempt, options=words)

    def _sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def login(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Login:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return Login(tmp_path)


def order(login: Login) -> tuple[list[str], dict[str, str]]:
    return next(call for call in login.paper.calls if call[0][0] == "sbatch")


def test_what_sbatch_is_told(login: Login) -> None:
    machine = login.provider.start(login.spec(3, "--account=physics", "--signal=USR1@60"))
    words, environ = order(login)
    assert machine.name.startswith("mimir-run-a0003-o")
    assert machine.queues
    assert f"--job-name={machine.name}" in words
    assert "--signal=B:USR1@60" in words
    assert "--requeue" in words
    assert "--open-mode=append" in words
    assert words[-1] == "--account=physics"
    assert "planted" not in str(environ)
    assert not {"SLURM_NTASKS", "SBATCH_EXPORT"} & environ.keys()
    exported = next(word for word in words if word.startswith("--export=")).partition("=")[2]
    assert set(exported.split(",")) <= environ.keys()
    assert not {"ALL", "NONE"} & set(exported.split(","))
    asked = ("--gres", "--mem", "--time", "--partition", "--cpus-per-task")
    assert not [word for word in words if word.startswith(asked)], "sites have their own defaults"
    assert "exec" in login.paper.jobs[machine.id]["batch"]
    assert "planted" not in login.paper.jobs[machine.id]["batch"]


def test_a_chain_is_several_jobs_of_one_name(login: Login) -> None:
    machine = login.provider.start(login.spec(1, "--no-requeue", "--chain=3"))
    assert [job["name"] for job in login.paper.jobs.values()] == [machine.name] * 3
    assert "--dependency=singleton" in order(login)[0]
    assert "--requeue" not in order(login)[0]
    login.paper.jobs["2"]["word"] = login.paper.jobs["3"]["word"] = "PENDING"
    login.provider.end(login.spec(), machine)
    assert not login.paper.jobs
    ended = [words[-1] for words, _ in login.paper.calls if words[0] == "scancel"]
    assert ended[:2] == ["2", "3"], "what waits goes first, or it starts where the first one ends"


def test_a_job_is_kept_from_coming_back_before_it_is_ended(login: Login) -> None:
    machine = login.provider.start(login.spec())
    login.provider.end(login.spec(), machine)
    said = [" ".join(words) for words, _ in login.paper.calls]
    held = said.index(f"scontrol update JobId={machine.id} Requeue=0")
    assert held < said.index(f"scancel --batch --signal=TERM {machine.id}")
    assert said.index(f"scancel --batch --signal=TERM {machine.id}") < said.index(
        f"scancel {machine.id}"
    )


def test_a_job_serves_later_attempts_and_no_other_run(login: Login) -> None:
    machine = login.provider.start(login.spec(2))
    for spec in (login.spec(1), AttemptSpec(login.store.url, "other", 2)):
        with pytest.raises(NotGone, match="it is not ended"):
            login.provider.end(spec, machine)
    login.provider.end(login.spec(5), machine)
    assert not login.paper.jobs


@pytest.mark.parametrize(
    ("detail", "said"), [("cluster", "on cluster other"), ("user", "user other's")]
)
def test_a_job_of_another_cluster_or_user_does_not_count_as_ended(
    login: Login, detail: str, said: str
) -> None:
    """Of both, squeue here shows nothing, as of a job that has ended."""
    machine = login.provider.start(login.spec())
    login.paper.jobs.clear()
    theirs = replace(machine, details={**machine.details, detail: "other"})
    assert login.provider.alive(theirs) is None
    with pytest.raises(ProviderError, match=said):
        login.provider.inspect(theirs)
    with pytest.raises(NotGone, match=f"{said}.*is not ended"):
        login.provider.end(login.spec(), theirs)
    assert login.provider.inspect(machine) is None


def test_a_job_is_not_gone_where_slurm_does_not_tell_its_name(login: Login) -> None:
    machine = login.provider.start(login.spec())
    login.provider._commands._cluster, login.paper.always = "", {"scontrol": DOWN}
    with pytest.raises(NotGone, match=r"does not tell its name.*is not ended"):
        login.provider.end(login.spec(), machine)


@pytest.mark.parametrize("word", [*states.STATES, "FROZEN", ""])
def test_only_a_known_word_says_that_a_job_is_gone(login: Login, word: str) -> None:
    machine = login.provider.start(login.spec())
    login.paper.jobs[machine.id]["word"] = word
    found = login.provider.inspect(machine)
    assert found is not None
    assert found.state is states.STATES.get(word, State.BROKEN)
    assert (login.provider.alive(machine) is False) == (word in states._GONE)


@pytest.mark.parametrize("reason", ["PartitionTimeLimit", "JobHeldUser", "InvalidAccount",
                                    "launch failed requeued held", "launch_failed_requeued_held",
                                    "DependencyNeverSatisfied"])  # fmt: skip
def test_a_reason_for_which_a_job_waits_for_ever(login: Login, reason: str) -> None:
    machine = login.provider.start(login.spec())
    login.paper.jobs[machine.id].update(word="PENDING", reason=reason)
    found = login.provider.inspect(machine)
    assert found is not None
    assert found.stuck
    assert found.stuck in found.said
    login.paper.jobs[machine.id].update(reason="Priority", begin="2026-11-29T10:00:00")
    found = login.provider.inspect(machine)
    assert found is not None
    assert found.stuck == ""
    assert "Priority, expected start 2026-11-29T10:00:00" in found.said


def test_a_line_that_is_no_job_is_an_error(login: Login) -> None:
    machine = login.provider.start(login.spec())
    login.paper.broken_line = "7|RUNN\n"
    assert login.provider.alive(machine) is None
    with pytest.raises(ProviderError, match="no job"):
        login.provider.adopt(login.spec())


def test_an_image_is_a_path_and_reaches_the_job(login: Login, tmp_path: Path) -> None:
    image = tmp_path / "x.sif"
    image.touch()
    assert login.provider.image_file(str(image)) == str(image)
    for wrong in ("mimir:latest", "nosuch.sif", str(tmp_path / "nosuch")):
        with pytest.raises(BadInput, match="it is the path of a"):
            login.provider.image_file(wrong)
    machine = login.provider.start(replace(login.spec(), image=str(image)))
    assert machine.image == str(image)
    assert f"--image {image}" in login.paper.jobs[machine.id]["batch"]


def test_keys_are_the_accounts_own(login: Login, tmp_path: Path) -> None:
    login.environ |= {"AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "planted"}
    with pytest.raises(BadInput, match=r"~/\.aws/credentials"):
        login.provider.start(login.spec(store="s3://bucket/runs?endpoint=http://127.0.0.1:1"))
    assert not login.paper.jobs


def test_without_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    provider = SlurmProvider(environ={"PATH": str(tmp_path)})
    with pytest.raises(BadInput, match="there is no scontrol here: --provider slurm"):
        provider.settle("")
    assert [check.status for check in provider.checks()] == ["warn"]


def test_commands_without_a_cluster(login: Login, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where only the packages are installed nothing is broken for who trains elsewhere."""
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    wrong = mock.Mock(side_effect=ProviderError("Slurm does not tell its name: no configuration"))
    monkeypatch.setattr(login.provider._commands, "cluster", wrong)
    (check,) = login.provider.checks()
    assert check.status == "warn"
    assert "cannot be submitted from here" in check.details


def test_of_a_long_log_only_the_end_is_read(tmp_path: Path) -> None:
    log = tmp_path / "job.out"
    log.write_bytes(b"x" * 5000 + b"\nthe end\n")
    assert own_job.end_of(log, 100).splitlines()[-1] == "the end"
    assert len(own_job.end_of(log, 100)) == 100
    assert len(own_job.end_of(log)) == 5009
