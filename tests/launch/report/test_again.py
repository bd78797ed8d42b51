"""The command line that makes a run again takes the run's data, and no other."""

from dataclasses import replace
from pathlib import Path

import pytest

from launch.report import again
from launch.report.facts import Facts, gather
from launch.report.provenance import digests
from mimir.data.opened import open_data
from mimir.errors import BadInput, NotFound
from mimir.runs import origin
from mimir.runs.origin import Origin
from mimir.runs.record import read_run
from mimir.runs.status import read_head
from mimir.runs.store import Store, open_store
from mimir.submission import enter, prepare
from tests.launch.report.made import begun, train


def facts_of(store: Store) -> Facts:
    train(store)
    return gather(store, read_run(store, "run"), read_head(store, "run"), [])


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Facts:
    """Of a run on the sample as it is packed here."""
    store = open_store((tmp_path_factory.mktemp("sample") / "store").as_uri())
    enter(store, "run", prepare("smoke", {}, ""))
    return facts_of(store)


def packed_otherwise(facts: Facts) -> Facts:
    """As of a run whose data were packed from the same CSV by other rules."""
    assert facts.record.data is not None
    data = replace(facts.record.data, sha256="ab" * 32)
    return replace(facts, record=replace(facts.record, data=data))


def began_with(facts: Facts, kind: str) -> Facts:
    other = Origin(kind, "other", 5, "0" * 64, "0" * 64)
    return replace(facts, record=replace(facts.record, origin=other))


def takes_a_file(facts: Facts) -> bool:
    """Whether the command has --data FILE; then it is said what that is, and its digest."""
    what, command = again.commands(facts)[-1]
    assert ("--data FILE" in command) == ("FILE: the packed data set with the digest" in what)
    if "FILE" in command:
        assert facts.record.data is not None
        assert (
            facts.peptides is not None or facts.record.data.sha256 in dict(digests(facts)).values()
        )
    return "FILE" in command


def test_the_sample_as_it_is_packed_here_is_taken_by_itself(sample: Facts) -> None:
    assert sample.record.data is not None
    assert sample.record.data.sha256 == open_data().peptides.digest
    assert not takes_a_file(sample)


def test_another_packing_of_the_sample_must_be_given(sample: Facts) -> None:
    assert takes_a_file(packed_otherwise(sample))


def test_other_data_must_be_given(tmp_path: Path) -> None:
    assert takes_a_file(facts_of(begun(tmp_path)))


def test_data_that_cannot_be_read_must_be_given(sample: Facts) -> None:
    assert takes_a_file(replace(sample, peptides=None, lost=str(NotFound("it is gone"))))


def test_a_run_that_began_with_another_takes_the_others_data_by_itself(sample: Facts) -> None:
    assert not takes_a_file(began_with(packed_otherwise(sample), origin.STATE))
    assert takes_a_file(began_with(sample, origin.WEIGHTS))


@pytest.mark.parametrize("error", [BadInput("no room"), OSError("no room")])
def test_a_sample_that_cannot_be_packed_here_hides_no_page(
    sample: Facts, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fails() -> None:
        raise error

    monkeypatch.setattr(again, "open_data", fails)
    assert takes_a_file(sample)
