"""What a run gives its user: fetched, checked, and made into files on this computer.

Weights, samples, metrics and log come from the store and are data, never names of files, pages or
programs. Report, picture and event file are made from them here (launch/report,
mimir/output/folder.py).
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from launch.report.facts import Facts, data_of, gather
from launch.report.page import page
from mimir.config import CHECKPOINT_COPIES, MODEL_COPIES, Config
from mimir.data.files import from_bytes, sha256
from mimir.data.peptides import Peptides, parse
from mimir.errors import Corrupt, MimirError, NotFound
from mimir.runs.head import Head
from mimir.runs.orders import newest_order, refused_before
from mimir.runs.parts import read_all, read_metrics
from mimir.runs.record import RunRecord
from mimir.runs.status import final_head
from mimir.runs.store import Store, Stored
from mimir.text import size, visible

if TYPE_CHECKING:
    from mimir.output.model_object import Record

Begin = Callable[[str, int], Callable[[int], None]]
"""Called with what is fetched and its bytes; returns what to call with bytes done."""
Need = Callable[[int, str], None]
"""Called with the bytes of what is to be fetched, and its name; BadInput if it has no place."""
RECORD = "run.json"
"""The file by which a folder is known to be a run's."""
MOST_LOG = 64 << 20
"""Characters of a log that are kept: a night of training has some two million."""


@dataclass(frozen=True)
class Download:
    """finished: whether the weights in `files` are the run's last; otherwise they are those of its
    newest checkpoint, of step `step`, and there are none before the first.

    warnings: sentences on newer checkpoints that cannot be used, and on what was left out.
    unusable: why weights that the run has are not in `files`.
    best_step: of the best weights; -1 if nothing selected them, or if there are no weights.
    """

    finished: bool
    step: int
    files: dict[str, bytes]
    warnings: tuple[str, ...] = ()
    unusable: MimirError | None = None
    best_step: int = -1


def collect(store: Store, record: RunRecord, begin: Begin, need: Need) -> Download:
    """Fetch the model, of an unfinished run that of its newest checkpoint, with metrics and log,
    and make the other files.

    Args:
        record: of the run.
        begin: told of each transfer.
        need: asked before each transfer whether there is room.

    Raises:
        BadInput: there is no room for it.
        Corrupt: HEAD or the metrics cannot be used.
    """
    fetch = _Fetch(store, begin, need)
    found, left = Download(False, 0, {}), None
    unusable: MimirError | None = None
    # A run that goes on drops its older checkpoints: then HEAD names newer ones by now. What is
    # still missing at the third look has been lost.
    for bad in ((Corrupt,), (Corrupt,), (Corrupt, NotFound)):
        head = final_head(store, record.name, store.now())
        try:
            if head.model is not None:
                left = _model(record, head, head.model, fetch, bad)
                found = Download(True, head.step, {})
            else:
                found, left = _checkpoint(store, record, head, fetch, bad)
            break
        except NotFound:
            continue
        except Corrupt as error:
            found, unusable = Download(head.model is not None, head.step, {}), error
            break
    rows = read_metrics(store, record.name, head)
    data = data_of(record, lambda: _data(record, fetch))
    if left is not None and isinstance(data, Peptides):
        # Here, because a run without weights needs no matplotlib.
        from mimir.output.folder import Left, files_of

        made = files_of(record, found.step, Left(*left, rows), data)
        found = replace(found, files=made, best_step=left[1].best_step)
    elif left is not None:
        unusable = Corrupt(
            f"the data set of run {record.name} cannot be used, so its weights are left out: {data}"
        )
    files, warnings = dict(found.files), list(found.warnings)
    if rows and not files:
        from mimir.output import events

        name = events.file_name(record.created, record.name)
        files[f"tensorboard/{name}"] = events.event_file(rows, record.created)
    samples = left[1] if left is not None else None
    try:
        facts = gather(store, record, head, rows, samples, data=data, step=found.step)
        files["report.html"] = page(facts)
        if left is not None and isinstance(data, Peptides):
            files |= _card(facts, data, found)
    except MimirError as error:  # what was fetched is worth more than the page
        warnings.append(f"report.html and the model card are left out: {error}")
    files["metrics.jsonl"] = "".join(json.dumps(row) + "\n" for row in rows).encode()
    log, cut = _log(store, head)
    if cut:
        warnings.append(f"run.log ends after {size(MOST_LOG)}; all of it: `logs {record.name}`")
    files["run.log"] = log.encode()
    body = {**asdict(record), "config_sha256": record.config_sha256}
    files[RECORD] = (visible(json.dumps(body, indent=2)) + "\n").encode()
    return replace(found, files=files, warnings=tuple(warnings), unusable=unusable)


