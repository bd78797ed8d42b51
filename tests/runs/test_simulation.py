"""Schedules of faults against the commit code, and proof that the simulation sees mistakes."""

import pytest

from tests.runs.simulate import FAILED, Simulation, fresh_seed, play
from tests.runs.truth import Violation


@pytest.mark.slow
def test_two_thousand_schedules() -> None:
    total = play(range(1_500)) + play(fresh_seeds(500)) + play(FAILED)
    # Were one of these rare, the run would prove little.
    assert total["takeovers"] > 2_000
    assert total["commits"] > 5_000
    assert total["fenced"] > 500
    assert total["swept"] > 500
    assert total["fallbacks"] > 3
    assert total["finished"] > 1_000
    assert total["survivors"] > 50


def fresh_seeds(many: int) -> range:
    """Others at each call; a violation names its seed, which then belongs into FAILED."""
    first = fresh_seed()
    return range(first, first + many)


def test_a_seed_is_a_schedule() -> None:
    first, second = Simulation(7), Simulation(7)
    assert first.run() == second.run()
    assert first.point == second.point


@pytest.mark.parametrize(
    ("variant", "sees"),
    [
        ("unconditional", "went|changed HEAD|seq"),
        ("looks-then-writes", "went|changed HEAD|seq"),
        ("deaf", "made no end|survived"),
        ("anonymous-keys", "overwritten|other bytes|deleted|not written by"),
        ("face-value", "told Fenced while it owns HEAD"),
        ("delete-unknown", "missing|deleted"),
    ],
)
def test_a_weakened_protocol_is_caught(variant: str, sees: str) -> None:
    with pytest.raises(Violation, match=rf"seed \d+: .*({sees})"):
        play(range(500), variant)
