"""What a model is told of peptides that it draws or scores: an interaction label and a target.

Sampling and scoring both take it from here, so a new kind of condition is added once.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mimir.data.composition import Composition
from mimir.errors import BadInput
from mimir.model.denoiser import NO_LABEL, Denoiser
from mimir.text import nearest

LABELS = {"background": 0, "interacting": 1, "any": NO_LABEL}
"""Labels as commands name them."""


@dataclass(frozen=True)
class Condition:
    """label: one of `LABELS`. target: index of a trained target, or None. name: of the target that
    was asked for, "" if none was; also where the model knows nothing of it.

    bias: what is added to the logits of the 25 letters, which tells how the target's and similar
    targets' peptides are made (`mimir.data.composition`); () for nothing.
    """

    label: int = LABELS["interacting"]
    target: int | None = None
    name: str = ""
    bias: tuple[float, ...] = ()

    def rows(self, model: Denoiser, count: int) -> tuple[Tensor, Tensor]:
        """Labels and targets of so many peptides, int64 [count] each, for `Denoiser.condition`."""
        device = model.letter.device
        target = model.targets if self.target is None else self.target
        return (
            torch.full((count,), self.label, device=device),
            torch.full((count,), target, device=device),
        )

    def shift(self, model: Denoiser, count: int) -> Tensor | None:
        """The bias of so many peptides, float32 [count, V]; None without."""
        if not self.bias:
            return None
        return torch.tensor(self.bias, device=model.letter.device).expand(count, -1)

    @property
    def told(self) -> bool:
        """Whether anything is told of a target."""
        return self.target is not None or bool(self.bias)

    @property
    def untold(self) -> "Condition":
        """The same label without a target."""
        return replace(self, target=None, name="", bias=())


BACKGROUND = Condition(LABELS["background"])
OPEN = Condition(LABELS["any"])
"""Neither label nor target: the unconditional model."""


def of_target(index: int, name: str, composition: Composition | None) -> Condition:
    """Interacting, with a trained target; composition: that which the model was trained with."""
    bias = () if composition is None else tuple(composition.bias()[index].tolist())
    return Condition(target=index, name=name, bias=bias)


def labelled(label: str, target: str) -> Condition:
    """The condition of a label and of a target that is still to be looked up.

    Raises BadInput for a label that there is not, or a target that is not "interacting".
    """
    label = label or "interacting"
    if label not in LABELS:
        raise BadInput(f"--label is {label!r}{nearest(label, LABELS)}")
    if target and label != "interacting":
        raise BadInput(
            f"--target {target} with --label {label}: a target was only ever trained with "
            "interacting peptides; leave one of the two out"
        )
    return Condition(LABELS[label])
