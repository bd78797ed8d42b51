"""The commands of `python -m mimir`."""

import csv
import io
import json as json_text
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mimir import cli
from mimir.atomic_file import STDOUT, OutFile, path_of
from mimir.console import bar, drawing
from mimir.data import commands as data
from mimir.errors import BadInput
from mimir.text import nearest

if TYPE_CHECKING:
    from mimir.data.peptides import Peptides
    from mimir.output.model_file import Opened

MOST_PEPTIDES = 10_000_000  # of one command: they are held in memory, some hundred bytes each


def train(
    *,
    preset: str = "small",
    run_name: str = "",
    store: str = "",
    data: str = "",
    verbose: bool = False,
    **settings: object,
) -> int:
    """Train here, in this terminal; a run of this name goes on where it stopped.

    Ctrl-C commits a checkpoint and ends; the same command, or `resume`, goes on. Whoever
    trains the run elsewhere at the moment is fenced off and loses nothing that was committed.

    Args:
        preset: smoke, small, medium, large, or a YAML file of your own.
        run_name: name of the run (default: a fresh one).
        store: where runs live (default: $MIMIR_STORE or a folder in your data directory).
        data: a CSV (sequence,label,target) or a packed data set (default: the shipped sample).
        verbose: also print the settings.
        settings: any setting of the preset, such as --lr 3e-4 or --epochs 2; --device cuda:1 is
            the second GPU.

    Example:
        python -m mimir train --preset small --run-name small_test -v
    """
    from mimir.runs import cards
    from mimir.runs.store import open_store
    from mimir.submission import default_store, enter, fresh_name, prepare

    if "device" in settings:
        settings["device"], card = cards.split(settings["device"])
        os.environ |= cards.only(card, os.environ)
    job = prepare(preset, settings, data)
    opened = open_store(store or default_store())
    record = enter(opened, run_name or fresh_name(preset), job)
    if verbose:
        print(json_text.dumps(record.config, indent=2))
    return _work_here(opened, record.name)


def resume(name: str, *, store: str = "") -> int:
    """Go on with a run here, from its last checkpoint.

    Args:
        name: of the run.
        store: where runs live (default: $MIMIR_STORE or a folder in your data directory).

    Example:
        python -m mimir resume small_test
    """
    from mimir.runs.store import open_store
    from mimir.submission import default_store

    return _work_here(open_store(store or default_store()), name)


def _work_here(store: Any, name: str) -> int:
    import platform

    from mimir.errors import DONE
    from mimir.runs import notes
    from mimir.runs.begin import raise_attempt
    from mimir.runs.collect import try_collect
    from mimir.runs.machine import Machine
    from mimir.runs.record import read_run
    from mimir.runs.status import final_head
    from mimir.worker.supervisor import Worker, to_stdout

    read_run(store, name)
    attempt = raise_attempt(store, name)
    machine = Machine("terminal", store.now(), host=platform.node())
    notes.record_machine(store, name, attempt, machine)
    try_collect(store, name, print)
    print(f"run {name} in {store.url}; follow it by `python -m launch status {name}`", flush=True)
    interactive = sys.stdout.isatty()
    code = Worker(store, name, attempt, out=to_stdout, interactive=interactive).work()
    if code == DONE:
        final_head(store, name, store.now())  # sealed by whoever holds the user's own rights
    return code


