"""How an attempt's steps are executed on its machine: the fast way, or why not.

A machine writes it into its heartbeat, so every field is typed and bounded. The same steps take
up to twice as long without a compiler: whoever pays for them is told which way is taken.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Annotated

from mimir.runs.ranges import AtMost, Between, Characters, OneOf
from mimir.text import clipped

WHY = 300
"""Characters of the reason."""
MANTISSA = {"fp32": 23, "fp16": 10, "bf16": 7}
"""Bits by which metrics, whose columns are numbers, tell one precision from another."""

Name = Annotated[str, Characters(32)]


@dataclass(frozen=True)
class Execution:
    """device: "cuda" or "cpu". precision: of matrix products. compiled: by torch.compile.

    fused: attention by our Triton kernels. graph_steps: steps of one CUDA graph, 0 without graphs.
    kernels: names of further kernels of our own. why: why a faster way is not taken, "" if there
    is none.
    """

    device: Annotated[str, OneOf(("cuda", "cpu"))]
    precision: Annotated[str, OneOf(tuple(MANTISSA))]
    compiled: bool = False
    fused: bool = False
    graph_steps: Annotated[int, Between(0, 10**6)] = 0
    kernels: Annotated[tuple[Name, ...], AtMost(16)] = ()
    why: Annotated[str, Characters(WHY)] = ""

    @property
    def words(self) -> str:
        """For people, such as "bf16, compiled, fused attention, 8 steps a graph"."""
        parts = [self.precision, "compiled" if self.compiled else "not compiled"]
        if self.device == "cuda":
            parts += ["fused attention"] if self.fused else []
            parts += [f"our kernels {', '.join(self.kernels)}"] if self.kernels else []
            parts.append(f"{self.graph_steps} steps a graph" if self.graph_steps else "no graphs")
        return ", ".join(parts) + (f" ({self.why})" if self.why else "")

    def as_row(self) -> dict[str, int]:
        """As columns of metrics."""
        return {
            "compiled": int(self.compiled), "fused": int(self.fused),
            "graph_steps": self.graph_steps, "mantissa_bits": MANTISSA[self.precision],
        }  # fmt: skip


def shortened(why: str) -> str:
    """A reason as it may stand in an Execution."""
    return clipped(" ".join(why.split()), WHY)


def same_speed(
    one: Execution | None,
    compiled: bool,
    precision: str = "",
    fused: bool | None = None,
    kernels: Collection[str] = (),
) -> bool:
    """Whether a rate that was measured so tells how fast steps are that are executed like this.

    Args:
        one: None: a machine that does not tell; it is taken for one that does as it was asked.
        precision: "" if that is not known. fused: None if not known.
        kernels: names of further kernels of our own. A CPU has one way, but for the precision.
    """
    if one is None:
        return True
    if precision not in ("", one.precision):
        return False
    alike = one.compiled == compiled and set(one.kernels) == set(kernels)
    return one.device == "cpu" or (alike and fused in (None, one.fused))
