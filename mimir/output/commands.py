"""The commands that use a trained model: sample, score and evaluate."""

import json as json_text
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from mimir import cli
from mimir.atomic_file import STDOUT, OutFile, path_of
from mimir.console import bar
from mimir.errors import BadInput
from mimir.output import sheet
from mimir.text import alternatives

MOST_PEPTIDES = 10_000_000  # of one command: they are held in memory, some hundred bytes each


def sample(
    *,
    run: str = "",
    model: str = "",
    last: bool = False,
    n: int = 10,
    target: str = "",
    target_sequence: str = "",
    targets: str = "",
    target_features: str = "",
    label: str = "",
    lengths: str = "data",
    min_length: int = 4,
    max_length: int = 20,
    order: str = "random",
    temperature: float = 1.0,
    guidance: float = 1.0,
    pattern: str = "",
    seed: int = 0,
    rank: bool = False,
    unique: bool = False,
    novel: bool = False,
    exclude: str = "",
    repeats: int = 12,
    data: str = "",
    format: str = "",
    json: bool = False,
    out: str = "",
    device: str = "auto",
    store: str = "",
) -> None:
    """Draw peptides, with score, length, charge and nearest training peptide of each.

    score: what the target adds to the likelihood, in nats, as by `score` (without a target: what is
    gained over background), with its standard error; charge at pH 7.4, gravy (hydropathy), pi;
    nearest: the training pair that is most alike, with its identity (equal letters without gaps,
    over the letters of the longer one). Model and settings stand with them and reproduce them.

    Args:
        run: name of a run; unfinished ones are sampled from their newest checkpoint.
        model: instead of a run, a folder that `python -m launch pull` made.
        last: take the weights of the last step, and not the best ones.
        n: how many peptides; of several targets for each.
        target: a target protein of the training data, as its UniProt accession; one without
            training pairs is told by similar targets, and only interacting peptides have one.
        target_sequence: instead, the sequence of any protein, told by similar targets.
        targets: instead, a file of targets: FASTA (those that the model knows by name are taken by
            their name), or accessions: one a line, or CSV with a column `target`.
        target_features: for a model trained with a table of target features: a safetensors file
            with features of further targets, float32, one tensor per accession.
        label: interacting, background or any (default: interacting).
        lengths: data (as the target's training pairs, smoothed by five pairs as all pairs are; as
            all pairs without a target) or uniform.
        min_length: fewest residues.
        max_length: most residues.
        order: random (the model's own distribution) or confidence (likelier, less diverse).
        temperature: below 1 is more cautious, above 1 more adventurous.
        guidance: from -1000 to 1000. Above 1 exaggerates what label and target change: more of the
            target's motifs, but a composition unlike its peptides'. Below 1 weakens it: measured at
            0.6, held-out pairs of known targets were likelier than at 1 (2.792 against 2.810 nats
            per residue), but one target's samples were less like its pairs in composition
            (docs/guides/sampling.md).
        pattern: fixed residues, with '.' where free, such as ..P..P..; sets the length, which
            must be within min-length and max-length.
        seed: the same seed gives the same peptides on the same device; on another one a few may
            differ, because it rounds otherwise.
        rank: the best score first.
        unique: no peptide twice.
        novel: no peptide of the training data.
        exclude: a file of peptides that are not wanted: one a line, FASTA, or CSV with `sequence`.
        repeats: masks for each score, 2 at least; 0: no scores, which is faster.
        data: the training data, for --novel and the nearest pair (default: the run's). Another
            data set or another split of it is refused.
        format: table, fasta, csv or json (default: a table on a terminal, fasta elsewhere).
        json: print JSON, as --format json does.
        out: a file to write (default: `-`, standard output).
        device: auto (the GPU where there is one that can be used), cpu or cuda.
        store: where runs live (default: $MIMIR_STORE or a folder in your data directory).

    Example:
        python -m mimir sample --run demo -n 10 --target P31947 --min-length 8 --max-length 12
    """
    from mimir.output import given, samples, told
    from mimir.output.condition import labelled
    from mimir.output.device import memory
    from mimir.output.peptide_file import read_peptides  # imports numpy, which help needs not
    from mimir.output.quality import known_in
    from mimir.output.sampling import Draw, stream
    from mimir.output.score import Scorer

    options = told.Options(target, target_sequence, targets, target_features)
    condition = labelled(label, options.any)
    label = label or "interacting"
    if json and format not in ("", "json"):
        raise BadInput(f"give either --json or --format {format}")
    format = "json" if json else format or ("table" if not out and sys.stdout.isatty() else "fasta")
    for name, word, words in (("format", format, samples.FORMATS),
                              ("lengths", lengths, ("data", "uniform"))):  # fmt: skip
        if word not in words:
            raise BadInput(f"--{name} is {word!r}, but must be {alternatives(words)}")
    cli.check_count("n", n, 1, MOST_PEPTIDES)
    if repeats:
        cli.check_count("repeats", repeats, 2, 10_000)
    elif rank:
        raise BadInput("--rank needs scores: leave out --repeats 0")
    if novel and model and not data:
        raise BadInput("--novel with --model needs the training data: give --data FILE")
    inputs = [("--exclude", path_of(exclude, "--exclude"))] if exclude else []
    read = [*inputs, *options.files, *given.read_by(run, model, store)]
    target_file = OutFile(out or STDOUT, read)
    draw = Draw(
        condition, order=order, temperature=temperature, guidance=guidance,
        min_length=min_length, max_length=max_length, pattern=pattern, seed=seed,
    )  # fmt: skip
    excluded = frozenset(each.value for _, path in inputs for each in read_peptides(path))
    opened = given.open_model(run, model, store, last=last, on=device)
    asked = told.conditions(opened, label, options)
    peptides = given.peptides_of(run, data, store, opened) if run or data else None
    known = known_in(peptides) if novel and peptides else None
    wanted = samples.Wanted(unique, known, excluded)
    batches = []
    with memory(), bar("sample", n * len(asked), "peptide") as advance:
        for _, condition in asked:
            weights = opened.vocabulary.lengths.weights(condition.label, condition.target)
            histogram = weights if lengths == "data" else [1] * len(weights)
            drawn = stream(opened.model, replace(draw, condition=condition), histogram)
            batches.append(samples.choose(drawn, n, wanted, advance))
    if short := n * len(asked) - sum(map(len, batches)):
        print(f"note: {short} of the {n * len(asked)} peptides are not there that are wanted "
              "so; ask for fewer, or for other lengths", file=sys.stderr)  # fmt: skip
    pairs = given.training_pairs(peptides) if peptides else None
    sha256 = given.digest(opened.model)
    settings = {
        "label": label, "lengths": lengths, "min_length": min_length, "max_length": max_length,
        "order": order, "temperature": temperature, "guidance": guidance, "pattern": pattern,
        "seed": seed, "device": opened.model.letter.device.type,
    }  # fmt: skip
    found = []
    passes = sum(
        Scorer.passes([condition]) * len(chosen)
        for (_, condition), chosen in zip(asked, batches, strict=True)
    )
    with memory(), bar("score", passes if repeats else 0, "peptide") as advance:
        for (_, condition), chosen in zip(asked, batches, strict=True):
            sequences = [sequence for _, sequence in chosen]
            scores = None
            if repeats and chosen:
                scores = Scorer(opened.model, sequences, repeats, advance).scores(condition)
            named = options.settings(condition.name, opened.vocabulary.targets)
            header = samples.Header(opened.source, sha256, condition.name, {**named, **settings})
            name = f"{run or Path(model).name}_{header.id}"
            rows = samples.rows_of(chosen, name, condition, label, scores, pairs, rank)
            found.append(samples.Batch(header, rows))
    target_file.write(samples.rendered(found, format).encode())
    if out:
        count = sum(map(len, batches))
        print(f"{count} peptides in {out} ({opened.source})", file=sys.stderr)


