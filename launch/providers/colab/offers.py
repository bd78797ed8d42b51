"""The machines that Colab has, by its own names for their GPUs.

What a session costs is compute units, which an account has or not, so the price of an offer
is 0; whether this account gets one, only the order tells.
"""

from launch.contract.offer import Offer
from launch.pricing import gpus
from mimir.errors import BadInput
from mimir.text import nearest

ACCELERATORS = {"T4": 16.0, "L4": 24.0, "G4": 96.0, "A100": 40.0, "H100": 80.0}
"""Colab's names, with the GPU's memory in GB. The CLI makes an A100 of any other, which only
fails or costs; so a name is checked before it is called."""
CPU = "cpu"
"""The name of a machine without a GPU."""
DEFAULT = "T4"
"""What a free account may get."""


def accelerator(name: str) -> str:
    """Colab's name of a GPU as anybody writes it, "" for none ("cpu").

    Raises:
        BadInput: Colab has no such.
    """
    if name.strip().lower() == CPU:
        return ""
    for own in ACCELERATORS:
        if gpus.canonical(own) == gpus.canonical(name):
            return own
    raise BadInput(f"Colab has no GPU {name!r}{nearest(name.upper(), (*ACCELERATORS, CPU))}")


def offer(name: str) -> Offer:
    """One of Colab's machines as an offer; BadInput if it has none of this name."""
    own = accelerator(name)
    gpu = gpus.canonical(own) if own else CPU
    number = f"colab-{(own or CPU).lower()}"
    return Offer("colab", number, gpu, ACCELERATORS.get(own, 0.0), 0.0, place="colab")


def offers(wanted: tuple[str, ...] = ()) -> list[Offer]:
    """All that are wanted, by the names of launch/pricing/gpus.py; () for any."""
    found = [offer(name) for name in (*ACCELERATORS, CPU)]
    return [each for each in found if not wanted or each.gpu in wanted]