def preflight(
    *,
    preset: str = "small",
    data: str = "",
    limit_hours: float = 12.0,
    out: str = "",
    json: bool = False,
    **settings: object,
) -> int:
    """Try a preset on this machine in under two minutes: will it train here, and how long?

    Takes up to 300 steps with the real engine, saves, loads and repeats a checkpoint, draws
    peptides, and forecasts. Needs no store and leaves nothing behind. Exit code 0: passed;
    78: this machine or this session does not suit the preset.

    Args:
        preset: smoke, small, medium, large, or a YAML file of your own.
        data: a CSV (sequence,label,target) or a packed data set (default: the shipped sample).
        limit_hours: hours that a session lasts at most; 0: no limit.
        out: a file to write the report to, as JSON; `-`: standard output.
        json: print JSON.
        settings: any setting of the preset, such as --accumulate 2.

    Example:
        python -m mimir preflight --preset large
    """
    from tqdm import tqdm

    from mimir.checks.preflight import Limits, examine
    from mimir.checks.preflight_checks import PreflightChecks
    from mimir.errors import BAD_CONFIG, DONE
    from mimir.submission import prepare

    limits, shown = Limits(hours=limit_hours), ""
    inputs = [("--preset", Path(preset)), ("--data", path_of(data or preset, "--data"))]
    target = OutFile(out, inputs) if out else None
    job = prepare(preset, settings, data)

    def tell(name: str, part: float) -> None:
        nonlocal shown
        stages.n = round(100 * part)
        stages.set_description_str(f"preflight: {name}")
        if stages.disable and name != shown:
            shown = name
            print(f"preflight: {name} …", file=sys.stderr, flush=True)

    with tqdm(
        total=100, disable=not sys.stderr.isatty(), leave=False, file=drawing(sys.stderr),
        bar_format="{desc} {bar} {elapsed}",
    ) as stages:  # fmt: skip
        report = examine(job.config.preset, PreflightChecks(job, limits, tell), tell)
    text = json_text.dumps(report.as_json(), indent=2) + "\n"
    if target:
        target.write(text.encode())
    shown = text if json else report.table() + "\n"
    print(shown, end="", file=sys.stderr if out == STDOUT else sys.stdout)
    return DONE if report.passed else BAD_CONFIG


def sample(
    *,
    run: str = "",
    model: str = "",
    n: int = 10,
    target: str = "",
    label: str = "",
    min_length: int = 4,
    max_length: int = 20,
    order: str = "random",
    temperature: float = 1.0,
    guidance: float = 1.0,
    pattern: str = "",
    seed: int = 0,
    format: str = "fasta",
    out: str = "",
    store: str = "",
) -> None:
    """Draw peptides from a trained model.

    Args:
        run: name of a run; unfinished ones are sampled from their newest checkpoint.
        model: instead of a run, a folder that `launch pull` made.
        n: how many peptides.
        target: a target protein of the training data, as its UniProt accession; one without
            training pairs counts as none, and only interacting peptides have one.
        label: interacting, background or any (default: interacting).
        min_length: fewest residues.
        max_length: most residues.
        order: random (the model's own distribution) or confidence (likelier, less diverse).
        temperature: below 1 is more cautious, above 1 more adventurous.
        guidance: above 1 exaggerates what label and target change.
        pattern: fixed residues, with '.' where free, such as ..P..P..; sets the length.
        seed: the same seed gives the same peptides.
        format: fasta, csv or json.
        out: a file to write (default: `-`, standard output).
        store: where runs live (default: $MIMIR_STORE or a folder in your data directory).

    Example:
        python -m mimir sample --run demo -n 10 --target P31947 --min-length 8 --max-length 12
    """
    from mimir.output.sampling import Draw
    from mimir.output.sampling import sample as draw_peptides

    labels = {"background": 0, "interacting": 1, "any": 2}
    label = label or "interacting"
    if label not in labels:
        raise BadInput(f"label is {label!r}{nearest(label, labels)}")
    if format not in ("fasta", "csv", "json"):
        raise BadInput(f"format is {format!r}, but must be fasta, csv or json")
    cli.check_count("n", n, 1, MOST_PEPTIDES)
    target_file = OutFile(out or STDOUT, _read_by(run, model, store))
    draw = Draw(
        label=labels[label], order=order, temperature=temperature, guidance=guidance,
        min_length=min_length, max_length=max_length, pattern=pattern, seed=seed,
    )  # fmt: skip
    if target and label != "interacting":
        raise BadInput(
            f"--target {target} with --label {label}: a target was only ever trained with "
            "interacting peptides; leave one of the two out"
        )
    opened = _open(run, model, store)
    index = opened.trained_target(target) if target else None
    if target and index is None:
        print(
            f"note: the model was trained on no pair of {target}: peptides are drawn, and named, "
            "as for no target",
            file=sys.stderr,
        )
        target = ""
    lengths = opened.vocabulary.lengths
    histogram = lengths.interacting if label != "background" else lengths.background
    if not any(histogram):
        histogram = lengths.background
    draw = Draw(**{**draw.__dict__, "target": index})
    with bar("sample", n, "peptide") as advance:
        peptides = draw_peptides(opened.model, n, draw, histogram, advance)
    text = _peptides(peptides, format, run or Path(model).name, target, label)
    target_file.write(text.encode())
    if out:
        print(f"{len(peptides)} peptides in {out} ({opened.source})", file=sys.stderr)