def score(
    *,
    peptides: str,
    run: str = "",
    model: str = "",
    last: bool = False,
    target: str = "",
    target_sequence: str = "",
    targets: str = "",
    target_features: str = "",
    label: str = "",
    repeats: int = 12,
    json: bool = False,
    csv: bool = False,
    out: str = "",
    device: str = "auto",
    store: str = "",
) -> None:
    """Score peptides by a model: how likely it thinks them, and what a target adds to that.

    Columns: nelbo, the bound on -log p(peptide | condition) in nats; over_untold, NELBO without the
    target minus that with it (above 0: the target makes the peptide likelier); over_background,
    NELBO as background minus that (above 0: it looks like an interacting peptide); each with its
    standard error _se over the repeats. rank: of the peptide among all, by over_untold, without a
    target by over_background; target_rank: of the target among all for this peptide.

    Args:
        peptides: a file of peptides: one a line, FASTA, or CSV with a column `sequence`;
            small letters are taken for capitals.
        run: name of a run; unfinished ones are taken from their newest checkpoint.
        model: instead of a run, a folder that `python -m launch pull` made.
        last: take the weights of the last step, and not the best ones.
        target: a target protein of the training data, as its UniProt accession; one without
            training pairs is told by similar targets.
        target_sequence: instead, the sequence of any protein, told by similar targets.
        targets: instead of one, a file: FASTA (those that the model knows by name are taken by
            their name), or accessions: one a line, or CSV with a column `target`.
        target_features: for a model trained with a table of target features: a safetensors file
            with features of further targets, float32, one tensor per accession.
        label: interacting, background or any (default: interacting).
        repeats: masks for each peptide and condition; more of them make smaller errors.
        json: print JSON.
        csv: print CSV.
        out: a file to write, as CSV, with --json as JSON (default: a table on standard output).
        device: auto (the GPU where there is one that can be used), cpu or cuda.
        store: where runs live (default: $MIMIR_STORE or a folder in your data directory).

    Example:
        python -m mimir score --run demo --peptides peptides.csv --target P31947
    """
    from mimir.output import given, told
    from mimir.output.device import memory
    from mimir.output.peptide_file import doubts, read_peptides
    from mimir.output.score import Scorer
    from mimir.output.score_sheet import SHOWN, rows_of

    cli.check_count("repeats", repeats, 2, 10_000)
    if not peptides:
        raise BadInput("give the peptides to score: --peptides FILE")
    if json and csv:
        raise BadInput("give either --json or --csv")
    options = told.Options(target, target_sequence, targets, target_features)
    files = [("--peptides", path_of(peptides, "--peptides")), *options.files]
    target_file = OutFile(out or STDOUT, [*files, *given.read_by(run, model, store)])
    entries = read_peptides(files[0][1])
    opened = given.open_model(run, model, store, last=last, on=device)
    asked = told.conditions(opened, label, options)
    names, conditions = [name for name, _ in asked], [condition for _, condition in asked]
    for doubt in doubts(entries):
        print(doubt, file=sys.stderr)
    sequences = [each.value for each in entries]
    with memory(), bar("score", len(sequences) * Scorer.passes(conditions), "peptide") as advance:
        scorer = Scorer(opened.model, sequences, repeats, advance)
        found = [scorer.scores(condition) for condition in conditions]
    rows = rows_of(entries, names, conditions, found)
    if json:
        head = {"model": opened.source, "model_sha256": given.digest(opened.model),
                "repeats": repeats, "device": opened.model.letter.device.type}  # fmt: skip
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
    last: bool = False,
    data: str = "",
    repeats: int = 12,
    samples: int = 1000,
    device: str = "auto",
    store: str = "",
    json: bool = False,
) -> None:
    """Measure a model on held-out peptides, beside the baselines.

    Of what is held out, half selects the best weights in training. Reported here is the other half.
    Several runs, such as the seeds of a sweep, are measured as one model: the mean of their
    probabilities, with what each reaches alone beside it.

    Args:
        run: name of a run, or several as A,B.
        model: instead of a run, a folder that `python -m launch pull` made.
        last: take the weights of the last step, and not the best ones.
        data: the data set that the model was trained on, whose held-out part is used (default: the
            run's, or of --model the shipped sample). Another one, or another split of it, is
            refused: it may hold out what was trained.
        repeats: passes over the held-out peptides with other masks. What a target is worth is
            measured from 12 on.
        samples: peptides to draw, to count new, different and nearly copied ones and to compare
            them with real ones; a fifth as many for each of the best covered targets; 0: none.
        device: auto (the GPU where there is one that can be used), cpu or cuda.
        store: where runs live (default: $MIMIR_STORE or a folder in your data directory).
        json: print JSON.

    Example:
        python -m mimir evaluate --run demo
    """
    from mimir.output import ensemble
    from mimir.output.evaluation import table

    figures = measured(run, model, last, data, repeats, samples, store, device)
    if json:
        print(json_text.dumps(figures, indent=2))
        return
    print(table(figures))
    if "alone" in figures:
        print("\n".join(ensemble.lines(figures["alone"], len(run.split(",")))))


def measured(
    run: str,
    model: str,
    last: bool,
    data: str,
    repeats: int,
    samples: int,
    store: str,
    device: str = "auto",
) -> dict[str, Any]:
    """The figures of a model, or of several runs as one. Words and BadInput as `evaluate`."""
    from mimir.output import ensemble, given
    from mimir.output.device import memory
    from mimir.output.evaluation import measure

    cli.check_count("repeats", repeats, 1, 1000)
    cli.check_count("samples", samples, 0, MOST_PEPTIDES)
    several = given.open_models(run, model, store, last=last, on=device)
    opened = ensemble.of(several) if len(several) > 1 else several[0]
    peptides = given.peptides_of(run.partition(",")[0], data, store, opened)
    with memory():
        figures = measure(opened, peptides, repeats, samples)
        if len(several) > 1:
            figures["alone"] = ensemble.alone(several, peptides, repeats)
    return figures
