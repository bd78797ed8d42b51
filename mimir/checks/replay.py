"""Trains a run's last steps again, from its last checkpoint but one, and compares every tensor.

It is the proof of exactness that anybody can repeat: whoever doubts that a run which moved from one
machine to another ended as an undisturbed one would, trains from checkpoint to checkpoint on the
same kind of device and compares weights, averages, moments and counters bit for bit. There is no
random state to compare: all randomness follows from (seed, step).

Both checkpoints were written by machines: they are checked by digest, form and size as in a resumed
attempt. Steps are trained with this Mimir's code, not with the code that the run has in its store.
"""

import contextlib
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from mimir.checks.fast_path import parity_checked
from mimir.config import CHECKPOINT_COPIES, Config
from mimir.console import bar
from mimir.errors import BadInput, Interrupted, NotFound
from mimir.runs import notes
from mimir.runs.head import Head, Kept
from mimir.runs.record import RunRecord, read_run
from mimir.runs.replays import Replay
from mimir.runs.status import final_head
from mimir.runs.store import Store
from mimir.training import checkpoint
from mimir.training import device as gpu
from mimir.training.assemble import build
from mimir.training.loop import Loop, ProgressSnapshot
from mimir.training.machine import Machine
from mimir.training.validation import Validation

CPU = "CPU"
"""Kind of a device that is no GPU: GPUs differ by their names."""
MOST_SHOWN = 200
"""Characters of a text that a machine wrote, and of each that the result keeps."""
_RECORD = ("evaluated", "val", "selected")
"""What of a checkpoint's record follows from training."""


@dataclass(frozen=True)
class Trained:
    """What a run was trained on. kind: CPU or the GPU's name; name: for people."""

    kind: str
    name: str
    torch: str

    @property
    def words(self) -> str:
        return f"{self.name} with torch {self.torch}"


def replay(
    store: Store, run: str, *, anyway: bool = False, say: Callable[[str], None] = lambda line: None
) -> Replay:
    """Train the steps between the last two checkpoints again, here.

    Args:
        anyway: also on another kind of device or version of torch than the run's.
        say: takes a line for people before training begins.

    Raises:
        BadInput: there are no two checkpoints, or this computer is not what the run was trained
            on (not with `anyway`).
        Corrupt, NotFound: a checkpoint cannot be used.
    """
    record = read_run(store, run)
    config = Config.from_dict(record.config)
    head, contents = _newest_two(store, record, config)
    (first, _), (last, content) = contents
    was = _trained_on(store, head, first, last, checkpoint.told(content))
    machine = _machine(config, was[-1])
    here = Trained(
        gpu.name(machine.device) if machine.device.type == "cuda" else CPU, "", torch.__version__
    )
    alike = all((here.kind, here.torch) == (each.kind, each.torch) for each in was)
    if not alike and not anyway:
        words = ", then on ".join(each.words for each in was)
        there = "replay it there, or " if len(was) == 1 else ""
        raise BadInput(
            f"run {run} was trained on {words}, and here is {_named(here.kind)} with torch "
            f"{here.torch}, which may round otherwise: {there}compare nevertheless by --anyway"
        )
    engine, peptides = build(store, record, config, machine)
    (began, before), (ended, after) = (
        checkpoint.decode(each, config.sha256(), peptides.digest) for _, each in contents
    )
    engine = parity_checked(engine, say)
    engine.resume(before)
    here = Trained(here.kind, gpu.name(machine.device), here.torch)
    say(f"training steps {first.step:,} to {last.step:,} of run {run} again on {here.words}")
    rows = config.training.eval_rows
    validation = Validation(peptides, machine.device, rows, config.objective)
    shown = first.step

    def stop() -> str:
        nonlocal shown
        advance(engine.step - shown)
        shown = engine.step
        # An attempt may end between a step and its validation, which is then not in its checkpoint.
        there = engine.step == last.step and loop.record.evaluated == ended.evaluated
        return "there" if there or engine.step > last.step else ""

    loop = Loop(
        engine, validation, None, began, ProgressSnapshot(), emit=lambda row: None,
        say=lambda line: None, stop=stop,
    )  # fmt: skip
    steps = last.step - first.step
    with bar("replay", steps, "step") as advance, contextlib.suppress(Interrupted):
        loop.run()  # ends at the later checkpoint
    wrong = _differences(engine.state.tensors(), after)
    of_record, own = asdict(ended), asdict(loop.record)
    wrong |= {f"record.{name}": None for name in _RECORD if of_record[name] != own[name]}
    tensor = min(wrong, default="")
    return Replay(
        store.now(), first.step, last.step, last.sha256, here.name, here.torch,
        _listed(each.name for each in was), _listed(each.torch for each in was), alike,
        len(after) + len(_RECORD), len(wrong), tensor[:MOST_SHOWN], wrong.get(tensor),
    )  # fmt: skip


