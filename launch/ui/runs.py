"""Runs as text for people."""

import re
import shlex
from collections.abc import Sequence

from launch.pricing import bill as cost
from launch.providers import registry
from launch.provision import liveness
from mimir.console import BAD, BOLD, FAINT, GOOD, WARN, Styled, joined, styled, styled_line
from mimir.runs.attempts import AttemptStatus
from mimir.runs.figures import status_words
from mimir.runs.head import REMOVED
from mimir.runs.machine import Machine
from mimir.runs.status import DISPUTED, Status
from mimir.text import countdown, duration, moment, one_line

PROG = "python -m launch"
STYLES = {
    "running": GOOD, "done": GOOD, "queued": WARN, "interrupted": WARN, "stopped": FAINT,
    REMOVED: FAINT, "not begun": FAINT, "not started": FAINT, "failed": BAD, "damaged": BAD,
    DISPUTED: BAD,
}  # fmt: skip
"""Of states of a run, wherever they are shown to a person."""
_STEP = re.compile(r"(?<=\bat step )\d{4,15}\b")
FINISHING = "making samples, uploading the model"
"""After the last step."""


def command(verb: str, name: str, store: str = "", *options: str) -> str:
    """A command line to type; `store` only if it was given on the command line."""
    words = [*PROG.split(), verb, name, *options, *(("--store", store) if store else ())]
    return " ".join(shlex.quote(word) for word in words)


def ending_command(provider: str, id: str, store: str = "") -> str:
    """The command line that ends one machine of a service, by its id there."""
    words = ("reap", "--provider", provider, "--machine", id)
    more = ("--store", store) if store else ()
    return " ".join(shlex.quote(word) for word in (*PROG.split(), *words, *more))


def cost_text(dollars: float | None, statuses: Sequence[Status], *, why: bool = True) -> str:
    """What the machines of runs cost, or that it is nothing or not known, and why.

    dollars: None if none had a price.
    """
    if dollars is not None:
        return f"${dollars:.2f}"
    machines = [each.machine for status in statuses for each in status.attempts if each.machine]
    if not machines:
        return "none: no machine was begun" if why else "none"
    if all(registry.is_own(machine.provider) for machine in machines):
        return "none (own computer)" if why else "none"
    return "not known: no machine had a price" if why else "not known"


def next_commands(name: str, store: str = "") -> str:
    """What to do with a run that goes on."""
    lines = (
        ("how it stands:", command("status", name, store)),
        ("its log:", command("logs", name, store, "--follow")),
        ("stop it:", command("stop", name, store)),
        ("fetch the model:", command("pull", name, store)),
    )
    return "\n".join(f"  {what:<17}{words}" for what, words in lines)


def status_text(
    status: Status, store: str = "", *, busy: bool = False, more: Sequence[tuple[str, str]] = ()
) -> Styled:
    """A run on a screen, with what to do about what is wrong.

    busy: `resume` would not replace its attempt yet, unless it is told to. more: (what, value) of
    further lines, those without a value left out.
    """
    gone = _is_gone(status)
    title = [f"{status.run}: ", state_text(status, gone)]
    if status.reason:
        title.append(f" ({status.reason})")
    lines: list[str] = [joined(title), f"  preset       {status.preset}"]
    lines.append(f"  progress     {progress_text(status)}")
    lines += [f"  sweep        {status.sweep}"] if status.sweep else []
    labels = status.about.words if status.about else ""
    lines += [f"  labels       {labels}"] if labels else []
    lines += [f"  note         {words}" for words in note_lines(status)]
    lines += [f"  began with   {status.origin.words}"] if status.origin else []
    lines += [styled(f"  warning      {status.warning}", WARN)] if status.warning else []
    if status.loss is not None or status.val is not None:
        held_out = status_words(status.held_out())
        loss = f"{status.loss:.4f}" if status.loss is not None else "none yet"
        lines.append(f"  loss         {loss}{held_out}")
    lines += [f"  steps        {status.execution.words}"] if status.execution else []
    if status.telemetry is not None:
        lines += [f"  {what:<12} {value}" for what, value in status.telemetry.words()]
        lines += [styled(f"  warning      {e.text}", WARN) for e in status.telemetry.warnings]
    if status.kept:
        steps = ", ".join(
            f"{kept.step}" + (" (best)" if kept.key == status.best else "") for kept in status.kept
        )
        lines.append(f"  checkpoints  steps {steps}{_shortened(status)}")
    bill = cost.bill(status, status.at)
    lines += [f"  cost         {cost.line(bill)}"] if cost.line(bill) else []
    lines += [f"  evictions    {cost.evicted(bill)}"] if bill.evictions else []
    lines += [f"  {what:<12} {value}" for what, value in more if value]
    lines += _attempts(status)
    lines += [styled(f"  damaged      {status.damage}", BAD)] if status.damage else []
    advice = _advice(status, store, busy, gone)
    return joined([*map(styled_line, lines), *(["", advice] if advice else [])], "\n")


