"""Which GPU of a computer trains."""

import pytest

from mimir.errors import BadInput
from mimir.runs import cards


@pytest.mark.parametrize(
    ("device", "meant"),
    [
        ("cuda:1", ("cuda", 1)), ("cuda:0", ("cuda", 0)), ("cuda", ("cuda", None)),
        ("auto", ("auto", None)), ("gpu:1", ("gpu:1", None)), (3, ("3", None)),
    ],
)  # fmt: skip
def test_split(device: object, meant: tuple[str, int | None]) -> None:
    assert cards.split(device) == meant


@pytest.mark.parametrize("device", ["cuda:", "cuda:x", "cuda:-1", "cuda:64", "cuda:1:2", "cuda:١"])
def test_what_is_no_card(device: str) -> None:
    with pytest.raises(BadInput, match="a card is written as cuda:0 to cuda:63"):
        cards.split(device)


@pytest.mark.parametrize(
    ("card", "shown", "given"),
    [
        (None, "2,3", None),
        (1, "", "1"),
        (1, "2,3", "3"),
        (0, "GPU-ab", "GPU-ab"),
        (1, "4 , 5", "5"),
    ],
)
def test_a_worker_sees_one(card: int | None, shown: str, given: str | None) -> None:
    found = cards.only(card, {"CUDA_VISIBLE_DEVICES": shown})
    assert found.get("CUDA_VISIBLE_DEVICES") == given
    assert ("CUDA_DEVICE_ORDER" in found) == (card is not None)


def test_one_that_is_hidden_here_is_no_choice() -> None:
    with pytest.raises(BadInput, match="cuda:2 is not there: CUDA_VISIBLE_DEVICES is '2,3' here"):
        cards.only(2, {"CUDA_VISIBLE_DEVICES": "2,3"})
