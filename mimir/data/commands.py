"""The commands of `python -m mimir data`."""

import json as json_text
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from mimir.atomic_file import STDOUT, path_of
from mimir.data import GUIDE_ROWS, PACKED
from mimir.data.fetch import fetch
from mimir.errors import BadInput
from mimir.text import size

if TYPE_CHECKING:
    from mimir.data.baselines import Baseline
    from mimir.data.pack import PackInfo

__all__ = ["build", "fetch", "pack", "verify"]


def build(
    *,
    pairs: str,
    human: str = "",
    viral: str = "",
    out: str = "dataset.csv",
    rows: int = GUIDE_ROWS,
    seed: int = 0,
    exclude_sources: str = "",
    allow_dna: bool = False,
    json: bool = False,
) -> None:
    """Build a data set CSV from proteins and known pairs.

    The CSV has the columns sequence,label,target: all pairs with label 1, and windows of the
    proteins as background with label 0, half human and half viral, as long as the peptides of
    the pairs. One of the two is enough. Beside it a sidecar says which rows must not be split
    apart, and a FASTA file has the sequences of those targets that are among the proteins.

    Example:
        python -m mimir data build --human human.fasta.gz --viral viral.fasta.gz --pairs pairs.csv

    Args:
        pairs: CSV with the columns sequence and target.
        human: FASTA of human proteins, or of another organism's, plain or gzip.
        viral: FASTA of viral proteins, or of another organism's, plain or gzip.
        out: the CSV to write, `-` for standard output (without a sidecar).
        rows: rows of the CSV, pairs included.
        seed: another seed draws other windows.
        exclude_sources: leave out pairs all of whose sources (column source, split at ';')
            begin with one of these, split at ','; for example elm.
        allow_dna: build although the letters of proteins or peptides look like DNA or RNA.
        json: print the result as JSON.
    """
    from mimir.data.build import build as build_data  # imports numpy, which help needs not

    prefixes = [part for part in _text(exclude_sources).split(",") if part.strip()]
    info = build_data(
        path_of(_text(human), "--human") if human else None,
        path_of(_text(viral), "--viral") if viral else None,
        path_of(_text(pairs), "--pairs"),
        _text(out),
        rows=rows,
        seed=seed,
        exclude_sources=prefixes,
        allow_dna=allow_dna,
    )
    to = _beside(out)
    if to is sys.stderr:
        print(
            "note: without its sidecar, `pack` groups the rows by their sequences, and knows no "
            "sequences of targets",
            file=sys.stderr,
        )
    if json:
        _print_json(info.as_json(), to)
        return
    left_out = f" ({info.pairs_excluded} left out)" if info.pairs_excluded else ""
    print(f"{info.path}: {info.rows:,} rows", file=to)
    kinds = [(info.human, "human"), (info.viral, "viral")]
    counted = " and ".join(f"{count:,} {kind}" for count, kind in kinds if count)
    print(f"  background  {counted} windows", file=to)
    print(f"  pairs       {info.pairs:,} over {info.targets:,} targets{left_out}", file=to)
    print(
        f"  sequences   of {info.sequences:,} targets; the others are not among the proteins",
        file=to,
    )
    print(
        f"  proteins    {info.proteins:,} in {info.clusters:,} clusters, the largest with "
        f"{info.largest_cluster:.1%} of the residues",
        file=to,
    )
    for note in info.notes:
        print(f"  note: {note}", file=to)
    print(f"  sha256      {info.csv_sha256}", file=to)


