"""Removes runs, for `rm`, `prune` and `sweep --remove`: what goes, and in which order.

Nothing that is at work is removed: it is stopped first. Machines are ended and seen to be gone
before anything of a run is deleted, because its orders and machine records are all that tells of
them. The order of things, and who may come in between, is told in `mimir.runs.remove`.
"""

import contextlib
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

from launch.contract import state
from launch.contract.provider import Provider
from launch.pricing import bill, budget
from launch.providers import registry
from launch.provision import kept_plan, ledger, settle, terminate
from launch.supervise import diagnosis
from launch.ui import runs
from mimir.errors import BadInput, Corrupt, OtherFormat, sentence
from mimir.runs import layout, notes, orders, remove, tombstone
from mimir.runs import sweep as sweeps
from mimir.runs.attempts import AttemptStatus
from mimir.runs.notes import Gone
from mimir.runs.record import find_run
from mimir.runs.remove import Target
from mimir.runs.status import Status, derive
from mimir.runs.store import Store
from mimir.text import one_line, size

Say = Callable[[str], None]
Providers = Callable[[str], Provider]

WHY = "its run is removed"


@dataclass(frozen=True)
class Leaving:
    """A run that somebody wants to remove, and what goes with it.

    state, step, dollars: as its status, "" and None where it cannot be read. bytes: of what HEAD
    and run.json name: data, code, checkpoints, model. objects: all of them. refused: why it is not
    to be removed, in one sentence, or "". problem: why its status cannot be read, or "".
    """

    target: Target
    state: str = ""
    step: int | None = None
    bytes: int = 0
    objects: int = 0
    dollars: float | None = None
    refused: str = ""
    problem: str = ""

    @property
    def run(self) -> str:
        return self.target.run

    @property
    def words(self) -> str:
        """One line for people."""
        if self.target.deleting:
            return f"{self.run}: its removal was cut off, {self.objects} objects are left"
        if not self.target.exists:
            return f"{self.run}: {self.objects} objects that were written after its removal"
        parts = [self.state or f"cannot be read ({self.problem})"]
        parts += [f"step {self.step}"] if self.step is not None else []
        parts += [f"at least {size(self.bytes)} in {self.objects} objects"]
        parts += [f"${self.dollars:.2f} spent"] if self.dollars is not None else []
        return one_line(f"{self.run}: {', '.join(parts)}")

    def as_json(self) -> dict[str, Any]:
        body = {name: value for name, value in asdict(self).items() if name != "target"}
        return {"run": self.run, **body}


def look(
    store: Store, run: str, say: Say, provider: Providers = registry.get, *, of_sweep: bool = False
) -> Leaving:
    """What would go with the run of this name.

    of_sweep: its sweep is removed with it; else a run of a sweep is refused.

    Raises:
        BadInput: there is no such run, and nothing is left of one.
    """
    layout.check_run(run)
    target = remove.target(store, run)
    objects = sum(1 for _ in store.list(f"{run}/"))
    if not target.exists and not target.deleting:
        if not target.version:
            hint = f": {_of_sweep(run)}" if sweeps.find(store, run) else ""
            raise BadInput(f"there is no run {run} in {store.url}{hint}")
        return Leaving(target, objects=objects)
    if target.deleting:
        return Leaving(target, objects=objects)
    try:
        status = derive(store, run, store.now())
    except OtherFormat:
        raise
    except Exception as error:  # noqa: BLE001 - what cannot be read can be removed
        refused = _machine_at_work(store, run, provider)
        return Leaving(target, objects=objects, refused=refused, problem=sentence(error))
    refused = "" if of_sweep else _kept_by_sweep(store, status)
    refused = refused or at_work(store, status, say, provider)
    if not refused and settle.run(store, status, provider):
        status = derive(store, run, store.now())
    dollars = bill.bill(status, status.at).dollars
    return Leaving(
        target, status.state, status.step, _bytes(store, status), objects, dollars, refused
    )


def at_work(store: Store, status: Status, say: Say, provider: Providers = registry.get) -> str:
    """Why the run must be stopped before it is removed, "" if nothing is at work."""
    run, newest = status.run, orders.newest_order(store, status.run)
    order = notes.read_order(store, run, newest) if newest else None
    if order is not None and newest > status.attempt and orders.is_fresh(order, status.at):
        return f"attempt {newest} of run {run} is being ordered: try again in two minutes"
    last = status.attempts[-1].order if status.attempts else None
    sign = diagnosis.busy(diagnosis.look(store, status, last, provider, say=say))
    if not sign:
        return ""
    return (
        f"run {run} is {status.state} (attempt {status.attempt} {sign}): stop it first by "
        f"`{runs.command('stop', run)}`"
    )


