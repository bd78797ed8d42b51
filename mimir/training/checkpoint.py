"""Encodes the whole training state as one safetensors object, and decodes it.

Tensors by name, and one metadata key with canonical JSON: with several keys safetensors
writes them in random order, and equal states would have unequal digests. What follows from
the step (order, masks, learning rate) is not stored.
"""

from dataclasses import asdict, dataclass
from typing import Annotated, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from mimir.config import CHECKPOINT_FORMAT
from mimir.data.files import canonical_json, record_of
from mimir.errors import BadInput, Corrupt, NonFinite
from mimir.runs import codec
from mimir.runs.ranges import MOST_STEPS, Between, Measure, Number, Step
from mimir.training.state import TrainingState


@dataclass(frozen=True)
class Record:
    """What a checkpoint says of itself, beside its tensors."""

    step: Step
    config_sha256: str
    data_sha256: str
    attempt: Number
    torch: str
    device: str
    evaluated: Annotated[int, Between(-1, MOST_STEPS)] = -1
    """Step of the last validation."""
    val: Measure | None = None
    """Its figure that is shown: held-out NELBO of background peptides, nats per residue."""
    selected: Measure | None = None
    """Its figure that selects. Of the best one the tensors tell."""
    format: int = CHECKPOINT_FORMAT


@dataclass(frozen=True)
class Snapshot:
    """A copy of the state on the host that training no longer touches."""

    record: Record
    tensors: dict[str, Tensor]
    ready: Any = None
    """A CUDA event after which the copy is complete, or None."""
    home: list[dict[str, Tensor]] | None = None
    """Where its tensors are kept for the next copy; None if nobody keeps them."""

    def encode(self) -> bytes:
        """The object's bytes. Raises NonFinite if a tensor holds NaN or infinity."""
        if self.ready is not None:
            self.ready.synchronize()
        for name, value in self.tensors.items():
            # The windows of losses and norms may hold a skipped fp16 step's infinity.
            if not name.startswith("loop.") and not bool(torch.isfinite(value).all()):
                raise NonFinite(
                    f"{name} is not finite at step {self.record.step}: nothing was committed, the "
                    "last good checkpoint stands; lower --lr or look at the data"
                )
        return save(self.tensors, {"mimir": canonical_json(asdict(self.record))})

    def release(self) -> None:
        """It is done with: the next copy may be made where it lies."""
        if self.home is not None:
            self.home.append(self.tensors)


def take(state: TrainingState, record: Record) -> Snapshot:
    """Copy the state to the host. On a GPU the copy is queued, and training goes on at once."""
    live = state.tensors()
    if not state.master.is_cuda:
        return Snapshot(record, {name: value.clone() for name, value in live.items()})
    copies = _copied(live, state.buffers)
    event = torch.cuda.Event()
    event.record()
    return Snapshot(record, copies, event, state.buffers)


def _copied(live: dict[str, Tensor], kept: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Copies on the host, in memory that was released or else in new memory."""
    copies = kept.pop() if kept else {
        name: torch.empty(value.shape, dtype=value.dtype, pin_memory=value.is_cuda)
        for name, value in live.items()
    }  # fmt: skip
    for name, value in live.items():
        copies[name].copy_(value, non_blocking=True)
    return copies


def told(content: bytes) -> Record:
    """What a checkpoint says of itself. Corrupt if it is not a whole checkpoint of this format."""
    try:
        body = record_of(content, "its record")
    except (Corrupt, BadInput) as error:
        raise Corrupt(f"not a whole checkpoint ({error})") from None
    codec.check_format(body, CHECKPOINT_FORMAT, "the checkpoint", machines=True)
    return codec.typed(Record, body, "not a whole checkpoint, its record")


def decode(
    content: bytes, config_sha256: str, data_sha256: str
) -> tuple[Record, dict[str, Tensor]]:
    """The inverse of `encode`.

    Raises:
        Corrupt: not a whole checkpoint.
        BadInput: of another format, configuration or data set.
    """
    record = told(content)
    if record.config_sha256 != config_sha256:
        raise BadInput("the checkpoint is of another configuration than this run's")
    if record.data_sha256 != data_sha256:
        raise BadInput("the checkpoint was trained on another data set than this run's")
    try:
        return record, load(content)
    except (SafetensorError, KeyError, ValueError) as error:
        raise Corrupt(f"not a whole checkpoint ({error})") from None


def decode_committed(
    content: bytes, config_sha256: str, data_sha256: str
) -> tuple[Record, dict[str, Tensor]]:
    """As `decode`, and Corrupt also for what no run commits: numbers that are not finite, or a
    count of steps that is not its record's."""
    record, tensors = decode(content, config_sha256, data_sha256)
    for name, value in tensors.items():
        if not name.startswith("loop.") and not bool(torch.isfinite(value).all()):
            raise Corrupt(f"not a whole checkpoint ({name} is not finite)")
    step = tensors.get("loop.step")
    if step is None or not torch.equal(step, torch.tensor(record.step)):
        raise Corrupt(f"not a whole checkpoint (its loop.step is not {record.step})")
    return record, tensors
