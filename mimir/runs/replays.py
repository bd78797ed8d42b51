"""replay.json: what came out when the run's last steps were trained again (`mimir replay`).

Written with the user's own rights, where no machine can write, so the report may show it.
"""

import time as clock
from dataclasses import asdict, dataclass
from typing import Annotated

from mimir.runs import codec, layout
from mimir.runs.ranges import FLOAT32, Between, Characters, Size, Step, Time
from mimir.runs.store import Store

FORMAT = 1
Short = Annotated[str, Characters(200)]


@dataclass(frozen=True)
class Replay:
    """One replay. time: unix s by the store's clock. from_step, to_step: of the two checkpoints;
    sha256: of the later one, as the run committed it.

    device, torch: what it was replayed on. run_device, run_torch: what the run was trained on
    between the two. alike: whether those are of one kind, so that equal bits are promised.
    tensors: how many were compared, different: how many of them differ. tensor: the first of these
    by name, "" for none; difference: the largest of its numbers', None where its numbers cannot be
    subtracted.
    """

    time: Time
    from_step: Step
    to_step: Step
    sha256: Annotated[str, Characters(64)]
    device: Short
    torch: Short
    run_device: Short
    run_torch: Short
    alike: bool
    tensors: Size
    different: Size
    tensor: Short = ""
    difference: Annotated[float, Between(0, FLOAT32 * 2)] | None = None

    @property
    def identical(self) -> bool:
        """Whether every tensor came out bit for bit."""
        return self.different == 0

    @property
    def verdict(self) -> str:
        """ "identical", or what differs."""
        if self.identical:
            return "identical"
        by = "" if self.difference is None else f" by up to {self.difference:.3g}"
        return (
            f"different in {self.different:,} of {self.tensors:,} tensors, first by name "
            f"{self.tensor}{by}"
        )

    @property
    def sentence(self) -> str:
        """For people, such as "replayed on 2026-11-28 on a CPU …: identical"."""
        day = clock.strftime("%Y-%m-%d", clock.gmtime(self.time))
        where = f"{self.device}, torch {self.torch}"
        if not self.alike:
            where += (
                f"; the run: {self.run_device}, torch {self.run_torch}, so it may round otherwise"
            )
        return (
            f"steps {self.from_step:,} to {self.to_step:,} replayed on {day} ({where}): "
            f"{self.verdict}"
        )


def write(store: Store, run: str, replay: Replay) -> None:
    """Keep the result in place of that of an earlier replay."""
    store.put(layout.replay_key(run), codec.sealed(asdict(replay), FORMAT))


def read(store: Store, run: str) -> Replay | None:
    """The last result; None if the run was never replayed. Corrupt, OtherFormat as any document."""
    key = layout.replay_key(run)
    found = store.read(key)
    return codec.typed(Replay, codec.unsealed(found.data, FORMAT, key), key) if found else None
