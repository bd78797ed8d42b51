"""Ranges of a document's fields, as annotations: `codec.typed` refuses what lies outside.

What a machine writes is untrusted. A number without a range is an endless loop, a price without
one is anybody's; the widest range that can be meant is enough to keep both out.
"""

from collections.abc import Sized
from dataclasses import dataclass
from typing import Annotated

MOST_ATTEMPTS = 10**9 - 1
"""Of a run. How many there really were, its orders say: no loop counts up to what HEAD says."""
MOST_STEPS = 10**12
TEXT = 4_096
"""Characters of one text; `codec.shortened` cuts what is written."""
MOST_KEPT = 16
"""Checkpoints that HEAD names: retention keeps four, and an attempt that begins adds two."""
FLOAT32 = 3.5e38
"""Above the largest float32: losses are such numbers."""


@dataclass(frozen=True)
class Between:
    """A number from `least` to `most`, both included."""

    least: float
    most: float

    def wrong(self, value: float) -> str:
        """What the value must be, "" if it is."""
        in_range = self.least <= value <= self.most
        return "" if in_range else f"from {self.least:g} to {self.most:g}"


@dataclass(frozen=True)
class OneOf:
    """One of these words."""

    words: tuple[str, ...]

    def wrong(self, value: str) -> str:
        """What the value must be, "" if it is."""
        return "" if value in self.words else f"one of {', '.join(map(repr, self.words))}"


@dataclass(frozen=True)
class Characters:
    """A text of so many characters or fewer."""

    most: int

    def wrong(self, value: str) -> str:
        """What the value must be, "" if it is."""
        return "" if len(value) <= self.most else f"a text of at most {self.most} characters"


@dataclass(frozen=True)
class AtMost:
    """A list of so many values or fewer."""

    most: int

    def wrong(self, value: Sized) -> str:
        """What the value must be, "" if it is."""
        return "" if len(value) <= self.most else f"a list of at most {self.most}"


Time = Annotated[float, Between(0, 1e11)]
"""Unix s."""
AnyTime = Annotated[float, Between(-1e15, 1e15)]
"""What a machine's clock says, which is compared with no other."""
Seconds = Annotated[float, Between(0, 1e9)]
Step = Annotated[int, Between(0, MOST_STEPS)]
Number = Annotated[int, Between(1, MOST_ATTEMPTS)]
"""Of an attempt."""
NumberOrNone = Annotated[int, Between(0, MOST_ATTEMPTS)]
"""Of an attempt, or 0 for none."""
Sequence = Annotated[int, Between(0, 10**15)]
Size = Annotated[int, Between(0, 1 << 40)]
"""Bytes."""
Price = Annotated[float, Between(0, 1e6)]
"""$/h."""
Hours = Annotated[float, Between(0, 1e7)]
Measure = Annotated[float, Between(-FLOAT32, FLOAT32)]
"""A loss or another figure of a training."""
Rate = Annotated[float, Between(0, 1e9)]
"""Steps/s."""
ExitCode = Annotated[int, Between(-1_000, 1_000)]
Card = Annotated[int, Between(0, 63)]
"""Which GPU of a computer."""
Process = Annotated[int, Between(1, 2**31 - 1)]
"""A process id: 0 and less mean whole groups of processes to the system."""
