"""A cluster under Slurm: an attempt is a batch job, which its cluster starts again.

What was seen on Slurm 22.05 and shaped this:

- a requeue is a new attempt, which fences the one before, also on a node that the cluster has
  lost while its worker lives on (launch/cluster/job.py);
- without --signal=B: a batch script hears nothing before the end of a preemption's grace;
- a job is ended in several steps (ending.py);
- sbatch takes a time limit that no node of the partition allows, and the job waits for ever;
- an sbatch whose answer is lost may have been carried out: the job is found by its name;
- a finished job is forgotten after MinJobAge, with accounting or without.
"""

import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from launch.contract import state
from launch.contract.cloud import (
    Instance,
    State,
    machine_name,
    owner_of,
    parse_name,
    shared_name,
)
from launch.contract.errors import (
    NotGone,
    ProviderError,
    UnknownOutcome,
)
from launch.contract.offer import Offer
from launch.contract.provider import AttemptSpec, Caps, Check, Machine
from launch.contract.redaction import Secrets
from launch.providers.machine_names import MachineNames
from launch.providers.slurm import environment, errors, options, script, shared_job
from launch.providers.slurm.commands import NOT_HERE, Commands
from launch.providers.slurm.ending import GRACE, Ending
from launch.providers.slurm.options import gpu_of as asked_for
from launch.providers.slurm.own_job import end_of, must_be_here
from launch.providers.slurm.own_job import machine as of_job
from launch.providers.slurm.partitions import Partitions
from launch.providers.slurm.shared_job import Part
from mimir.errors import BadInput, MimirError
from mimir.runs import owner
from mimir.runs.store import Store, open_store

LOST_TRIES = 5
"""Looks for a job whose order was not answered."""
_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