def verdict(status: Status) -> str:
    """How a run ended, in one sentence, with what it took."""
    why = f": {status.reason}" if status.reason else ""
    took = cost.total(cost.bill(status, status.at))
    return one_line(f"run {status.run} is {status.state} at step {_of_total(status)}{why}") + (
        f"; {took}" if took else ""
    )


def table(rows: Sequence[Sequence[str]]) -> Styled:
    """Rows as aligned columns; the first row is the head."""
    head, *others = [[styled_line(cell) for cell in row] for row in rows]
    cells = [[styled(cell, BOLD) for cell in head], *others]
    widths = widths_of(cells)
    return joined((_aligned(row, widths) for row in cells), "\n")


def note_lines(status: Status) -> list[str]:
    """Its notes with their times, if they were asked for."""
    notes = status.about.notes if status.about else ()
    return [f"{moment(note.time)}: {note.text}" for note in notes]


def widths_of(rows: Sequence[Sequence[str]]) -> list[int]:
    """Characters of the longest cell of each column."""
    return [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]


def _aligned(row: Sequence[str], widths: Sequence[int]) -> Styled:
    last = max((number for number, cell in enumerate(row) if cell), default=0)
    kept = list(zip(row, widths, strict=True))[: last + 1]
    parts = [joined([cell, " " * (width - len(cell))]) for cell, width in kept[:-1]]
    return joined([*parts, row[last]], "  ")


def state_text(status: Status, gone: bool = False) -> Styled:
    """The state of a run, with what else must be known of it. gone: its machine was seen gone."""
    if status.damage:
        return styled(f"{_undamaged(status)}, damaged", BAD)
    if gone:
        return in_style(f"{status.state}, its machine is gone", WARN)
    return in_style(_undamaged(status), WARN if status.silent else "")


def in_style(state: str, style: str = "") -> Styled:
    """The name of a state in this style, or in its own."""
    return styled(state, style or STYLES.get(state.partition(",")[0], ""))


def _is_gone(status: Status) -> bool:
    """Whether the machine that should be at work is not there any more."""
    at_work = status.state in ("queued", "running") and status.attempt > 0
    return at_work and liveness.alive(liveness.current(status)) is False


def _undamaged(status: Status) -> str:
    if status.state == "queued" and status.attempt == 0:
        return "not started"
    if status.state in ("queued", "running") and status.stop_requested:
        return f"{status.state}, asked to stop"
    if status.silent and status.silent_s is not None:
        return f"{status.state}, silent for {duration(status.silent_s)}"
    return status.state


def is_finishing(status: Status) -> bool:
    """Whether its last step is done, and its samples and its model are being made."""
    return status.state == "running" and 0 < (status.total_steps or 0) <= status.step


def progress_text(status: Status) -> str:
    """How far a run is, the most important first."""
    parts = [f"step {_of_total(status)}"]
    if status.total_steps:
        parts[0] += f" ({status.step / status.total_steps:.0%})"
    if is_finishing(status):
        parts.append(FINISHING)
    elif status.eta_s is not None:
        parts.append(f"{countdown(status.eta_s)} left")
    if status.expected_end is not None:
        parts.append(f"ends at {status.expected_end} if no validation is better")
    if status.epoch is not None:
        parts.append(f"epoch {status.epoch:.2f}")
    if status.rate is not None:
        parts.append(f"{status.rate:.1f} steps/s")
    if status.state in ("queued", "running") and status.committed_step != status.step:
        parts.append(f"committed {status.committed_step}")
    return ", ".join(parts)


