"""A kernel that would be launched on a GPU, and what is read of its code."""

import re
from collections import Counter
from dataclasses import dataclass, field

ACCESS = re.compile(r"\b(ld|st)\.global(?:\.(?!v\d)[a-zA-Z_][\w:]*)*?(?:\.v(\d))?\.[bfsu](\d+)\b")


@dataclass(frozen=True)
class Code:
    """A kernel's machine code."""

    registers: int
    spilled: int
    """Bytes that a thread stores to memory and loads again because registers are too few."""
    shared: int
    """Bytes of shared memory of a block."""
    accesses: dict[str, Counter[int]] = field(compare=False)
    """"ld" and "st" -> bytes that one instruction moves -> number of such instructions."""


@dataclass(frozen=True)
class Launch:
    """A kernel that would be launched."""

    name: str
    moved: int
    """Bytes of its arguments: read or written once each."""
    flop: int = 0
    code: Code | None = None
    """None for a library's own kernel."""


def accesses(ptx: str) -> dict[str, Counter[int]]:
    """Accesses to global memory in a kernel's PTX, as `Code.accesses` has them."""
    found: dict[str, Counter[int]] = {"ld": Counter(), "st": Counter()}
    for kind, vector, bits in ACCESS.findall(ptx):
        found[kind][int(vector or 1) * int(bits) // 8] += 1
    return found
