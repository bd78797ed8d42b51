"""The CLI's texts, and what the launcher makes of them."""

import pytest

from launch.contract.errors import (
    AuthFailed,
    BalanceEmpty,
    NoCapacity,
    ProviderError,
    RateLimited,
    UnknownOutcome,
)
from launch.providers.colab import errors as words
from mimir.errors import BadInput
from tests.colab import said


@pytest.mark.parametrize(
    ("text", "error", "word"),
    [
        (said.PRECONDITION, NoCapacity, "wait some minutes"),
        (said.ACCELERATOR, BalanceEmpty, "compute units"),
        (said.outcome(1), BalanceEmpty, "quota"),
        (said.outcome(2), BalanceEmpty, "used up"),
        (said.outcome(5), AuthFailed, "barred"),
        (said.outcome(9), ProviderError, "could not"),
        (said.http("Service Unavailable"), NoCapacity, "later"),
        (said.http("Too Many Requests"), RateLimited, "wait"),
        (said.http("Forbidden"), AuthFailed, "does not let"),
        (said.http("Unauthorized"), AuthFailed, "sign in"),
        (said.http("Internal Server Error"), UnknownOutcome, "did not answer"),
        (said.http("Gateway Timeout"), UnknownOutcome, "did not answer"),
        (said.TIMED_OUT, UnknownOutcome, "did not answer"),
        (said.NO_LOGIN, AuthFailed, "sign in once"),
        (said.NO_ADC, AuthFailed, "sign in once"),
        (said.UNREACHED, ProviderError, "check the network"),
        ("", ProviderError, "no reason"),
    ],
)
def test_a_refusal_names_what_to_do(text: str, error: type[Exception], word: str) -> None:
    found = words.refusal(text, "A100")
    assert type(found) is error
    assert word in str(found)
    assert "\n" not in str(found)


def test_the_gpu_that_was_refused_is_named() -> None:
    assert "a A100" in str(words.refusal(said.ACCELERATOR, "A100"))


def test_sessions_are_read_line_by_line() -> None:
    text = (
        said.STRUCK
        + said.LINE.format(name="mimir-run-a0001", endpoint="gpu-t4-s-1")
        + said.LINE.format(name="?", endpoint="gpu-t4-s-2")
    )
    assert words.sessions(text) == [
        words.Session("mimir-run-a0001", "gpu-t4-s-1", "T4"),
        words.Session("?", "gpu-t4-s-2", "T4"),
    ]
    assert words.sessions(said.NONE) == []


@pytest.mark.parametrize(
    ("text", "usable"),
    [
        ("Version: 0.7.4\n", True),
        ("Version: 0.7.5\n", True),
        ("Version: 0.7.10\n", True),
        ("Version: 0.7.3\n", False),
        ("Version: 0.6.0\n", False),
        ("Version: 0.8.0\n", False),
        ("Version: 1.0\n", False),
        ("Version: dev\n", False),
        ("", False),
    ],
)
def test_a_version_that_is_not_known_to_work_is_refused(text: str, usable: bool) -> None:
    error = words.unusable(1, text, "/opt/colab")
    assert (error is None) is usable
    if error is not None:
        assert isinstance(error, BadInput)
        assert "pip install" in str(error)
        assert ("(`version` ended with 1: " in str(error)) is (not words.version(text))


@pytest.mark.parametrize("text", [said.DOWNLOAD_FAILED, said.HEADERS])
def test_tokens_are_not_shown(text: str) -> None:
    assert "planted" in text
    assert "planted" not in words.printed(text)
    assert "planted" not in str(words.failure(text, "fetch a file"))


def test_terminal_codes_are_taken_out() -> None:
    assert words.printed("\x1b[31mred\x1b[0m") == "red"