def _newest_two(
    store: Store, record: RunRecord, config: Config
) -> tuple[Head, list[tuple[Kept, bytes]]]:
    """HEAD and its last two checkpoints, the earlier one first, with their bytes."""
    for again in (True, True, False):
        head = final_head(store, record.name, store.now())
        if len(head.kept) < 2:
            has = f"one checkpoint, of step {head.step:,}" if head.kept else "no checkpoint yet"
            raise BadInput(
                f"run {record.name} has {has}: a replay trains from one checkpoint to the next"
            )
        for kept in head.kept[-2:]:
            config.check_size(kept.key, kept.size, CHECKPOINT_COPIES)
        try:
            found = [
                (kept, store.get(kept.key, size=kept.size, sha256=kept.sha256))
                for kept in head.kept[-2:]
            ]
            return head, found
        except NotFound:  # a run that goes on drops its older checkpoints
            if not again:
                raise
    raise AssertionError("the last try returns or raises")


def _trained_on(
    store: Store, head: Head, first: Kept, last: Kept, record: checkpoint.Record
) -> list[Trained]:
    """What the steps between two checkpoints were trained on, each machine and torch once.

    By the heartbeats of all attempts that took one of them; what an attempt did not tell is as in
    the record, which is that of the run's first attempt.
    """
    attempts, ends = list[int](), last.step
    for number, began in reversed(head.lineage):  # what an attempt did beyond the next was lost
        if began < ends and first.step < ends:
            attempts.append(number)
        ends = min(ends, began)
    found = [_of_attempt(store, head.run, each, record) for each in reversed(attempts or [0])]
    return list(dict.fromkeys(found))


def _of_attempt(store: Store, run: str, attempt: int, record: checkpoint.Record) -> Trained:
    """What an attempt trained on, 0 for one that is not known. A machine wrote the texts."""
    beat = notes.unless_damaged(notes.read_heartbeat, store, run, attempt) if attempt else None
    version = ((beat.torch if beat else "") or record.torch)[:MOST_SHOWN]
    if beat is None or beat.execution is None or not beat.device:
        kind = CPU if record.device == "cpu" else record.device[:MOST_SHOWN]
        return Trained(kind, _named(kind), version)
    name = beat.device[:MOST_SHOWN]
    return Trained(CPU if beat.execution.device == "cpu" else name, name, version)


def _listed(texts: Iterable[str]) -> str:
    """Each once, within what the result holds."""
    return ", ".join(dict.fromkeys(texts))[:MOST_SHOWN]


def _named(kind: str) -> str:
    return "a CPU" if kind == CPU else kind


def _machine(config: Config, was: Trained) -> Machine:
    device = "cpu" if was.kind == CPU else "auto"
    return Machine.choose(config.with_settings({"device": device}))


def _differences(live: dict[str, Tensor], want: dict[str, Tensor]) -> dict[str, float | None]:
    """The tensors that are not bit for bit the same, each with its largest difference."""
    wrong: dict[str, float | None] = {}
    for name in live.keys() | want.keys():
        if name not in live or name not in want:
            wrong[name] = None
            continue
        one, two = live[name].detach().cpu().contiguous(), want[name].contiguous()
        if one.shape != two.shape or one.dtype != two.dtype:
            wrong[name] = None
        elif not torch.equal(one.view(-1).view(torch.uint8), two.view(-1).view(torch.uint8)):
            apart = float((one.double() - two.double()).abs().max())
            wrong[name] = apart if apart == apart and apart < 3e38 else None
    return wrong