def _shortened(status: Status) -> str:
    """That checkpoints come closer together than the run was given, and why; "" else."""
    if status.checkpoint_s is None:
        return ""
    if status.commit_s is None:
        return f"; one every {duration(status.checkpoint_s)}, until its time to the store is known"
    return (
        f"; one every {duration(status.checkpoint_s)}, because one takes "
        f"{duration(status.commit_s)} to the store, longer than the notice of an eviction allows"
    )


def _of_total(status: Status) -> str:
    return f"{status.step}" + (f" of {status.total_steps}" if status.total_steps else "")


def _figure(value: float | None) -> str:
    return f"{value:.4f}" if value is not None else ""


def _attempts(status: Status) -> list[str]:
    if not status.attempts:
        return []
    rows = [
        (
            _numbers(several),
            f"from step {last.from_step}" if last.from_step is not None else "not begun",
            "none was available" if len(several) > 1 else machine_text(last.machine),
            _end(last, status),
        )
        for several in _refusals_together(status.attempts)
        for last in several[-1:]
    ]
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    lines = [
        "    " + "  ".join([*(row[i].ljust(widths[i]) for i in range(3)), row[3]]) for row in rows
    ]
    return ["  attempts", *lines]


def _refusals_together(attempts: Sequence[AttemptStatus]) -> list[list[AttemptStatus]]:
    """One list for each line: refused orders in a row, which may be hundreds, have one."""
    lines: list[list[AttemptStatus]] = []
    for attempt in attempts:
        refused = attempt.gone is not None and attempt.gone.kind == "refused"
        before = lines[-1][-1].gone if lines else None
        if refused and before is not None and before.kind == "refused":
            lines[-1].append(attempt)
        else:
            lines.append([attempt])
    return lines


def _numbers(several: Sequence[AttemptStatus]) -> str:
    first, last = several[0].attempt, several[-1].attempt
    return f"{first}" if first == last else f"{first} to {last}"


def end_text(run: str, end: str) -> str:
    """How an attempt ended, without the name of its run and with its steps in groups of three."""
    text = end.removeprefix(f"run {run} is done: ")
    return _STEP.sub(lambda found: f"{int(found[0]):,}", text)


def machine_text(machine: Machine | None) -> str:
    """A machine in a few words."""
    if machine is None:
        return "no machine known"
    which = machine.id or (f"process {machine.pid}" if machine.pid else "")
    cost = f"${machine.price:.2f}/h" if machine.price is not None else ""
    return " ".join(word for word in (machine.provider, machine.gpu, which, cost) if word)


def _end(attempt: AttemptStatus, status: Status) -> str:
    if attempt.end:
        code = f" [{attempt.exit_code}]" if attempt.exit_code else ""
        alone = f"; its machine could not end itself: {attempt.unended}" if attempt.unended else ""
        return end_text(status.run, attempt.end) + code + ("" if attempt.gone else alone)
    if liveness.alive(attempt.machine) is False:
        return "its machine is gone"
    if status.state == "running":
        return "working"
    unanswered = attempt.machine is None and attempt.order is not None
    return "ordered, not answered yet" if unanswered else "starting"


def _advice(status: Status, store: str, busy: bool, gone: bool) -> str:
    resume = command("resume", status.run, store)
    if status.state == "interrupted" and busy:
        return ""  # it goes on by itself
    if status.state in ("interrupted", "stopped", "failed", DISPUTED):
        return f"To go on from step {status.committed_step}: {resume}"
    if status.state == REMOVED:
        return f"To finish its removal: {command('rm', status.run, store)}"
    if status.state == "done":
        return f"To fetch the model: {command('pull', status.run, store)}"
    if status.attempt == 0:
        return f"Nothing runs it yet: {resume}"
    if gone:
        return (
            f"Its machine is gone; nothing committed is lost. To go on from step "
            f"{status.committed_step}: {resume}"
        )
    if status.silent and status.silent_s is not None:
        if busy:
            resume = command("resume", status.run, store, "--take-over")
        return (
            f"No sign of it for {duration(status.silent_s)}: its machine may be gone, or cut off "
            f"from the store. To go on elsewhere from step {status.committed_step}: {resume}"
        )
    return ""