def verify(path: str, *, csv: str = "", json: bool = False) -> None:
    """Check a data set CSV, or that nothing held out in a packed file is linked to training.

    Of a CSV it says what is wrong, in which row and column. The columns sequence, label and target
    are found by their names, in any order; others are not read. Notes name what breaks no rule and
    is doubtful: letters that are no protein's, targets with few pairs.

    Of a packed file (.safetensors) it searches, by other and slower means than `pack`, for training
    pairs that resemble a held-out pair, training windows that overlap one, selection pairs that
    resemble a reported pair, targets and groups of background in both parts.

    Ends with exit code 78 if anything is wrong.

    Example:
        python -m mimir data verify --path dataset.csv
        python -m mimir data verify --path dataset.safetensors --csv dataset.csv

    Args:
        path: the CSV, or the packed file.
        csv: of a packed file: the CSV that it was packed from. Its sidecar says which background
            is of related proteins.
        json: print the report as JSON.
    """
    from mimir.data.verify import verify as verify_data

    checked = path_of(_text(path), "--path")
    if checked.suffix == PACKED:
        _verify_packed(checked, path_of(_text(csv), "--csv") if csv else None, json)
        return
    if csv:
        raise BadInput("--csv belongs to a packed file: leave it out, or give a .safetensors")
    report = verify_data(checked)
    if json:
        _print_json(report.as_json())
    else:
        print(
            f"{report.path}: {report.rows:,} rows, {report.background:,} background, "
            f"{report.pairs:,} pairs over {report.targets:,} targets"
        )
        if report.length_distance is not None:
            print(f"  lengths of background and pairs differ by {report.length_distance}")
        for note in report.notes:
            print(f"  note: {note}")
        for problem in report.problems:
            print(f"  {problem}")
        if report.problem_count > len(report.problems):
            print(f"  ... and {report.problem_count - len(report.problems):,} more")
        if report.ok:
            print("  all constraints hold" + (", but see the notes" if report.notes else ""))
    if not report.ok:
        number = f"{report.problem_count:,} problem{'s' if report.problem_count > 1 else ''}"
        raise BadInput(f"{report.path} has {number}; correct the rows named above")


def _verify_packed(path: Path, csv: Path | None, json: bool) -> None:
    from mimir.data.links import verify_links

    found = verify_links(path, csv)
    if json:
        _print_json(found.as_json())
    else:
        print(
            f"{found.path}: {found.held_pairs:,} held-out pairs against {found.training_pairs:,} "
            f"training pairs and {found.training_background:,} training windows"
        )
        print(f"  {found.pairs:,} training pairs resemble a held-out pair")
        print(
            f"  {found.halves:,} selection pairs resemble a reported pair "
            f"({found.selection_pairs:,} and {found.reported_pairs:,} pairs)"
        )
        print(f"  {found.windows:,} training windows share 6 letters in a row with one")
        print(f"  {found.targets:,} targets are in the wrong part")
        if not any(each.startswith(found.grouped_by) for each in found.unchecked):
            print(
                f"  {found.groups:,} {found.grouped_by} have background in both parts "
                f"({found.held_background:,} held-out windows)"
            )
        for each in found.unchecked:
            print(f"  not checked: {each}")
        for sentence in found.shown:
            print(f"  {sentence}")
        if found.count > len(found.shown):
            print(f"  ... and {found.count - len(found.shown):,} more")
    if found.count:
        number = f"{found.count:,} link{'s' if found.count > 1 else ''}"
        raise BadInput(
            f"{found.path} has {number} between what is trained, what selects and what is "
            "reported; pack its CSV again"
        )