class SlurmProvider:
    """Jobs of the user's own on the cluster of this login node; a Provider.

    Args:
        commands: Slurm's.
        environ: of which jobs get what environment.py names.
        opener: opens the store of an attempt, for its id in a job's name.
    """

    name = "slurm"
    caps = Caps(
        paid=False, image=True, queues=True, shares=True, runs_installed_code=True,
        hosts={"": "nodes of your cluster"},
    )  # fmt: skip

    def __init__(
        self,
        commands: Commands | None = None,
        *,
        environ: Mapping[str, str] = os.environ,
        opener: Callable[[str], Store] = open_store,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
        grace: float = GRACE,
    ) -> None:
        self._secrets = commands.secrets if commands else Secrets()
        self._commands = commands or Commands(environ, secrets=self._secrets)
        self._environ, self._opener = environ, opener
        self._names = MachineNames(opener)
        self._clock, self._sleep = clock, sleep
        self._ending = Ending(self._commands, clock, sleep, grace)

    def choices(self, gpus: tuple[str, ...]) -> Sequence[Offer | None]:
        if gpus:
            raise BadInput(
                "--gpu means nothing to Slurm, whose sites name their GPUs themselves: say "
                "--slurm '--gres=gpu:NAME:1' or --slurm '--constraint=NAME'"
            )
        return (None,)

    def checks(self) -> list[Check]:
        if shutil.which("sbatch") is None:
            return [Check("slurm", "warn", NOT_HERE.format("sbatch"))]
        try:
            found = [Check("slurm", "ok", f"cluster {self._commands.cluster()}")]
        except ProviderError as error:  # its commands are here, and no cluster: nothing is broken
            return [Check("slurm", "warn", f"{error}; its jobs cannot be submitted from here")]
        unread = sorted(name for name in self._environ if name.startswith("SBATCH_"))
        if unread:
            names = ", ".join(unread)
            found.append(Check("slurm options", "warn", f"{names}: not passed on; say the same in "
                               f"${options.VARIABLE}"))  # fmt: skip
        asked = " ".join(self.settle("")) or "none"
        return [*found, Check("slurm options", "ok", asked)]

    def settle(self, words: str, before: tuple[str, ...] = ()) -> tuple[str, ...]:
        """The options for sbatch: the user's file, $MIMIR_SLURM and these words, checked.

        before: those of the run's last job, which hold where nothing is said now.

        Raises:
            BadInput: there is no Slurm here, or it would refuse them, or a job with them would
                wait for ever or do nothing.
        """
        asked = before if before and not words.strip() else options.given(words, self._environ)
        found = options.parse(asked)
        environment.of_job(self._environ)
        self._partitions().check(found)
        try:
            argv = ["sbatch", "--test-only", *found.words]
            code, _, err = self._commands.ask(*argv, text="#!/bin/sh\n")
        except ProviderError:
            return asked  # the order itself tells
        refused = errors.refused(self._commands.words(err)) if code != 0 else None
        if isinstance(refused, BadInput):
            raise refused
        return asked

    def gpu_of(self, options: tuple[str, ...]) -> str:
        return asked_for(options)

    def image_file(self, image: str) -> str:
        """Its absolute path, which the nodes must have too: a job looks for it there, and for
        what starts it (launch/cluster/container.py)."""
        path = Path(image).expanduser().absolute()
        if set(":,") & set(str(path)):
            raise BadInput(f"--image {image}: on a cluster it is the path of a .sif or .sqfs file "
                           "or of a folder, without colons and commas")  # fmt: skip
        if not (path.is_file() or path.is_dir()):
            raise BadInput(f"--image {image}: there is no such file or folder; on a cluster it is "
                           "the path of a .sif or .sqfs file or of a folder")  # fmt: skip
        return str(path)

    def start(self, spec: AttemptSpec) -> Machine:
        self._secrets.learn_environment(spec.env)
        self._must_have_keys(spec)
        name = self._names.to_order(spec, self._opener(spec.store))
        found = self.adopt(spec)
        if found is not None:
            return found
        asked = options.parse(spec.options)
        limit = self._partitions().limit(asked)
        jobs = self._commands.jobs(spec.behind) if spec.behind else []
        before = [job.id for job in jobs if job.state is not State.GONE]
        env = {**environment.of_job(self._environ), **_without_keys(spec.env)}
        folder = state.folder() / "slurm"
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise BadInput(
                f"cannot make {folder} for the jobs' logs: {error.strerror}; set XDG_STATE_HOME "
                "to a folder that the nodes see too"
            ) from error
        argv = [
            "sbatch", "--parsable", f"--job-name={name}", f"--output={folder}/{name}.%j.out",
            "--open-mode=append", f"--export={','.join(sorted(env))}",
            "--requeue" if asked.requeue else "--no-requeue",
            f"--signal=B:{asked.signal}@{asked.lead_within(limit)}",
            *(["--dependency=singleton"] if asked.chain else []), *options.without_own(asked.words),
            *asked.behind(before),
        ]  # fmt: skip
        numbers: list[str] = []
        for _ in range(max(1, asked.chain)):
            try:
                numbers.append(self._order(argv, script.of(spec), env))
            except UnknownOutcome as error:
                return self._looked_for(spec, name, error)
            except MimirError:
                for number in numbers:
                    self._commands.ask("scancel", number)
                raise
        return self._machine(spec, numbers[0], name)

    def adopt(self, spec: AttemptSpec) -> Machine | None:
        name = self._names.of(spec)
        found = [job for job in self._commands.jobs(name) if job.state is not State.GONE]
        return self._machine(spec, found[0].id, name) if found else None

    def inspect(self, machine: Machine) -> Instance | None:
        """The job as Slurm shows it, also one that has ended lately; None if there is none.

        ProviderError if Slurm does not tell, or the job is another cluster's or user's.
        """
        must_be_here(self._commands, machine)
        jobs = self._commands.jobs(machine.name)
        order = (State.RUNNING, State.BROKEN, State.SUSPENDED, State.PENDING)
        ranked = sorted(jobs, key=lambda job: order.index(job.state) if job.state in order else 9)
        if not ranked:
            return None
        return (jobs[-1] if ranked[0].state is State.GONE else ranked[0]).instance()

    def alive(self, machine: Machine) -> bool | None:
        try:
            found = self.inspect(machine)
        except (ProviderError, BadInput):
            return None
        return found is not None and found.state is not State.GONE

    def end(self, spec: AttemptSpec, machine: Machine) -> None:
        """Also takes it off the queue. All jobs of the name: a chain has several.

        Of a job that other runs still need, this run's part alone is ended.
        """
        part = shared_job.find(self._opener(spec.store), spec)
        self._must_be_ours(spec, machine, part)
        self._ending.end(machine, part)

    def output(self, machine: Machine, lines: int) -> list[str]:
        """Of the newest job's log, which Slurm writes on this account's own folder."""
        if parse_name(machine.name) is None:  # a name alone: the store must not choose a file
            return []
        try:
            found = (state.folder() / "slurm").glob(f"{machine.name}.*.out")
            newest = max(found, key=lambda path: path.stat().st_mtime, default=None)
            text = end_of(newest) if newest else ""
        except OSError:
            return []
        told = shared_job.lines_of(machine.part_of, text.splitlines())
        return self._secrets.clean("\n".join(told[-lines:])).splitlines()

    def _machine(self, spec: AttemptSpec, number: str, name: str) -> Machine:
        found = of_job(self._commands, number, name, self._clock())
        own = found.shared_by(spec.run) if spec.job else found
        return replace(own, image=spec.image)

    def _order(self, argv: Sequence[str], text: str, env: Mapping[str, str]) -> str:
        try:
            code, out, err = self._commands.ask(*argv, text=text, env=env)
        except ProviderError as error:
            raise UnknownOutcome(f"{error}: the job may have been taken") from error
        if code != 0:
            raise errors.refused(self._commands.words(err))
        number = out.strip().split(";")[0]
        if not number.isdigit():
            raise UnknownOutcome(f"sbatch printed no job's number but {self._commands.words(out)}")
        return number

    def _looked_for(self, spec: AttemptSpec, name: str, lost: UnknownOutcome) -> Machine:
        """The job of an order whose answer was lost; the error again if none is seen."""
        for _ in range(LOST_TRIES):
            try:
                found = self.adopt(spec)
            except ProviderError:
                found = None
            if found is not None:
                return found
            self._sleep(1.0)
        raise UnknownOutcome(f"{lost}; no job {name} is seen yet") from lost

    def _partitions(self) -> Partitions:
        return Partitions.ask(self._commands)

    def _must_have_keys(self, spec: AttemptSpec) -> None:
        """No key is given to a job, which may wait for days and shows what it was given."""
        given = set(_KEYS) & set(spec.env) or (
            spec.store.startswith("s3://")
            and self._environ.get("AWS_ACCESS_KEY_ID")
            and not self._environ.get("AWS_PROFILE")
            and not _has_own_keys(self._environ)
        )
        if given:
            raise BadInput(
                "a job gets no keys to the store from here: put them into ~/.aws/credentials of "
                "this account, where its jobs find them, and leave --role and --static-keys out"
            )

    def _must_be_ours(self, spec: AttemptSpec, machine: Machine, part: Part | None) -> None:
        """A job has the name of the attempt that it was ordered for, and runs later ones too; or,
        if several runs share it, the one that this attempt's order gives it."""
        place = parse_name(machine.name)
        ours = owner.read(self._opener(spec.store))
        wanted = machine_name(spec.run, spec.attempt, ours)
        named = place is not None and place[0] == spec.run and place[1] <= spec.attempt
        if part is not None:
            wanted = shared_name(part.shared.job, ours)
            named = machine.name == wanted
        if not (named and ours and owner_of(machine.name) == ours):
            raise NotGone(
                f"job {machine.id} has the name {machine.name!r} and not {wanted}: it is not "
                f"ended; look at it by `squeue --job={machine.id}`"
            )


def _without_keys(env: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in env.items() if name not in _KEYS}


def _has_own_keys(environ: Mapping[str, str]) -> bool:
    named = [environ.get(n) for n in ("AWS_SHARED_CREDENTIALS_FILE", "MIMIR_CREDENTIALS_FILE")]
    paths = [each for each in named if each] or [os.path.expanduser("~/.aws/credentials")]
    return any(os.path.exists(path) for path in paths)
