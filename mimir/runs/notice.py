"""How long before its end a cloud tells a spot machine, and whether a checkpoint fits into that.

A notice is of use if a checkpoint that is taken then reaches the store before the machine is gone.
Where it does not, what an eviction costs is the work since the last periodic checkpoint, so these
come closer together.
"""

SECONDS = {"aws": 120.0, "gcp": 30.0}
"""Of notice, by who gives it (mimir/worker/notices.py has the sources)."""
DELAY = 10.0
"""Seconds of it that go by before the checkpoint is taken and after it is there: five between two
looks, and five for the step under way and for the attempt's outcome."""
SHORTEST = 60.0
"""Seconds between periodic checkpoints below which nothing is shortened: uploads cost money."""


def suffices(notice: float, commit: float) -> bool:
    """Whether a checkpoint that takes `commit` seconds to the store fits into this notice (s)."""
    return commit <= notice - DELAY


def interval(chosen: float, notice: float, commit: float | None) -> float:
    """Seconds between periodic checkpoints, of which the user chose `chosen`.

    Shortened, at most to SHORTEST, where the notice does not suffice; and at first, while nobody
    knows whether it does. At least twice what a commit takes: half of the line is enough.

    Args:
        notice: seconds of notice that the machine gets, 0 for none at all.
        commit: seconds from a checkpoint to its place in the store, None if not measured yet.
    """
    if not notice or (commit is not None and suffices(notice, commit)):
        return chosen
    return min(chosen, max(SHORTEST, 2 * (commit or 0.0)))
