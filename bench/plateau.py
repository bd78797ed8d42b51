"""After how many steps runs hardly got better: `python -m bench.plateau NAME NAME`.

From the metrics of runs that train or have trained, as they lie in the store: what each validation
measured, at which step the selecting figure was best, and at which it was nearly so.
`launch/pricing/plateau.py` has the steps of the presets from such runs on the guide's data.
"""

import time
from pathlib import Path
from typing import Any

from bench import results
from launch.pricing.plateau import WITHIN
from mimir import cli
from mimir.errors import BadInput

SHOWN = {"selection": "selection", "val_known": "known", "val_pairs": "unseen", "val": "background"}
"""Columns of the metrics, and what the table calls them; all are nats per residue."""


def main(*names: str, store: str = "", out: str = "") -> None:
    """Print each validation of these runs and where they got no better; keep them as a result.

    Args:
        names: of the runs.
        store: where they are (default: as for other commands).
        out: folder for the result (default: bench/results).

    Example:
        python -m bench.plateau first second
    """
    import torch

    from launch import api
    from mimir.runs.record import read_run
    from mimir.runs.store import open_store
    from mimir.submission import default_store

    if not names:
        raise BadInput("no run is named: give the names of runs on one data set")
    opened = open_store(store or default_store())
    runs = []
    for name in names:
        record = read_run(opened, name)
        found = of_rows(api.metrics(name, store=opened.url))
        if found is None:
            raise BadInput(f"run {name} has no validation yet: wait until `status` shows one")
        show(name, found)
        runs.append({
            "name": name, "preset": record.preset, "seed": record.seed, "settings": record.config,
            "data": record.data.sha256 if record.data else None, **found,
        })  # fmt: skip
    machine = results.machine(torch.device("cpu"), torch.get_num_threads())
    date = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    result = {"date": date, "machine": machine, "runs": runs}
    path = results.save(result, Path(out) if out else results.FOLDER, "plateau")
    print(f"written to {path}")


def of_rows(rows: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The validations among rows of metrics; None if there is none.

    best: step of the best one, of equal ones the first, as in training
    (mimir/training/early_stop.py). plateau: of the first one that is worse by less than WITHIN.
    last: of the last one.
    """
    validations = [
        {"step": row["step"], **{key: row[key] for key in SHOWN if row.get(key) is not None}}
        for row in rows if row.get("selection") is not None
    ]  # fmt: skip
    if not validations:
        return None
    best = min(validations, key=lambda row: row["selection"])
    near = best["selection"] + WITHIN
    plateau = next(row["step"] for row in validations if row["selection"] < near or row is best)
    return {
        "best": best["step"], "plateau": plateau, "last": validations[-1]["step"],
        "validations": validations,
    }  # fmt: skip


def show(name: str, found: dict[str, Any]) -> None:
    """Print a run's validations as a table, the best one marked."""
    print(
        f"{name}: best at step {found['best']:,} of {found['last']:,}, within {WITHIN:g} of it at "
        f"step {found['plateau']:,}"
    )
    print("".join(f"{each:>12}" for each in ("step", *SHOWN.values())))
    for row in found["validations"]:
        cells = "".join(f"{row[key]:12.4f}" if key in row else f"{'–':>12}" for key in SHOWN)
        print(f"{row['step']:12,}{cells}{'  best' if row['step'] == found['best'] else ''}")


if __name__ == "__main__":
    cli.run("python -m bench.plateau", main)
