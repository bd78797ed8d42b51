"""Slurm on paper for the conformance suite."""

from typing import Any

from launch.contract.cloud import State
from launch.contract.errors import AuthFailed, NoCapacity
from launch.contract.provider import AttemptSpec
from launch.providers.slurm.commands import Commands
from mimir.errors import BadInput
from mimir.runs import owner
from mimir.runs.store import open_store
from tests.launch.providers.conformance.harness import Harness, Place, register, row_class
from tests.launch.providers.conformance.leaks import SECRETS
from tests.launch.providers.slurm.paper import DOWN, LOST, SLOW, Paper

FULL = "Batch job submission failed: Job violates accounting/QOS policy (job submit limit)"
STRANGER = "Batch job submission failed: Protocol authentication error"
WRONG = "Batch job submission failed: Invalid feature specification"
HALF = "12|RUNNING"
_MONEY = "a cluster asks its users for no money"


@register
class SlurmHarness(Harness):
    name = "slurm"
    secrets = {name: value for name, value in SECRETS.items() if not name.startswith("AWS_")}
    lost = (LOST,)
    unsent = (SLOW, DOWN)
    unended = (SLOW, LOST, DOWN)
    silent = (SLOW, DOWN, "slurm_load_jobs error: Invalid job id specified")
    broken_lists = (DOWN, SLOW)
    broken_pages = ()
    refusals = {NoCapacity: FULL, AuthFailed: STRANGER, BadInput: WRONG}
    exceptions = {
        "BalanceEmpty_is_told": _MONEY,
        "RateLimited_is_told": "Slurm's own commands wait and try again by themselves",
        "Leaked_is_told": "a job that sbatch refuses is not there",
        "what_is_asked_before_an_order_shows_no_secret": "there is no market to ask for offers",
        "a_state_shows_no_secret": "a job's word is one of Slurm's own and quotes nothing",
        "all_pages_are_read": "squeue has one page, with all jobs on it",
        "a_list_that_breaks_off_is_an_error": "squeue has one page, with all jobs on it",
    }

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        place.patch.setenv("XDG_STATE_HOME", str(place.folder / "state"))
        self.paper = Paper()
        self.now = 1000.0
        self.url = (place.folder / "store").as_uri()
        place.patch.setattr(owner, "read", lambda store: "")
        place.patch.setattr(owner, "identify", lambda store: "")
        place.patch.setattr(
            "launch.providers.slurm.provider.SlurmProvider._must_be_ours", lambda *_: None
        )
        self.another()

    def another(self) -> None:
        self.provider = row_class(self.name)(
            Commands({"PATH": "/bin", "HOME": "/home/ada"}, self.paper.run), environ={},
            opener=open_store, clock=lambda: self.now, sleep=self._sleep,
        )  # fmt: skip

    def spec(self, attempt: int = 1) -> AttemptSpec:
        return AttemptSpec(self.url, "run", attempt, env=self.secrets)

    def broken(self, machine: Any) -> bool:
        found = self.provider.inspect(machine)
        return found is not None and found.state is State.BROKEN

    def listed(self) -> list[str]:
        return sorted(
            job.name for job in self.provider._commands._queue()
            if job.name.startswith("mimir-") and job.state is not State.GONE
        )  # fmt: skip

    def creates(self) -> int:
        return self.paper.orders()

    def machines(self) -> list[str]:
        return sorted(job["name"] for job in self.paper.jobs.values())

    def arm_order(self, fault: str) -> None:
        self.paper.once["sbatch"] = fault

    def arm_end(self, fault: str) -> None:
        self.paper.once["scancel"] = fault

    def arm_look(self, fault: str) -> None:
        self.paper.always["squeue"] = fault

    arm_list = arm_look

    def disarm(self) -> None:
        self.paper.always.clear()
        self.paper.immortal = False

    def keep(self) -> None:
        self.paper.immortal = True

    def quote_order(self, text: str) -> None:
        self.paper.once["sbatch"] = text

    def quote_all(self, text: str) -> None:
        self.paper.immortal = True
        self.paper.always = {"squeue": text, "scancel": text}

    def say(self, machine: Any, word: str) -> None:
        self.paper.jobs[machine.id]["word"] = word

    def prints(self, machine: Any, lines: list[str]) -> None:
        folder = self.place.folder / "state" / "mimir" / "slurm"
        (folder / f"{machine.name}.{machine.id}.out").write_text("\n".join(lines) + "\n")

    def stranger(self, name: str) -> None:
        self.paper.add(name)

    def _sleep(self, seconds: float) -> None:
        self.now += seconds
