"""The commands of `python -m mimir benchmark`."""

import json as json_text
from dataclasses import asdict
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

from mimir import cli
from mimir.atomic_file import path_of
from mimir.console import bar
from mimir.output import sheet

if TYPE_CHECKING:
    from mimir.output.interaction import Separation


def pepbenchmark(
    folder: str,
    *,
    run: str = "",
    model: str = "",
    data: str = "",
    repeats: int = 12,
    device: str = "auto",
    store: str = "",
    json: bool = False,
) -> None:
    """Score the official test sets of PepBenchmark's peptide-protein interaction task.

    Each row is scored by what its protein is worth to the model: NELBO untold minus told. Columns:
    rows, binding (how many bind), told (the model knows the protein; else the score is 0), auc over
    all rows, auc_told over these, auc_new over rows whose peptide resembles no training pair, and
    auc_random of random scores. skipped: peptides that have not 4 to 20 letters.

    Args:
        folder: PepBenchData's folder PpI, which you supply: pep_fasta.csv, prot_fasta.csv,
            label.csv and *_split.json. prot_accession.csv, with a column `feature` too, may name
            the proteins by the accessions that the model was trained with; others are found by
            their sequences.
        run: name of a run; unfinished ones are taken from their newest checkpoint.
        model: instead of a run, a folder that `python -m launch pull` made.
        data: with --model, the data set that it was trained on, for auc_new; another is refused.
        repeats: masks for each peptide and condition.
        device: auto (the GPU where there is one that can be used), cpu or cuda.
        store: where runs live (default: $MIMIR_STORE or a folder in your data directory).
        json: print JSON.

    Example:
        python -m mimir benchmark pepbenchmark PepBenchData-50/PpI --run demo
    """
    from mimir.data.pepbenchmark import read
    from mimir.output import given
    from mimir.output.device import memory
    from mimir.output.interaction import by_condition, separate

    cli.check_count("repeats", repeats, 2, 10_000)
    task = read(path_of(folder, "FOLDER"))
    opened = given.open_model(run, model, store, on=device)
    trained = given.peptides_of(run, data, store, opened) if run or data else None
    told = by_condition(opened, task)
    with memory(), bar("pepbenchmark", 2 * sum(map(len, told.values())), "peptide") as advance:
        found = separate(opened, task, told, repeats, trained, advance)
    if json:
        body = {"model": opened.source, "repeats": repeats,
                "device": opened.model.letter.device.type, "folds": [asdict(e) for e in found],
                "splits": over_seeds(found)}  # fmt: skip
        print(json_text.dumps(body, indent=2, allow_nan=False))
        return
    print(f"{opened.source}: {len(task.peptides):,} rows of PepBenchmark, {repeats} mask repeats")
    columns = [name for name in asdict(found[0]) if name != "seen" or trained is not None]
    print(sheet.as_table(columns, [[asdict(each)[name] for name in columns] for each in found]))
    for row in over_seeds(found):
        if row["auc"] is not None:
            spread = f" ± {row['sd']:.3f}" if row["sd"] is not None else ""
            seeds = f"{row['seeds']} seed" + ("s" if row["seeds"] != 1 else "")
            print(f"{row['split']}: auc {row['auc']:.3f}{spread} over {seeds}")
    if not any(each.told for each in found):
        print("note: the model knows none of the proteins, so every score is 0: auc says nothing")


def over_seeds(found: "list[Separation]") -> list[dict[str, Any]]:
    """Mean and standard deviation of the AUC of each split over its seeds."""
    rows = []
    for split in dict.fromkeys(each.split for each in found):
        values = [e.auc for e in found if e.split == split and e.auc is not None]
        rows.append({
            "split": split, "seeds": len(values), "auc": fmean(values) if values else None,
            "sd": stdev(values) if len(values) > 1 else None,
        })  # fmt: skip
    return rows
