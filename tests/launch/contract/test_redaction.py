"""Secrets in texts: known ones in every form, and what looks like a token."""

import base64
import json
from urllib.parse import quote

import pytest

from launch.contract import redaction
from launch.contract.errors import ProviderError
from launch.contract.redaction import Secrets

SECRET = "wJalrPLANTED/K7MDENG+bPxRfiCYEXAMPLEKEY"
LINK = (
    "https://bucket.example/runs/run/keys.json?X-Amz-Algorithm=AWS4-HMAC-SHA256"
    "&X-Amz-Credential=PLANTEDKEYIDOFSOMEBODY%2F20261128%2Feu-1%2Fs3%2Faws4_request"
    "&X-Amz-Signature=9f86d081884c7d659a2feaa0c55ad015"
)


@pytest.fixture
def secrets() -> Secrets:
    made = Secrets()
    made.learn(SECRET)
    return made


@pytest.mark.parametrize(
    "written",
    [
        SECRET,
        quote(SECRET, safe=""),
        quote(SECRET, safe="").replace("%2F", "%2f"),
        json.dumps(json.dumps({"a": SECRET})),
        *(base64.b64encode(f"{'x' * n}{SECRET}yz".encode()).decode() for n in range(3)),
        base64.urlsafe_b64encode(f">>>???{SECRET}".encode()).decode(),
        SECRET[:20],
        SECRET[-20:],
        SECRET[8:22],
    ],
)
def test_every_form_and_piece_goes(secrets: Secrets, written: str) -> None:
    cleaned = secrets.clean(f"before <{written}> after")
    assert cleaned.startswith("before <")
    assert cleaned.endswith("> after")
    for piece in (SECRET[:12], SECRET[13:25], SECRET[-12:]):
        assert piece not in cleaned
        assert base64.b64encode(piece.encode()).decode().rstrip("=")[:12] not in cleaned
    assert redaction.GAP in cleaned


def test_other_words_stay(secrets: Secrets) -> None:
    secrets.learn("yes", "1", "")
    text = "yes, 1 machine of mimir-run-a0001 is not available in us-west-2 (wJalr)"
    assert secrets.clean(text) == text


def test_of_a_signed_link_what_signs_it_is_secret() -> None:
    secrets = Secrets()
    secrets.learn(LINK)
    cleaned = secrets.clean(f"{LINK} PLANTEDKEYIDOFSOMEBODY 9f86d081884c7d659a2feaa0c55ad015")
    assert "https://bucket.example/runs/run/keys.json" in cleaned
    assert "AWS4-HMAC-SHA256" in cleaned
    assert "PLANTED" not in cleaned
    assert "9f86d081884c" not in cleaned


def test_a_link_without_a_query_is_secret_as_a_whole() -> None:
    secrets = Secrets()
    secrets.learn("https://hooks.example/planted-hook")
    assert secrets.clean("cannot take https://hooks.example/planted-hook") == "cannot take …"


def test_settings_of_mimir_are_no_secrets() -> None:
    secrets = Secrets()
    env = {"MIMIR_RUN": "my-first-long-run", "AWS_DEFAULT_REGION": "eu-central-1", "X": SECRET}
    secrets.learn_environment({**env, "MIMIR_KEYS_URL": LINK})
    text = "mimir-my-first-long-run-a0001 in eu-central-1"
    assert secrets.clean(text) == text
    assert secrets.clean(SECRET) == redaction.GAP
    assert "9f86d081884c" not in secrets.clean(LINK)


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("Authorization: Bearer planted.token, more", "Authorization: Bearer …, more"),
        ("?token=planted&x=1", "?token=…&x=1"),
        ("WANDB_API_KEY=planted ok", "WANDB_API_KEY=… ok"),
        ("{'AWS_SECRET_ACCESS_KEY': 'planted'}", "{'AWS_SECRET_ACCESS_KEY': '…'}"),
        ("id AKIAIOSFODNN7EXAMPLE.", "id …."),
        ("x?X-Amz-Signature=planted&y=1", "x?X-Amz-Signature=…&y=1"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nplanted\n", "…"),
        ("RUNPOD_API_KEY is not accepted", "RUNPOD_API_KEY is not accepted"),
        ("12 tokens: fine, status code=404", "12 tokens: fine, status code=404"),
    ],
)
def test_what_looks_like_a_token_goes_unknown_as_it_is(text: str, cleaned: str) -> None:
    assert redaction.clean(text) == cleaned


def test_an_error_is_cleaned_with_what_is_behind_it(secrets: Secrets) -> None:
    def fail() -> None:
        try:
            raise ValueError(f"inner {SECRET}")
        except ValueError as error:
            raise ProviderError(f"outer {SECRET}") from error

    with pytest.raises(ProviderError) as caught, secrets.guard():
        fail()
    assert str(caught.value) == "outer …"
    assert str(caught.value.__cause__) == "inner …"


def test_a_key_is_never_forgotten_and_an_old_order_is(secrets: Secrets) -> None:
    secrets.learn_key("the-key-of-the-service")
    secrets.learn(*(f"value-{number:08d}-of-an-order" for number in range(redaction.REMEMBERED)))
    assert secrets.clean("the-key-of-the-service") == redaction.GAP
    assert secrets.clean(SECRET) == SECRET
    assert "Secrets(" in repr(secrets)
    assert "key" not in repr(secrets)
