"""Targets as a command's options name them, and what a model is told of each.

A target of the training data is told by its name: by its embedding if it has training pairs, and by
the letters of its own and of similar targets' pairs. Any other protein is told by its sequence (or
its features), through what is similar to it.
"""

import sys
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mimir.atomic_file import path_of
from mimir.data import files, target_sequences
from mimir.data.composition import Composition
from mimir.data.likeness import Described, read_features
from mimir.data.proteins import Proteins
from mimir.errors import BadInput
from mimir.output.condition import Condition, labelled
from mimir.output.model_file import Opened
from mimir.output.peptide_file import read_targets

UNNAMED = "sequence"
"""Name of a target that was given as letters."""


@dataclass(frozen=True)
class Options:
    """target: --target. sequence: --target-sequence. targets: --targets, a file. features:
    --target-features, a file. "" for those that are not given."""

    target: str = ""
    sequence: str = ""
    targets: str = ""
    features: str = ""

    def __post_init__(self) -> None:
        given = [
            name
            for name, value in (
                ("--target", self.target), ("--target-sequence", self.sequence),
                ("--targets", self.targets),
            )
            if value
        ]  # fmt: skip
        if len(given) > 1:
            raise BadInput(f"give either {' or '.join(given)}")
        if self.features and (self.sequence or not given):
            raise BadInput("--target-features is a table by accession: name targets beside it")

    @property
    def files(self) -> list[tuple[str, Path]]:
        """What is read, by option."""
        named = (("--targets", self.targets), ("--target-features", self.features))
        return [(option, path_of(value, option)) for option, value in named if value]

    @property
    def any(self) -> str:
        """One of those given, for messages; "" if none is."""
        return self.target or self.targets or (self.sequence and UNNAMED)

    def settings(self, name: str, known: Container[str]) -> dict[str, str]:
        """The options that name one of the targets again; `known` has those of the model."""
        if self.sequence:
            return {"target_sequence": self.sequence}
        if not self.features and (name in known or not self.targets):
            return {"target": name}
        return {
            "target": self.target, "targets": self.targets, "target_features": self.features,
        }  # fmt: skip


def conditions(opened: Opened, label: str, options: Options) -> list[tuple[str, Condition]]:
    """The targets that the options name, and the condition of each; without any, ("", the label's).

    A target of which the model knows nothing is told as none, with a note on stderr; the condition
    keeps its name.

    Raises BadInput if a file or a sequence is not what it should be, a name is not known, the model
    cannot compare targets in the way that is asked for, or the label is another than interacting.
    """
    plain = labelled(label, options.any)
    if not options.any:
        return [("", plain)]
    if options.sequence:
        described = _described(opened, target_sequences.single(options.sequence))
        return [(UNNAMED, _new(opened, UNNAMED, described))]
    if options.target:
        return [(options.target, _by_name(opened, options.target, options.features))]
    path = path_of(options.targets, "--targets")
    if not files.read(path, "file of targets").lstrip().startswith((b">", b"\x1f\x8b")):
        names = [each.value for each in read_targets(path)]
        return [(name, _by_name(opened, name, options.features)) for name in names]
    proteins = target_sequences.read(path)
    found = []
    for i, name in enumerate(proteins.names):
        if name in opened.vocabulary.targets:
            found.append((name, _by_name(opened, name, options.features)))
            continue
        start, stop = proteins.offsets[i], proteins.offsets[i + 1]
        tokens = proteins.tokens[start:stop]
        one = Proteins((name,), tokens, np.array([0, len(tokens)], dtype=np.int64))
        found.append((name, _new(opened, name, _described(opened, one))))
    return found


def _by_name(opened: Opened, name: str, features: str) -> Condition:
    if features and name not in opened.vocabulary.targets:
        width = _composition(opened).likeness.width
        if not width:
            raise BadInput("this model compares targets by sequence: give --target-sequence")
        table = read_features(path_of(features, "--target-features"), [name], width)
        none = Described.none(1)
        return _new(opened, name, Described(none.tokens, none.offsets, table))
    index = opened.trained_target(name)
    bias: tuple[float, ...] = ()
    if opened.composition is not None:
        place = opened.vocabulary.targets.index(name)
        bias = tuple(opened.composition.bias()[place].tolist())
    if index is None and not any(bias):
        return _none(name, f"the model was trained on no pair of {name}, nor of a target like it")
    if index is None:
        _note(f"the model was trained on no pair of {name}: it is told how similar targets bind")
    return Condition(target=index, name=name, bias=bias)


def _described(opened: Opened, proteins: Proteins) -> Described:
    if width := _composition(opened).likeness.width:
        raise BadInput(
            f"this model compares targets by {width} features each, not by sequence: give names, "
            "and --target-features with a row for each"
        )
    return Described.of(proteins.names, proteins)


def _new(opened: Opened, name: str, described: Described) -> Condition:
    bias = tuple(_composition(opened).of_new(described)[0].tolist())
    if not any(bias):
        return _none(name, f"no target that the model was trained on is like {name}")
    return Condition(name=name, bias=bias)


def _composition(opened: Opened) -> Composition:
    if opened.composition is None:
        raise BadInput(
            "this model was trained without the composition of targets: it can be told none but "
            "those of its training data, by --target"
        )
    return opened.composition


def _none(name: str, why: str) -> Condition:
    _note(f"{why}: to it this is the same as no target")
    return Condition(name=name)


def _note(text: str) -> None:
    print(f"note: {text}", file=sys.stderr)
