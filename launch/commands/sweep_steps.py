"""The steps of `sweep`: what is asked for, the plan, the beginning, the keeping, the table."""

import json as json_text
import sys
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from launch.commands import options
from launch.commands.rent_options import RentOptions
from mimir import console
from mimir.cli import check_count
from mimir.errors import INTERRUPTED, BadInput, StoreDenied, StoreError, StoreUnfit

if TYPE_CHECKING:
    from launch.contract.provider import Provider
    from launch.sweep.keep import Round
    from launch.sweep.plan import Cost
    from mimir.data.opened import Data
    from mimir.runs.order import Plan
    from mimir.runs.store import Store
    from mimir.runs.sweep import Sweep

ROUND_LOCAL, ROUND_REMOTE = 1.0, 30.0
"""Seconds between rounds, where all runs are this computer's and where a service is asked."""


@dataclass(frozen=True)
class Said:
    """What was said; None for what was not. max_cost: 0 for no limit."""

    rent: RentOptions
    at_once: int | None
    max_cost: float | None
    per_job: int | None


@dataclass(frozen=True)
class Work:
    """A sweep to begin or to go on with. data: None where it is in the store already.

    left: steps of each run that is not finished. limit: dollars of each of them, 0 for none.
    """

    sweep: "Sweep"
    plan: "Plan"
    places: list["Provider"]
    at_once: int
    max_cost: float
    limit: float
    left: dict[str, int]
    data: "Data | None" = None
    resumed: bool = False
    per_job: int = 1


def new(
    store: "Store", name: str, preset: str, grid: str, draws: int, file: str, data: str,
    settings: dict[str, object], said: Said,
) -> Work:  # fmt: skip
    """The work of a sweep that is listed now, or was listed so before."""
    from launch.sweep import grid as grids
    from launch.sweep.plan import listed
    from mimir.data.opened import open_data
    from mimir.runs import layout
    from mimir.runs import sweep as lists
    from mimir.runs.order import Plan

    layout.check_sweep(name)
    grids.check_no_secret(" ".join(f"{key}={value}" for key, value in settings.items()))
    rows = grids.runs(grid, draws, file, name)
    both = [key for key in settings if any(key in row for row in rows)]
    if both:
        raise BadInput(f"--{both[0]} is a setting of all runs, and in the grid: remove one")
    plan = said.rent.onto(Plan(("local",)))
    plan = replace(plan, card=_card(settings, plan))
    opened = open_data(data)
    wanted = listed(name, preset, settings, rows, opened, plan, said.at_once or 0,
                    said.max_cost or 0.0, store.now(), said.per_job or 1)  # fmt: skip
    before = lists.find(store, name)
    if before is not None:
        lists.check_same_list(store, before, wanted)
    return _work(store, before or wanted, plan, said, opened, exists=before is not None)


def existing(store: "Store", sweep: "Sweep", said: Said) -> Work:
    """The work of a sweep that goes on, under its plan but for what is said anew."""
    from launch.provision import kept_plan
    from launch.ui.terminal import say
    from mimir.runs.order import KeySource

    plan = sweep.plan
    doubt = kept_plan.doubt(store.url, sweep.members[0].run, plan)
    if doubt:  # as `resume` does
        say(f"keys and image are not taken from the store, because {doubt}")
        plan = replace(plan, keys=KeySource(), image="")
    return replace(_work(store, sweep, said.rent.onto(plan), said, None, exists=True), resumed=True)


def _card(settings: dict[str, object], plan: "Plan") -> int | None:
    from launch.providers import registry

    if "device" not in settings:
        return None
    places = [registry.get(name) for name in plan.providers]
    settings["device"], card = options.card_of(settings["device"], places)
    return card


