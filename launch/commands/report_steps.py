"""The steps of `report`: reading runs, and making the page of one, of several, or of a sweep."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mimir.errors import BadInput, MimirError

if TYPE_CHECKING:
    from pathlib import Path

    from launch.report.facts import Data, Facts
    from mimir.runs.store import Store


@dataclass(frozen=True)
class Made:
    """A page, the sentences that it begins with, and what `--json` tells of it."""

    content: bytes
    verdict: list[str]
    told: dict[str, Any]


def of_runs(store: "Store", names: Sequence[str]) -> Made:
    """The page of a run, or of several beside each other."""
    from launch.report import comparison, curves, page
    from launch.report.verdict import verdict

    if len(names) > curves.MOST_DRAWN:
        raise BadInput(
            f"{len(names)} runs are too many for one page: name {curves.MOST_DRAWN} at most, or "
            "print them by `compare`; a sweep has a page of its own (--sweep NAME)"
        )
    read = _Reader(store)
    facts = [read(name) for name in names]
    if len(facts) == 1:
        (one,) = facts
        told = {"run": names[0], "state": one.status.state, "step": one.status.step}
        return Made(page.page(one), verdict(one), told)
    return Made(comparison.page(facts), comparison.verdict(facts), {"runs": list(names)})


def of_sweep(store: "Store", name: str) -> Made:
    """The page of a sweep; a run that cannot be read is told of, and hides no other."""
    from launch.sweep import page, table
    from launch.sweep.keep import look
    from mimir.runs import sweep as lists
    from mimir.runs import sweep_state

    sweep = lists.read(store, name)
    made = table.rows(sweep, look(store, sweep))
    problems = [f"{row.run}: {row.problem}" for row in made if row.problem]
    read = _Reader(store)
    found: list[Facts] = []
    begun = [row for row in table.ranked(made) if row.status and row.state != table.NOT_BEGUN]
    for row in begun[: page.DRAWN + page.THIN]:
        try:
            # Samples lie in the model: hundreds of models are more than anybody waits for.
            found.append(read(row.run, samples=len(found) < page.DRAWN))
        except MimirError as error:
            problems.append(f"{row.run}: {error}")
    word = sweep_state.read(store, name).word
    word = "" if word == sweep_state.GO else word
    drawn, others = found[: page.DRAWN], found[page.DRAWN :]
    content = page.page(sweep, word, made, drawn, others, problems)
    told = {"sweep": name, "runs": [row.run for row in made]}
    return Made(content, page.verdict(made), told)


def event_files(store: "Store", names: Sequence[str], folder: "Path") -> "list[Path]":
    """Write TensorBoard's event file of each of the runs below the folder; those that have no
    metrics yet have none."""
    from mimir.output import events
    from mimir.runs.head import ENDED
    from mimir.runs.parts import read_metrics
    from mimir.runs.record import read_run
    from mimir.runs.status import head_or_remembered

    made = []
    for name in names:
        record, (head, _) = read_run(store, name), head_or_remembered(store, name)
        rows = read_metrics(store, name, head) if head.lineage else []
        rows = rows if head.state in ENDED else rows[:-1]
        if not rows:
            continue
        own, attempt = folder / name, head.lineage[-1][0]
        try:
            made.append(events.update(own, rows, record.created, name, attempt))
        except OSError as error:
            raise BadInput(f"--tensorboard {folder} cannot be written: {error.strerror}") from error
    return made


@dataclass
class _Reader:
    """Reads runs. data: by digest, because many runs have the same."""

    store: "Store"
    data: dict[str, "Data"] = field(default_factory=dict)

    def __call__(self, name: str, *, samples: bool = True) -> "Facts":
        from launch.report.download import samples_of
        from launch.report.facts import data_of, gather
        from launch.ui.terminal import Transfers, say
        from mimir.data.peptides import of_run
        from mimir.runs.parts import read_metrics
        from mimir.runs.record import read_run
        from mimir.runs.status import left_head

        store = self.store
        record = read_run(store, name)
        head = left_head(store, name)
        left = None
        if samples:
            try:
                with Transfers() as transfers:
                    left = samples_of(store, record, head, transfers.begin)
            except MimirError as error:  # the page says the rest
                say(f"the report has no samples of {name}: {error}")
        digest = record.data.sha256 if record.data else ""
        if digest not in self.data:
            self.data[digest] = data_of(record, lambda: of_run(store, record))
        rows = read_metrics(store, name, head)
        return gather(store, record, head, rows, left, data=self.data[digest])