def _card(facts: Facts, data: Peptides, found: Download) -> dict[str, bytes]:
    from launch.report import card
    from mimir.output import model_object

    content = found.files[model_object.FILE]
    best = [each for name, each in from_bytes(content, model_object.FILE)[0].items()
            if not name.startswith(model_object.LAST)]  # fmt: skip
    size, digest = sum(each.size for each in best), sha256(content)
    weights = card.Weights(size, digest, found.step, found.best_step, found.finished)
    return card.files(facts, data, weights)


def samples_of(store: Store, record: RunRecord, head: Head, begin: Begin) -> "Record | None":
    """What a finished run left beside its weights, None for any other; begin: as `collect`.

    Raises:
        Corrupt: its model cannot be used.
    """
    if head.model is None:
        return None
    fetch = _Fetch(store, begin, lambda count, name: None)
    return _model(record, head, head.model, fetch, (Corrupt, NotFound))[1]


@dataclass(frozen=True)
class _Fetch:
    store: Store
    begin: Begin
    need: Need

    def __call__(self, stored: Stored, what: str) -> bytes:
        self.need(stored.size, what)
        try:
            return self._fetch(stored, what)
        except Corrupt:
            # Once more: the transfer may be at fault, not the object.
            return self._fetch(stored, what)

    def _fetch(self, stored: Stored, what: str) -> bytes:
        progress = self.begin(what, stored.size)
        key, count, sha256 = stored.key, stored.size, stored.sha256
        return self.store.get(key, size=count, sha256=sha256, progress=progress)


def _data(record: RunRecord, fetch: _Fetch) -> Peptides:
    stored = record.data
    assert stored is not None
    return parse(fetch(stored, "data set"), stored.key)


def _model(
    record: RunRecord, head: Head, stored: Stored, fetch: _Fetch, bad: tuple[type[Exception], ...]
) -> "tuple[bytes, Record]":
    """What the run left, and the samples in it."""
    from mimir.output.model_object import record_in

    try:
        Config.from_dict(record.config).check_size(stored.key, stored.size, MODEL_COPIES)
        content = fetch(stored, "model")
        return content, record_in(content, stored.key)
    except bad as error:
        raise Corrupt(
            f"the model of run {head.run} cannot be used: {error}; its last checkpoint may "
            f"still be: `python -m mimir sample --run {head.run}`"
        ) from error


def _checkpoint(
    store: Store, record: RunRecord, head: Head, fetch: _Fetch, bad: tuple[type[Exception], ...]
) -> "tuple[Download, tuple[bytes, Record] | None]":
    """The weights of the newest usable checkpoint, as `_model` gives those of a finished run; None
    if there is none yet. bad: the errors after which an older one serves."""
    from mimir.output.checkpoint_model import model_of
    from mimir.output.model_object import record_in

    if record.data is None:
        return Download(False, head.step, {}), None
    warnings: list[str] = []
    for kept in reversed(head.kept):
        what = f"checkpoint of step {kept.step}"
        try:
            config = Config.from_dict(record.config)
            config.check_size(kept.key, kept.size, CHECKPOINT_COPIES)
            content = fetch(Stored(kept.key, kept.size, kept.sha256), what)
            model = model_of(content, kept.key, config, record.data.sha256)
        except bad as error:
            warnings.append(f"{what} cannot be used: {error}")
            continue
        return Download(False, kept.step, {}, tuple(warnings)), (model, record_in(model, kept.key))
    if warnings:
        raise Corrupt(
            f"none of the {len(warnings)} checkpoints of run {head.run} can be used: the newest, "
            f"{warnings[0]}; restore one of them"
        )
    return Download(False, head.step, {}), None


def _log(store: Store, head: Head) -> tuple[str, bool]:
    """The log of all attempts, made safe to show, and whether it was cut off."""
    pieces, left = [], MOST_LOG
    newest = min(head.attempt, newest_order(store, head.run))  # HEAD may be a machine's
    silent = refused_before(store, head.run, newest) if newest > 1 else frozenset()
    for attempt in (n for n in range(1, newest + 1) if n not in silent):
        pieces.append(f"=== attempt {attempt}\n")
        for _, text in read_all(store, head.run, attempt, "log"):
            pieces.append(visible(text[:left]))
            left -= len(text)
            if left < 0:
                return "".join(pieces), True
    return "".join(pieces), False