def _work(
    store: "Store", sweep: "Sweep", plan: "Plan", said: Said, data: "Data | None", *, exists: bool
) -> Work:
    from launch.providers import registry
    from launch.sweep import plan as plans
    from launch.sweep.keep import look
    from mimir.runs.sweep import MOST_RUNS

    places = [registry.get(name) for name in plan.providers]
    if said.at_once is not None:
        check_count("at_once", said.at_once, 1, MOST_RUNS)
    before = plans.per_job_before(sweep, places, exists)
    per_job = before if said.per_job is None else said.per_job
    chosen = said.at_once or (sweep.at_once if exists else 0)
    plans.must_share(per_job, chosen, places)
    options.check_gpu(places, said.rent.gpu)
    options.check_works(places)
    plan = replace(plan, image=options.check_image(places, plan.image))
    options.check_store(places, store.url)
    options.check_keys(places, plan.keys)
    plan = replace(plan, options=options.settled(places, said.rent.slurm, plan.options))
    plan = replace(plan, limits=options.with_sessions(plan.limits, places))
    max_cost = sweep.max_cost if said.max_cost is None else said.max_cost
    if not 0 <= max_cost < float("inf"):
        raise BadInput(f"--max-cost is {max_cost:g}, but must be dollars, or 0 for no limit")
    count = len(sweep.members)
    at_once = min(count, chosen or (count if plans.queues(places) else 1))
    statuses = [each.status for each in (look(store, sweep) if exists else ()) if each.status]
    known = {status.run: status for status in statuses}
    left = {
        member.run: member.steps - (known[member.run].committed_step if member.run in known else 0)
        for member in sweep.members
        if member.run not in known or known[member.run].state != "done"
    }
    _must_begin(plans.refused_here(places, sweep, left, plan.card), exists)
    limit = plans.share(max_cost, statuses, count, store.now())
    plans.must_hold(limit, statuses, max_cost)
    return Work(sweep, plan, places, at_once, max_cost, limit, left, data, per_job=per_job)


def _must_begin(refused: list[str], exists: bool) -> None:
    """BadInput if a run could not begin here. exists: the sweep is listed, and its settings stay:
    then it is told, and the others go on."""
    from launch.ui.terminal import say

    if not refused:
        return
    more = f" (and so {len(refused) - 1} more)" if refused[1:] else ""
    if not exists:
        raise BadInput(refused[0] + more)
    say(f"{refused[0]}{more}; a sweep keeps its settings: begin another one for these")


def propose(store: "Store", work: Work, *, as_json: bool, given: frozenset[str]) -> "Cost":
    """Show what is going to be ordered, with hours and cost; it fits the limits."""
    from launch.sweep import plan as plans
    from launch.sweep import proposal
    from launch.ui import confirm
    from launch.ui.terminal import say

    plan = plans.with_limit(work.plan, work.limit)
    total = plans.cost(store, work.sweep, work.plan, work.left, store.now())
    plans.must_fit(total, work.limit, work.max_cost, len(work.left))
    if as_json:
        body = proposal.as_json(store, work.sweep, plan, total, work.at_once, work.max_cost,
                                work.limit, work.per_job)  # fmt: skip
        print(json_text.dumps(body, indent=2))
        return total
    table = proposal.rows(store, work.sweep, work.data, plan, work.places, total, work.at_once,
                          work.max_cost, work.limit, len(work.left), work.per_job)  # fmt: skip
    say(*(f"  {what:<9} {value}" for what, value in table))
    say(*confirm.warnings(work.places, plan, store=store.url, given=given, found=total.found))
    say(*total.problems, *proposal.notes(work.places, work.at_once, len(work.left)),
        *proposal.shared(work.sweep, plan, work.places, work.left, work.per_job))  # fmt: skip
    return total


def agree(work: Work, total: "Cost", *, yes: bool) -> None:
    """Ask before money is spent."""
    from launch.sweep import proposal
    from launch.ui import confirm

    if work.left:
        what = f"machines for {len(work.left)} runs"
        confirm.agree(work.places, proposal.first(total), yes=yes, what=what)


def go_on(store: "Store", work: Work, store_option: str, csv: bool, json: bool) -> int:
    """Create what is missing, begin runs and keep them until all have ended; the exit code."""
    from launch.payload import code_in_store
    from launch.provision.liveness import Watched
    from launch.supervise.watcher import Watcher
    from launch.sweep.keep import Keeper
    from launch.ui.runs import command
    from launch.ui.terminal import say
    from mimir.runs import sweep as lists
    from mimir.runs import sweep_state
    from mimir.runs.probe import probe

    sweep = work.sweep
    if work.data is None:
        lists.create_runs(store, sweep)
    else:
        with code_in_store.file() as wheel:
            if not sweep.probe:
                sweep = replace(sweep, probe=probe(store, sweep.members[0].run))
            size = sum(path.stat().st_size for path in (work.data.packed, wheel))
            with console.bar("upload", size, "B") as advance:
                sweep = lists.create(store, sweep, work.data.packed, wheel, advance)
    terms = sweep_state.Terms(work.plan, work.at_once, work.max_cost, work.per_job)
    number = sweep_state.say(store, sweep.name, sweep_state.GO, terms=terms).number
    keeper = Keeper(
        store, sweep, work.plan, at_once=work.at_once, max_cost=work.max_cost, number=number,
        say=say, supervisor=Watcher(store, say, watched=Watched()), clock=time.monotonic,
        again=work.resumed, per_job=work.per_job,
    )  # fmt: skip
    try:
        seen = _keep(keeper, work, sweep.name)
    except KeyboardInterrupt:
        say(
            f"stopped keeping sweep {sweep.name}: runs that have begun go on by themselves, the "
            "others are not begun",
            f"  how it stands:   {command('sweep', sweep.name, store_option)}",
            f"  go on with it:   {command('sweep', sweep.name, store_option, '--resume')}",
            f"  stop it:         {command('sweep', sweep.name, store_option, '--stop')}",
        )
        return 130
    if seen.why:
        say(f"{seen.why}: this command begins no more runs")
    for run, why in seen.refused:
        say(f"run {run}: {why}")
    if seen.alive and not seen.why:
        say(f"all {len(seen.alive)} runs wait or train: they need this command no more")
    done = show(store, sweep, csv, json)
    if not done and not seen.alive:
        say(f"to go on: {command('sweep', sweep.name, store_option, '--resume')}")
    return 0 if done or seen.alive else INTERRUPTED