def carry_out(
    store: Store, leaving: Leaving, why: str, say: Say, provider: Providers = registry.get
) -> int:
    """Remove the run; how many objects went. It may be repeated after a cut.

    say: is told of attempts whose order or machine cannot be read.

    Raises:
        BadInput: it is at work, or of a sweep.
        Fenced: it is not as it was when it was looked at.
        NotGone, UnknownOutcome, ProviderError: a machine of it cannot be seen to be gone now.
    """
    it, run = leaving.target, leaving.run
    if leaving.refused:
        raise BadInput(leaving.refused)
    if not (it.exists or it.deleting):
        return remove.collect(store, run)
    if not it.deleting:
        remove.mark(store, it, why)
        damaged = {each.attempt: each.damage for each in _unseen(store, run) if each.damage}
        end_machines(store, it, provider)
        spent, unread = ledger.by_month(store, run, store.now())
        for attempt, problem in {**dict(unread), **damaged}.items():
            say(_unknown(run, attempt, problem))
        remove.bury(store, it, spent)
    # Also of who ordered one before they could see the tombstone.
    end_machines(store, it, provider)
    count = remove.clear(store, run)
    kept_plan.forget(store.url, run)
    shutil.rmtree(state.of_run("notified", store.url, run), ignore_errors=True)
    return count


def end_machines(store: Store, it: Target, provider: Providers = registry.get) -> None:
    """End all machines of the run, and see that they are gone.

    Raises as `terminate.close`, and Fenced if the run is another one by now. The attempts are
    listed before that is asked, and a number is never used again under a name, so no machine of
    another run is ended, however long this process sleeps in between.
    """
    run = it.run
    newest = orders.newest_order(store, run)
    for attempt in _unseen(store, run):
        order = attempt.order
        if attempt.machine is None and (order is None or not order.attended):
            continue  # a person's own, in a terminal or a notebook
        remove.must_be_same(store, it)
        if budget.price_of(attempt):
            # One that ended itself counts until then, and not until it was removed.
            settle.settle(store, run, attempt, newest, store.now(), provider)
        terminate.close(store, run, attempt, Gone(store.now(), "over", WHY), provider)


def _unknown(run: str, attempt: int, problem: str) -> str:
    return (
        f"run {run}: what its attempt {attempt} cost is not known, and budgets do not count it "
        f"({problem}); if it left a machine, `python -m launch reap` finds that"
    )


def _unseen(store: Store, run: str) -> list[AttemptStatus]:
    """The attempts whose machine nobody has seen to be gone; damage: of order or machine."""
    keys = set(store.list(f"{layout.launcher_folder(run)}/a"))
    numbers = {number for key in keys if (number := layout.parse_attempt(run, key))}
    found = []
    for number in sorted(numbers):
        if layout.gone_key(run, number) in keys:
            continue
        wrong: list[str] = []
        machine = notes.unless_damaged(notes.read_machine, store, run, number, wrong)
        order = notes.unless_damaged(notes.read_order, store, run, number, wrong)
        damage = "; ".join(wrong)
        found.append(AttemptStatus(number, None, "", machine=machine, order=order, damage=damage))
    return found


def _machine_at_work(store: Store, run: str, provider: Providers) -> str:
    for attempt in _unseen(store, run):
        machine = attempt.machine
        if attempt.damage and machine is None:
            machine = terminate.adopt(store, run, attempt, provider)
        place = provider(machine.provider) if machine and _known(machine.provider) else None
        if machine is not None and place is not None and place.alive(machine):
            ends = runs.ending_command(machine.provider, machine.id)
            return (
                f"run {run} cannot be read, and the machine of its attempt {attempt.attempt} is "
                f"there ({runs.machine_text(machine)}): end it first by `{ends}`"
            )
    return ""


def _known(provider: str) -> bool:
    return provider in registry.names()


def _kept_by_sweep(store: Store, status: Status) -> str:
    """A run of a sweep follows from its list, and would be made again."""
    if not status.sweep or sweeps.find(store, status.sweep) is None:
        return ""
    return f"run {status.run} is of sweep {status.sweep}: {_of_sweep(status.sweep)}"


def _of_sweep(sweep: str) -> str:
    return f"`python -m launch sweep {sweep} --remove` removes the sweep with all its runs"


def _bytes(store: Store, status: Status) -> int:
    known = [kept.size for kept in status.kept]
    with contextlib.suppress(Corrupt):
        record = find_run(store, status.run)
        known += [each.size for each in record.own] if record else []
        head = orders.head_or_remembered(store, status.run)
        known += [head[0].model.size] if head and head[0].model else []
    return sum(known)


def cut_off(store: Store, say: Say) -> tuple[list[str], list[Leaving]]:
    """Names of runs whose removal was begun and not finished, and what machines of removed runs
    have written since. The latter is no run: a new one may have the name, which loses nothing.

    say: is told which tombstones cannot be read.
    """

    def left(run: str) -> tuple[bool, Leaving | None]:
        try:
            made, version = tombstone.read(store, run)
        except (Corrupt, OtherFormat) as error:
            say(f"whether a removal of run {run} was cut off cannot be read: {error}")
            return False, None
        if made is None or made.word == tombstone.DELETING:
            return made is not None, None
        objects = len(remove.left(store, made))
        none = Target(run, made.attempt, "", exists=False, deleting=False, version=version)
        return False, Leaving(none, objects=objects) if objects else None

    names = tombstone.names(store)
    with ThreadPoolExecutor(max_workers=remove.AT_ONCE) as pool:
        found = list(pool.map(left, names))
    begun = [run for run, (deleting, _) in zip(names, found, strict=True) if deleting]
    return begun, [each for _, each in found if each]
