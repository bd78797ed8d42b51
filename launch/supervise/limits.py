"""Whether a run that was interrupted may go on: what was asked of it, and its limits."""

from launch.pricing import budget
from launch.provision.plan import stop_asked
from launch.supervise import diagnosis
from launch.ui import runs
from mimir.runs.order import Order
from mimir.runs.status import Status
from mimir.runs.store import Store


def ending(store: Store, status: Status, last: Order, most_idle: int) -> tuple[str, str] | None:
    """(state, reason) if the run shall not go on, None if it may.

    last: the order of its newest attempt. most_idle: machines in a row that may leave no new step,
    whatever ended them.
    """
    if status.attempt and stop_asked(store, status.run, last.asked_from, status.attempt):
        return "stopped", "asked to stop"
    bounds = last.plan.limits
    why = budget.remaining(bounds, status, status.at).why
    if why:
        return "stopped", f"{why}: {more(status.run)}"
    if bounds.max_failures and diagnosis.failures(status, last.since) >= bounds.max_failures:
        return (
            "failed",
            f"{bounds.max_failures} of its machines or workers broke, the last one: "
            f"{status.attempts[-1].end}",
        )
    if (idle := diagnosis.idle(status, last.since)) >= most_idle:
        last_end = status.attempts[-1].end
        return "failed", f"{idle} machines have left no new step, the last one: {last_end}"
    return None


def more(run: str) -> str:
    """How the reason ends of a run whose limits are used up."""
    return f"go on by `{runs.command('resume', run)}` with more"
