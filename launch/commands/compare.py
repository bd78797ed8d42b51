"""compare: several runs beside each other."""

import json as json_text
import sys

from launch.commands import options
from mimir import console
from mimir.errors import BadInput


def compare(*names: str, store: str = "", json: bool = False) -> None:
    """Show runs beside each other: settings that differ, held-out figures, samples, hours, cost.

    The figures are those of the runs' metrics: the last measurement, and the best one; of samples
    those of the last validation that drew some. `report FIRST SECOND` lays their curves over each
    other.

    Args:
        names: of two runs or more.
        store: where runs live (default: $MIMIR_STORE or a folder in your data directory).
        json: print JSON: `settings` (a list of values for each that differs) and `runs`; figures
            as [step, nats per residue], `samples` by column of the metrics; `at_least`: `hours` is
            a lower bound, because nobody saw a machine's end.

    Example:
        python -m launch compare first second
    """
    from launch.ui import comparison, narrow
    from launch.ui.runs import PROG
    from launch.ui.terminal import say
    from mimir.runs.listing import with_about
    from mimir.runs.record import read_run
    from mimir.runs.status import derive, final_head
    from mimir.runs.store import open_store
    from mimir.submission import default_store

    wanted = options.distinct([str(name) for name in names], "name each run to compare")
    if len(wanted) < 2:
        raise BadInput("name two runs or more to compare")
    opened = open_store(store or default_store())
    now = opened.now()
    found = []
    for name in wanted:
        record, status = read_run(opened, name), with_about(opened, derive(opened, name, now))
        found.append(comparison.read(opened, record, status, final_head(opened, name, now)))
    if json:
        print(json_text.dumps(comparison.as_json(found), indent=2))
    else:
        console.show(comparison.text(found, console.width_of(sys.stdout)))
        words = [*wanted, *(("--store", store) if store else ()), "--open"]
        import shlex  # here, because `--help` imports this module

        curves = f"their curves over each other: {PROG} report {shlex.join(words)}"
        say(*narrow.folded(curves, console.width_of(sys.stderr)).split("\n"))
