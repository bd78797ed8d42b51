"""What a plan asks of whoever runs a rented machine, as far as services tell it."""

from dataclasses import dataclass
from typing import Annotated, Any

from mimir.errors import BadInput
from mimir.runs.ranges import AtMost, Between
from mimir.text import nearest

KINDS = ("any", "verified", "datacenter")
MOST_REGIONS = 32
RELIABILITY = 0.95
DOWNLOAD = 100.0
"""Mbit/s: a rented machine's image takes five minutes with it."""


@dataclass(frozen=True)
class Hosts:
    """Whose machines may be rented.

    kind: "" for what each provider does by itself (Caps.whose says what that is); "any"; "verified"
    for hosts that the service has looked at; "datacenter" for data centres that it vouches for.
    regions: names or codes, lower case, () for any; launch/contract/regions.py says what matches.
    reliability: the least share of time, 0 to 1, that a host was there. download, upload: the least
    rates of its line, Mbit/s, 0 for any. The last three count where a service tells them.
    """

    kind: str = ""
    regions: Annotated[tuple[str, ...], AtMost(MOST_REGIONS)] = ()
    reliability: Annotated[float, Between(0, 1)] = RELIABILITY
    download: Annotated[float, Between(0, 1e6)] = DOWNLOAD
    upload: Annotated[float, Between(0, 1e6)] = 0.0

    def __post_init__(self) -> None:
        if self.kind not in ("", *KINDS):
            raise BadInput(f"--hosts is {self.kind!r}{nearest(self.kind, KINDS)}")
        if len(self.regions) > MOST_REGIONS:
            raise BadInput(f"--region has {len(self.regions)} names: {MOST_REGIONS} are taken")
        for name, value, most in (
            ("reliability", self.reliability, 1.0),
            ("download", self.download, 1e6),
            ("upload", self.upload, 1e6),
        ):
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not (number and 0 <= value <= most):
                shown = f"{value:g}" if isinstance(value, float) else repr(value)
                raise BadInput(f"--min-{name} is {shown}, but must be a number from 0 to {most:g}")

    def as_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind, "regions": list(self.regions), "reliability": self.reliability,
            "download": self.download, "upload": self.upload,
        }  # fmt: skip
