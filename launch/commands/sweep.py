"""sweep: several runs that differ in their settings, submitted, kept and shown together."""

import inspect

from launch.commands import options, sweep_steps
from launch.commands.rent_options import RentOptions, shared
from mimir.cli import as_option
from mimir.errors import BadInput

HEARD = frozenset(("name", "store", "stop", "remove", "yes", "csv", "json"))
"""Parameters that count where no run is begun."""


@shared(
    before="of an existing sweep, as before",
    without=("max_cost", "max_sessions", "watch", "notify", "notify_from_machine"),
)
def sweep(
    name: str,
    *,
    grid: str = "",
    random: int = 0,
    file: str = "",
    preset: str = "",
    data: str = "",
    at_once: int | None = None,
    per_job: int | None = None,
    max_cost: float | None = None,
    resume: bool = False,
    stop: bool = False,
    remove: bool = False,
    rent: RentOptions,
    store: str = "",
    yes: bool = False,
    dry_run: bool = False,
    csv: bool = False,
    json: bool = False,
    **settings: object,
) -> int:
    """Train a preset many times with other settings; with a name alone, show a sweep's runs.

    With --grid or --file the runs are listed once and begun, as many at a time as --at-once says;
    the command stays until they have ended. Ctrl-C ends the command, never a run: `sweep NAME
    --resume` goes on. Each run is an ordinary one, NAME-000, NAME-001 …, for status, logs, stop,
    resume and pull. Exits with 0 once all are done, 75 if some are not. docs/guides/sweeps.md.

    Args:
        name: of the sweep.
        grid: settings and their values, such as 'lr=1e-3,3e-4 seed=0..4': a run for each
            combination. `preset` may be among them. 0..4 is 0,1,2,3,4.
        random: draw so many runs from the grid, where lr=1e-4..1e-2 is a range to draw from;
            equal names and grids draw equal runs (default: all combinations).
        file: a YAML list of runs, such as `- {lr: 1e-3, dim: 64}`; each is combined with the grid.
        preset: smoke, small, medium, large, or a YAML file of your own (default: small).
        data: a CSV (sequence,label,target) or a packed data set (default: the shipped sample).
        at_once: runs that train at a time (default: 1; all where jobs wait in a queue; of an
            existing sweep, as it was listed).
        per_job: of a cluster's job: train so many runs side by side in each, which share its GPU
            (default: 1; of an existing sweep, as before).
        max_cost: dollars over all runs of the sweep: each run gets an equal share of what the
            finished ones leave; 0: no limit for the sweep, and for each rented run twice its
            forecast (default: 0; of an existing sweep, as it was listed).
        resume: begin what has not begun, failed or was stopped, and go on with the rest.
        stop: begin no more runs, and ask those that train to commit a checkpoint and stop.
        remove: delete the sweep with all its runs, once none of them is at work.
        store: where runs live (default: $MIMIR_STORE or a folder in your data directory).
        yes: do not ask before ordering machines that cost money, or before removing.
        dry_run: show the plan, and order nothing.
        csv: print the runs as CSV.
        json: print JSON.
        settings: any setting of the preset, the same for all runs, such as --epochs 2.

    Example:
        python -m launch sweep --name lr --preset small --grid 'lr=1e-3,3e-4 seed=0..4' --at-once 2
        python -m launch sweep lr
    """
    from mimir.runs import sweep as lists
    from mimir.runs.store import open_store
    from mimir.submission import ASK, check_no_word, default_store

    given = options.given(sweep, {**vars(rent), **locals()})
    is_new = bool(grid or file)
    words = {"--resume": resume, "--stop": stop, "--remove": remove}
    acts = [word for word, said in words.items() if said]
    if len(acts) > 1 or (acts and is_new):
        raise BadInput(f"give one of --grid, {', '.join(words)}, not several")
    of_new = [each for each in ("random", "preset", "data") if each in given]
    unheard = [*of_new, *settings] if not is_new else []
    if unheard:
        raise BadInput(
            f"{as_option(unheard[0])} is for a new sweep, which needs --grid or --file: those "
            "of one that exists are listed already"
        )
    asked = [each for each in inspect.signature(sweep).parameters if each in given - HEARD]
    if asked and not (is_new or resume):
        does = acts[0] if acts else "a sweep's name alone, which shows its runs"
        raise BadInput(
            f"{as_option(asked[0])} changes nothing beside {does}: leave it out, or say --resume "
            "or --grid with it"
        )
    if csv and json:
        raise BadInput("give --csv or --json, not both")
    opened = open_store(store or default_store())
    if name in ASK and lists.find(opened, name) is None:
        check_no_word(name, "sweep", "sweep")
    if stop:
        return sweep_steps.stop(opened, lists.read(opened, name), store, json)
    if remove:
        return sweep_steps.remove(opened, name, yes)
    if not (is_new or resume):
        sweep_steps.show(opened, lists.read(opened, name), csv, json)
        return 0
    said = sweep_steps.Said(rent, at_once, max_cost, per_job)
    if is_new:
        options.check_settings(settings, sweep)
        work = sweep_steps.new(opened, name, preset or "small", grid, random, file, data,
                               settings, said)  # fmt: skip
    else:
        work = sweep_steps.existing(opened, lists.read(opened, name), said)
    total = sweep_steps.propose(opened, work, as_json=json and dry_run, given=given)
    if dry_run:
        return 0
    sweep_steps.agree(work, total, yes=yes)
    return sweep_steps.go_on(opened, work, store, csv, json)
