"""The commands that use a trained model: sample, score and evaluate."""

import csv
import io
import json as json_text
import sys
from dataclasses import replace
from pathlib import Path

from mimir import cli
from mimir.atomic_file import STDOUT, OutFile, path_of
from mimir.console import bar
from mimir.errors import BadInput
from mimir.output import sheet

MOST_PEPTIDES = 10_000_000  # of one command: they are held in memory, some hundred bytes each


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
    from mimir.output import given
    from mimir.output.condition import labelled
    from mimir.output.sampling import Draw
    from mimir.output.sampling import sample as draw_peptides

    condition = labelled(label, target)
    label = label or "interacting"
    if format not in ("fasta", "csv", "json"):
        raise BadInput(f"format is {format!r}, but must be fasta, csv or json")
    cli.check_count("n", n, 1, MOST_PEPTIDES)
    target_file = OutFile(out or STDOUT, given.read_by(run, model, store))
    draw = Draw(
        condition=condition, order=order, temperature=temperature, guidance=guidance,
        min_length=min_length, max_length=max_length, pattern=pattern, seed=seed,
    )  # fmt: skip
    opened = given.open_model(run, model, store)
    condition = given.condition_of(opened, label, target)
    lengths = opened.vocabulary.lengths
    histogram = lengths.interacting if label != "background" else lengths.background
    if not any(histogram):
        histogram = lengths.background
    draw = replace(draw, condition=condition)
    with bar("sample", n, "peptide") as advance:
        peptides = draw_peptides(opened.model, n, draw, histogram, advance)
    text = _peptides(peptides, format, run or Path(model).name, condition.name, label)
    target_file.write(text.encode())
    if out:
        print(f"{len(peptides)} peptides in {out} ({opened.source})", file=sys.stderr)


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


def score(
    *,
    peptides: str = "",
    run: str = "",
    model: str = "",
    target: str = "",
    targets: str = "",
    label: str = "",
    repeats: int = 12,
    json: bool = False,
    csv: bool = False,
    out: str = "",
    store: str = "",
) -> None:
    """Score peptides by a model: how likely it thinks them, and what a target adds to that.

    Columns: nelbo, the bound on -log p(peptide | condition) in nats; over_untold, NELBO without the
    target minus that with it (above 0: the target makes the peptide likelier); over_background,
    NELBO as background minus that (above 0: it looks like an interacting peptide); each with its
    standard error _se over the repeats. rank: of the peptide among all, by over_untold, without a
    target by over_background; target_rank: of the target among all for this peptide.

    Args:
        peptides: a file of peptides: one a line, FASTA, or CSV with a column `sequence`.
        run: name of a run; unfinished ones are taken from their newest checkpoint.
        model: instead of a run, a folder that `launch pull` made.
        target: a target protein of the training data, as its UniProt accession.
        targets: instead of one, a file of accessions: one a line, or CSV with a column `target`.
        label: interacting, background or any (default: interacting).
        repeats: masks for each peptide and condition; more of them make smaller errors.
        json: print JSON.
        csv: print CSV.
        out: a file to write, as CSV, with --json as JSON (default: a table on standard output).
        store: where runs live (default: $MIMIR_STORE or a folder in your data directory).

    Example:
        python -m mimir score --run demo --peptides peptides.csv --target P31947
    """
    from mimir.output import given
    from mimir.output.peptide_file import read_peptides, read_targets
    from mimir.output.score import Scorer
    from mimir.output.score_sheet import SHOWN, rows_of

    cli.check_count("repeats", repeats, 2, 10_000)
    if not peptides:
        raise BadInput("give the peptides to score: --peptides FILE")
    if json and csv:
        raise BadInput("give either --json or --csv")
    if target and targets:
        raise BadInput("give either --target or --targets")
    files = [("--peptides", path_of(peptides, "--peptides"))]
    if targets:
        files.append(("--targets", path_of(targets, "--targets")))
    target_file = OutFile(out or STDOUT, [*files, *given.read_by(run, model, store)])
    entries = read_peptides(files[0][1])
    names = [each.value for each in read_targets(files[1][1])] if targets else [target]
    opened = given.open_model(run, model, store)
    conditions = [given.condition_of(opened, label, name) for name in names]
    sequences = [each.value for each in entries]
    with bar("score", len(sequences) * Scorer.passes(conditions), "peptide") as advance:
        scorer = Scorer(opened.model, sequences, repeats, advance)
        found = [scorer.scores(condition) for condition in conditions]
    rows = rows_of(entries, names, conditions, found)
    if json:
        head = {"model": opened.source, "model_sha256": given.digest(opened.model),
                "repeats": repeats}  # fmt: skip
        text = json_text.dumps({**head, "peptides": rows}, indent=2) + "\n"
    elif csv or out:
        text = sheet.as_csv(rows)
    else:
        columns = [name for name in SHOWN if any(row[name] not in (None, "") for row in rows)]
        text = sheet.as_table(columns, [[row[name] for name in columns] for row in rows]) + "\n"
    target_file.write(text.encode())
    if out:
        print(f"{len(rows)} scores in {out} ({opened.source})", file=sys.stderr)


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
    from mimir.output import given
    from mimir.output.evaluation import measure, table

    cli.check_count("repeats", repeats, 1, 1000)
    cli.check_count("samples", samples, 0, MOST_PEPTIDES)
    opened = given.open_model(run, model, store)
    figures = measure(opened, given.peptides_of(run, data, store, opened), repeats, samples)
    if json:
        print(json_text.dumps(figures, indent=2))
        return
    print(table(figures))
