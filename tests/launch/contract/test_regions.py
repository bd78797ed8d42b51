"""Which words name a region, as each service writes it."""

import pytest

from launch.contract import regions


@pytest.mark.parametrize(
    ("region", "words", "meant"),
    [
        ("EU-RO-1", "eu", True), ("EU-RO-1", "eu-ro", True), ("EU-RO-1", "eu-ro-1", True),
        ("EU-RO-1", "ro", False), ("EU-RO-1", "eu-r", False), ("EUR-IS-1", "eu", False),
        ("US-DE-1", "de", False), ("US-DE-1", "eu", False), ("US-DE-1", "EU, us", True),
        ("Berlin, DE", "de", True), ("Berlin, DE", "eu", True), ("Berlin, DE", "berlin", True),
        ("Oslo, NO", "eu", False), ("Delaware, US", "de", False), (", SE", "se", True),
        ("EU-CZ-1, US-TX-3", "us-tx-3", True), ("", "eu", False), ("", "any", True),
        ("us-west-1", "us", True), ("europe-central-1", "eu", False), ("anywhere", "", True),
    ],
)  # fmt: skip
def test_words(region: str, words: str, meant: bool) -> None:
    assert regions.within(region, regions.words_of(words)) == meant


def test_tables() -> None:
    assert len(regions.COUNTRIES) == 249
    assert len(regions.UNION) == 27
    assert regions.UNION < regions.COUNTRIES
