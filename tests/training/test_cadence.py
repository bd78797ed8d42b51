"""When a checkpoint is due, and what is said where the interval changes."""

from mimir.training.cadence import REMEMBERED, Cadence


def test_what_is_asked_for_is_due_once() -> None:
    cadence = Cadence(120.0)
    assert not cadence.due(119.0)
    assert cadence.due(120.0)
    cadence.ask()
    assert cadence.due(0.0)
    cadence.taken()
    assert not cadence.due(0.0)


def test_a_change_of_the_interval_is_told_once_with_its_reason() -> None:
    said: list[str] = []
    cadence = Cadence(120.0, 30.0, said.append)
    assert cadence.interval == 60.0, "as nobody knows yet what a commit takes"
    cadence.took(5.0)
    assert (cadence.interval, said) == (120.0, [])
    for _ in range(REMEMBERED):
        cadence.took(28.0)
    assert (cadence.interval, cadence.commit) == (60.0, 28.0)
    assert said == [
        "a checkpoint takes 28 s to the store, for which the notice of 30 s before this machine is "
        "taken away does not suffice: one every 1.0 min from now on instead of 2.0 min"
    ]
    for _ in range(REMEMBERED):
        cadence.took(5.0)
    assert cadence.interval == 120.0
    assert said[1:] == [
        "a checkpoint takes 5.0 s to the store, for which the notice of 30 s before this machine "
        "is taken away suffices again: one every 2.0 min"
    ]


def test_an_interval_that_cannot_be_shortened_is_told_too() -> None:
    said: list[str] = []
    Cadence(60.0, 30.0, said.append).took(28.0)
    assert said[0].endswith("does not suffice: one every 1.0 min, as before")