def _read_by(run: str, model: str, store: str) -> list[tuple[str, Path]]:
    from mimir.submission import default_store, store_folder

    if run and (root := store_folder(store or default_store())):
        return [("--store", root)]
    folder = path_of(model, "--model")
    return [("--model", each) for each in folder.iterdir()] if model and folder.is_dir() else []


def _peptides(peptides: list[str], format: str, name: str, target: str, label: str) -> str:
    if format == "json":
        rows = [{"sequence": s, "target": target or None, "label": label} for s in peptides]
        return json_text.dumps(rows, indent=2) + "\n"
    if format == "csv":
        sheet = io.StringIO()
        writer = csv.writer(sheet, lineterminator="\n")
        writer.writerow(["sequence", "target", "label"])
        writer.writerows([s, target, label] for s in peptides)
        return sheet.getvalue()
    about = f" target={target}" if target else ""
    return "".join(f">{name}_{i + 1}{about} label={label}\n{s}\n" for i, s in enumerate(peptides))


def _open(run: str, model: str, store: str) -> "Opened":
    from mimir.output.model_file import from_folder, from_run
    from mimir.runs.store import open_store
    from mimir.submission import default_store

    if bool(run) == bool(model):
        raise BadInput("give either --run NAME or --model FOLDER")
    if model:
        return from_folder(path_of(model, "--model"))
    opened = from_run(open_store(store or default_store()), run)
    if opened.warning:
        print(f"note: {opened.warning}; taken is {opened.source}", file=sys.stderr)
    return opened


def evaluate(
    *,
    run: str = "",
    model: str = "",
    data: str = "",
    repeats: int = 12,
    samples: int = 1000,
    store: str = "",
    json: bool = False,
) -> None:
    """Measure a model on held-out peptides, beside the data's yardsticks.

    Of what is held out, half selects the best weights in training. Reported here is the other half.

    Args:
        run: name of a run.
        model: instead of a run, a folder that `launch pull` made.
        data: the data set whose held-out part to use (default: the shipped sample, or the run's).
        repeats: passes over the held-out peptides with other masks. What a target is worth is
            measured from 12 on.
        samples: peptides to draw for validity, uniqueness and novelty; 0: none.
        store: where runs live (default: $MIMIR_STORE or a folder in your data directory).
        json: print JSON.

    Example:
        python -m mimir evaluate --run demo
    """
    from mimir.output.evaluation import measure, table

    cli.check_count("repeats", repeats, 1, 1000)
    cli.check_count("samples", samples, 0, MOST_PEPTIDES)
    opened = _open(run, model, store)
    figures = measure(opened, _peptides_of(run, data, store, opened), repeats, samples)
    if json:
        print(json_text.dumps(figures, indent=2))
        return
    print(table(figures))


def _peptides_of(run: str, data: str, store: str, opened: "Opened") -> "Peptides":
    from mimir.data.pack import load
    from mimir.data.peptides import of_run
    from mimir.runs.record import read_run
    from mimir.runs.store import open_store
    from mimir.submission import default_store, prepare

    if run and not data:
        opened_store = open_store(store or default_store())
        return of_run(opened_store, read_run(opened_store, run))
    peptides = load(prepare("smoke", {}, data).data)
    if peptides.vocabulary != opened.vocabulary.targets:
        raise BadInput("the data set's targets are not those that the model was trained with")
    return peptides


TREE: cli.Tree = {
    "train": train,
    "resume": resume,
    "sample": sample,
    "evaluate": evaluate,
    "preflight": preflight,
    "data": {name: getattr(data, name) for name in data.__all__},
}
SUMMARY = "Mimir trains a generator of short peptides, and loses nothing when the machine dies."
