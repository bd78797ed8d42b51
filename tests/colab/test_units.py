"""What a Colab account with compute units pays for a session."""

import pytest

from launch.contract.errors import AuthFailed
from launch.contract.redaction import Secrets
from launch.providers.colab.account import Account
from launch.providers.colab.cli import Cli
from launch.providers.colab.offers import offer
from tests.colab import said
from tests.colab.computer import Place


@pytest.fixture
def account(place: Place) -> Account:
    return Account(Cli(place.environ), Secrets())


def test_what_a_session_costs(place: Place, account: Account) -> None:
    place.answer("usage", 0, said.UNITS)
    assert account.balance() == 1083.4
    assert account.priced(offer("T4"), "T4").price == 0.2
    assert account.priced(offer("cpu"), "").price == 0.0
    assert "has 1083.40 compute units" in account.sentence()
    assert "$1 is 10 units" in account.sentence()
    assert len([call for call in place.asked() if "usage" in call["words"]]) == 1


def test_an_account_without_units(account: Account) -> None:
    assert account.balance() == 0.0
    assert account.priced(offer("T4"), "T4").price == 0.0
    assert account.sentence() == ""


@pytest.mark.parametrize(("code", "text"), [(0, "Balance: many"), (1, said.UNREACHED)])
def test_what_cannot_be_told_is_not_taken_for_free(
    code: int, text: str, place: Place, account: Account
) -> None:
    place.answer("usage", code, text)
    assert account.balance() is None
    assert account.priced(offer("H100"), "H100").price == 2.0
    assert "the CLI did not tell" in account.sentence()


def test_nobody_is_signed_in(place: Place, account: Account) -> None:
    place.answer("usage", 1, said.NO_LOGIN)
    with pytest.raises(AuthFailed):
        account.balance()
