"""What Colab's sessions hold, as the training guide has it: free ones 4 to 12 hours, Pro's 24."""

import math

from launch.pricing.forecast import Forecast

FREE = ("T4",)
PRO = ("T4", "L4", "RTX PRO 6000", "A100 40GB", "A100 80GB", "H100 SXM")
"""What Colab's command line lets one ask for (T4, L4, G4, A100, H100); V100 it no longer has."""
FREE_HOURS = (4.0, 12.0)
"""A session may end after the first, and does after the second."""
PRO_HOURS = 24.0
COMMON = (
    "T4", "V100", "L4", "A10", "RTX 3090", "RTX 4090", "RTX 5090", "RTX A6000", "L40S",
    "A100 40GB", "A100 80GB", "H100 PCIe", "H100 SXM", "H200", "B200",
)  # fmt: skip
"""The GPUs of the estimate's table."""


def free(what: Forecast) -> str:
    """Whether the run fits a free session; "" where Colab has no such GPU.

    A run goes on from its checkpoint in the next session, at the price of one more start.
    """
    if what.gpu not in FREE or not what.fits:
        return ""
    sure, most = FREE_HOURS
    if what.hours <= sure:
        return "fits"
    if what.hours <= most:
        return f"may fit, or {_sessions(what, sure)} sessions"
    return f"{_sessions(what, most)} to {_sessions(what, sure)} sessions"


def pro(what: Forecast) -> str:
    """The same of a Pro session."""
    if what.gpu not in PRO or not what.fits:
        return ""
    return "fits" if what.hours <= PRO_HOURS else f"{_sessions(what, PRO_HOURS)} sessions"


def _sessions(what: Forecast, hours: float) -> int:
    return math.ceil(what.train_hours / (hours - what.start_s / 3600))
