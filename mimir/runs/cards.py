"""Which of a computer's GPUs trains: "cuda:1" is the second one, and a worker sees no other.

No setting of a run, which may go on elsewhere: the run's device is "cuda", and whoever starts its
worker hides the other cards.
"""

from collections.abc import Mapping

from mimir.errors import BadInput

MOST = 64
"""Cards of one computer, as mimir.runs.ranges.Card has them."""


def split(device: object) -> tuple[str, int | None]:
    """A device and which card of it: ("cuda", 1) of "cuda:1"; None if it names no card.

    BadInput for what is no number of a card.
    """
    name, colon, number = str(device).partition(":")
    if not colon or name != "cuda":
        return str(device), None
    if not (number.isascii() and number.isdigit() and int(number) < MOST):
        raise BadInput(f"device is {device!r}, but a card is written as cuda:0 to cuda:{MOST - 1}")
    return name, int(number)


def visible(card: int, environ: Mapping[str, str]) -> str:
    """CUDA's name of the card: where CUDA_VISIBLE_DEVICES is set, the one in it.

    BadInput if there are not so many in it.
    """
    shown = environ.get("CUDA_VISIBLE_DEVICES", "")
    listed = [each.strip() for each in shown.split(",") if each.strip()]
    if listed and card >= len(listed):
        raise BadInput(
            f"--device cuda:{card} is not there: CUDA_VISIBLE_DEVICES is {shown!r} here, so that "
            f"cards are counted from 0 to {len(listed) - 1}"
        )
    return listed[card] if listed else str(card)


def only(card: int | None, environ: Mapping[str, str]) -> dict[str, str]:
    """What a worker's environment gets so that it sees this card alone; {} for any card."""
    if card is None:
        return {}
    # As nvidia-smi counts them: CUDA's own order is by speed.
    return {
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": visible(card, environ),
    }  # fmt: skip
