"""sweep: several runs that differ in their settings, submitted, kept and shown together."""

from typing import TYPE_CHECKING

from launch.commands import options, sweep_steps
from mimir import cli
from mimir.errors import BadInput

if TYPE_CHECKING:
    pass


def sweep(
    name: str,
    *,
    grid: str = "",
    random: int = 0,
    file: str = "",
    preset: str = "",
    data: str = "",
    provider: str = "",
    at_once: int = 0,
    per_job: int = 0,
    max_cost: float = 0.0,
    resume: bool = False,
    stop: bool = False,
    remove: bool = False,
    slurm: str = "",
    gpu: str = "",
    spot: bool = False,
    hosts: str = "",
    region: str = "",
    min_reliability: float = -1.0,
    min_download: float = -1.0,
    min_upload: float = -1.0,
    image: str = "",
    store: str = "",
    max_price: float = 0.0,
    max_hours: cli.Hours = 0.0,
    max_cost_month: float = -1.0,
    max_cost_store: float = -1.0,
    max_failures: int = -1,
    role: str = "",
    static_keys: bool = False,
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
            equal names and grids draw equal runs.
        file: a YAML list of runs, such as `- {lr: 1e-3, dim: 64}`; each is combined with the grid.
        preset: smoke, small, medium, large, or a YAML file of your own (default: small).
        data: a CSV (sequence,label,target) or a packed data set (default: the shipped sample).
        provider: where to train, as for submit (default: local; of an existing sweep, as before).
        at_once: runs that train at a time (default: 1; all where jobs wait in a queue).
        per_job: of a cluster's job: train so many runs side by side in each, which share its GPU
            (default: 1; of an existing sweep, as before).
        max_cost: dollars over all runs of the sweep: each run gets an equal share of what the
            finished ones leave (default: none for the sweep, and for each rented run twice its
            forecast).
        resume: begin what has not begun, failed or was stopped, and go on with the rest.
        stop: begin no more runs, and ask those that train to commit a checkpoint and stop.
        remove: delete the sweep with all its runs, once none of them is at work.
        slurm: options for sbatch, as for submit (default: $MIMIR_SLURM; of an existing sweep, as
            before).
        gpu: a GPU to rent, such as "RTX 4090", several as A,B (default: the cheapest way).
        spot: rent machines that may be taken away, too.
        hosts: whose machines to rent, as for submit.
        region: where machines may be, as for submit.
        min_reliability, min_download, min_upload: as for submit; less than 0: not said.
        image: a container image with Python and torch to train in.
        store: where runs live (default: $MIMIR_STORE or a folder in your data directory).
        max_price: rent nothing that costs more, in $/h.
        max_hours: hours of machines of each run over all its attempts; 0: no limit.
        max_cost_month: dollars of all runs of the store in a calendar month (UTC), as for submit.
        max_cost_store: the same over all times.
        max_failures: machines or workers of a run that may break before it is given up; less than
            0: not said, at first 3.
        role: for an s3:// store, the ARN of a role whose keys the machines get, as for submit.
        static_keys: hand your own keys to the machines, not cut down to the attempt.
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
    from mimir.submission import default_store

    is_new = bool(grid or file)
    words = {"--resume": resume, "--stop": stop, "--remove": remove}
    acts = [word for word, said in words.items() if said]
    if len(acts) > 1 or (acts and is_new):
        raise BadInput(f"{' and '.join(acts)} beside --grid or each other: say one of them")
    unheard = [
        option for option, said in (
            ("--random", random), ("--preset", preset), ("--data", data),
            *((f"--{each}", True) for each in settings),
        ) if said and not is_new
    ]  # fmt: skip
    if unheard:
        raise BadInput(f"{unheard[0]} is for a new sweep, with --grid: the runs of one that exists "
                       "are listed already")  # fmt: skip
    if csv and json:
        raise BadInput("--csv and --json: say one of them")
    opened = open_store(store or default_store())
    if stop:
        return sweep_steps.stop(opened, lists.read(opened, name), store, json)
    if remove:
        return sweep_steps.remove(opened, name, yes)
    if not (is_new or resume):
        sweep_steps.show(opened, lists.read(opened, name), csv, json)
        return 0
    said = sweep_steps.Said(
        provider, options.gpus_of(gpu), spot, image, options.keys_of(role, static_keys),
        options.hosts_of(hosts, region, min_reliability, min_download, min_upload),
        {"max_price": max_price, "max_hours": max_hours}, max_failures, max_cost_month,
        max_cost_store, at_once, max_cost, slurm, per_job,
    )  # fmt: skip
    if is_new:
        options.check_settings(settings, sweep)
        work = sweep_steps.new(opened, name, preset or "small", grid, random, file, data,
                               settings, said)  # fmt: skip
    else:
        work = sweep_steps.existing(opened, lists.read(opened, name), said)
    total = sweep_steps.propose(opened, work, as_json=json and dry_run)
    if dry_run:
        return 0
    sweep_steps.agree(work, total, yes=yes)
    return sweep_steps.go_on(opened, work, store, csv, json)