def _keep(keeper: Any, work: Work, name: str) -> "Round":
    """Rounds until nothing is left to begin or keep; where jobs queue, to begin."""
    from launch.sweep.plan import queues
    from launch.ui.terminal import Waiting

    queued = queues(work.places)
    asked = any(each.caps.remote or each.caps.queues for each in work.places)
    every = ROUND_REMOTE if asked else ROUND_LOCAL
    with Waiting() as waiting:
        while True:
            try:
                seen: Round = keeper.round()
            except (StoreDenied, StoreUnfit):
                raise
            except StoreError as error:  # paid machines need their supervisor: it is asked again
                text = f"sweep {name} could not be looked at, and is looked at again: {error}"
            else:
                if seen.over or (queued and not seen.waiting):
                    return seen
                shown = ", ".join(seen.alive[:3]) + (", …" if len(seen.alive) > 3 else "")
                begun = f"{len(seen.alive)} begun ({shown})"
                text = f"sweep {name}: {begun}, {len(seen.waiting)} not begun"
            until = time.monotonic() + every
            while time.monotonic() < until:
                waiting.tick(text)
                time.sleep(0.5)


def show(store: "Store", sweep: "Sweep", csv: bool, json: bool) -> bool:
    """Print the table of the sweep's runs; whether all are done."""
    from launch.sweep import table
    from launch.sweep.keep import look
    from mimir.runs import sweep_state
    from mimir.runs.status import seal_if_done

    looked = look(store, sweep)
    for listed in looked:
        if listed.status is not None:
            seal_if_done(store, listed.status, listed.status.at)
    made = table.rows(sweep, looked)
    word = sweep_state.read(store, sweep.name).word
    if json:
        print(json_text.dumps(table.as_json(sweep, word, made), indent=2))
    elif csv:
        sys.stdout.write(table.as_csv(made))
    else:
        asked = "" if word == sweep_state.GO else f"asked to {word}"
        console.show(table.text(sweep, asked, made, console.width_of(sys.stdout)))
    return all(row.status is not None and row.status.state == "done" for row in made)


def stop(store: "Store", sweep: "Sweep", store_option: str, json: bool) -> int:
    """Stop the sweep, wait for its runs' last checkpoints, and show how it stands."""
    from launch.commands.stop import await_end, take_off_queue
    from launch.contract.errors import ProviderError
    from launch.sweep import end
    from launch.ui.runs import command
    from launch.ui.terminal import Waiting, say

    asked, failed = end.stop(store, sweep, say)
    told = f"asked {len(asked)} to stop" if asked else "none is at work"
    say(f"no more runs of sweep {sweep.name} are begun; {told}")
    try:
        with Waiting() as waiting:
            for run, attempt in asked:
                try:
                    gone = take_off_queue(store, run)
                except ProviderError as error:  # told; the others are stopped
                    say(f"run {run}: {error}")
                    gone = False
                if not gone and await_end(store, run, attempt, waiting.tick) is None:
                    failed.append(run)
    except KeyboardInterrupt:
        again = command("sweep", sweep.name, store_option)
        say(f"stopped waiting; the requests stand: see `{again}`")
        return 130
    show(store, sweep, False, json)
    if failed:
        say(f"not stopped yet: {', '.join(failed)}; the requests stand")
    return INTERRUPTED if failed else 0


def remove(store: "Store", name: str, yes: bool) -> int:
    """Remove the sweep, after asking."""
    from launch.sweep import end
    from launch.ui.confirm import agree_to_delete
    from launch.ui.terminal import say

    agree_to_delete(f"sweep {name} with all its runs", yes=yes)
    count = end.remove(store, name, say)
    print(f"sweep {name} is removed, {count} objects")
    return 0