def pack(
    path: str,
    *,
    out: str = "dataset.safetensors",
    validation: float | None = None,
    validation_pairs: float = 0.1,
    seed: int = 0,
    most_pairs_per_target: int = 0,
    exclude_targets: str = "",
    targets_fasta: str = "",
    target_features: str = "",
    json: bool = False,
) -> None:
    """Pack a data set CSV into the one file that training reads.

    Example:
        python -m mimir data pack --path dataset.csv --out dataset.safetensors

    Args:
        path: the CSV; a sidecar beside it is used if it belongs to this content.
        out: the file to write, named *.safetensors; `-` for standard output.
        validation: part of the background rows to hold out (default: 2,000 of the rows, but 1 % at
            least and 10 % at most, as `submit` does for a CSV).
        validation_pairs: part of the pairs to hold out as whole targets, and of those that are
            left as clusters of similar peptides. Half of what is held out selects the best
            weights, the other half is reported.
        seed: another seed holds out other rows.
        most_pairs_per_target: leave out pairs of targets that have more, chosen by the seed;
            0: none.
        exclude_targets: leave out the pairs of these targets: names split at ',', or a file with a
            name in each line.
        targets_fasta: sequences of the targets, FASTA, plain or gzip, named by accession (default:
            the file that `build` leaves beside the CSV). Those that are missing are none.
        target_features: instead of sequences, what decides which targets are alike: a safetensors
            file with a tensor float32 [F] for each target, named by its accession, such as mean
            embeddings of a protein language model.
        json: print the result as JSON.
    """
    from mimir.data.pack import pack as pack_data
    from mimir.data.pack import usual_part
    from mimir.data.thin import Thinning

    csv = path_of(_text(path), "--path")
    if _text(out) != STDOUT and path_of(_text(out), "--out").suffix != PACKED:
        raise BadInput(
            f"--out is {_text(out)!r}, but must end in {PACKED}, or be {STDOUT} for standard output"
        )
    info = pack_data(
        csv,
        _text(out),
        validation=usual_part(csv) if validation is None else validation,
        validation_pairs=validation_pairs,
        seed=seed,
        thinning=Thinning(_names(_text(exclude_targets)), most_pairs_per_target),
        targets_fasta=_optional(targets_fasta, "--targets-fasta"),
        target_features=_optional(target_features, "--target-features"),
    )
    to = _beside(out)
    if json:
        _print_json(info.as_json(), to)
        return
    counts = info.counts
    print(f"{info.path}: {counts['rows']:,} peptides, {size(info.bytes)}", file=to)
    print(
        f"  train       {counts['train_background']:,} background, {counts['train_pairs']:,} pairs",
        file=to,
    )
    for half, use in (("selection", "select the best weights"), ("validation", "are reported")):
        print(
            f"  {half:<12}{counts[f'{half}_background']:,} background, "
            f"{counts[f'{half}_pairs']:,} pairs of unseen targets, "
            f"{counts[f'{half}_known']:,} of known ones: {use}",
            file=to,
        )
    print(
        f"  left out    {counts['left_out_background']:,} background, "
        f"{counts['left_out_pairs']:,} pairs that resemble held-out pairs",
        file=to,
    )
    if counts["excluded_pairs"] or counts["capped_pairs"]:
        print(
            f"  not packed  {counts['excluded_pairs']:,} pairs of excluded targets, "
            f"{counts['capped_pairs']:,} beyond {most_pairs_per_target} pairs per target",
            file=to,
        )
    print(f"  targets     {_of_targets(info)}", file=to)
    for note in info.notes:
        print(f"  note: {note}", file=to)
    by = "protein clusters" if info.grouping == "sidecar" else "shared 7-mers (no sidecar)"
    print(f"  held out    whole groups, by {by}", file=to)
    for name, baseline in (
        ("background", info.baselines.background),
        ("pairs of unseen targets", info.baselines.pairs),
        ("pairs of known targets", info.baselines.known),
    ):
        print(f"  baselines   {name}: {_shown(baseline)}", file=to)
    print(f"  sha256      {info.digest}", file=to)


def _names(given: str) -> tuple[str, ...]:
    """Names split at commas, or the lines of a file that is named."""
    from mimir.data import files

    path = path_of(given, "--exclude-targets")
    if given and path.is_file():
        lines = files.text(path, "file of targets").splitlines()
        return tuple(line.strip() for line in lines if line.strip())
    return tuple(name.strip() for name in given.split(",") if name.strip())


def _shown(baseline: "Baseline | None") -> str:
    if baseline is None:
        return "none, as no such rows are held out"
    form = baseline.closed_form
    closed = "" if form is None else f", closed form of the targets {form:.4f}"
    return (
        f"uniform {baseline.uniform:.4f}, composition {baseline.unigram:.4f}, "
        f"order-2 Markov {baseline.markov2:.4f}{closed} nats per residue"
    )


def _of_targets(info: "PackInfo") -> str:
    """What is known of the targets themselves."""
    count = info.counts["targets"]
    if info.features:
        return f"{count:,}, alike by {info.features:,} features each"
    without = count - info.sequences
    if not info.sequences:
        return f"{count:,}, none with a sequence (--targets-fasta): none borrows from similar ones"
    return f"{count:,}, {info.sequences:,} with a sequence" + (
        f"; {without:,} without one cannot borrow from similar ones" if without else ""
    )


def _optional(value: object, option: str) -> Path | None:
    return path_of(_text(value), option) if _text(value) else None


def _text(value: object) -> str:
    """The value as typed: a command-line parser may have made a number or a tuple of it."""
    return ",".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)


def _beside(out: str) -> TextIO:
    """Where to say what was done: not where the data itself goes."""
    return sys.stderr if _text(out) == STDOUT else sys.stdout


def _print_json(record: dict[str, object], to: TextIO | None = None) -> None:
    print(json_text.dumps(record, indent=2, sort_keys=True, allow_nan=False), file=to)
