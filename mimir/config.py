"""Settings of a run: frozen, validated when made, hashed canonically. Presets are YAML files.

A configuration has four sections. `model`, `objective`, `optimizer` and `training` decide
the weights that come out and make up the hash; `runtime` holds what a machine may choose
for itself (precision, checkpoint cadence) and a resumed run may change. Setting names are
unique over all sections, so that the command line can name any of them by itself.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from mimir import settings_input
from mimir.errors import BadInput, Corrupt
from mimir.settings_input import need, typed, within
from mimir.text import nearest, size

PRESETS = Path(__file__).resolve().parent / "jobs"
if not PRESETS.is_dir():  # a checkout keeps them at the top level, a wheel inside the package
    PRESETS = Path(__file__).resolve().parent.parent / "jobs"


MOST = 2**31 - 1
"""Of steps and rows: counters of random numbers have 32 bits (mimir/model/philox.py)."""
MOST_WEIGHTS = 2**31
"""In the matrices of a model: 77 GB in training, what one GPU holds."""
MOST_ACTIVATIONS = 2**38
"""Numbers that the backward pass needs: half a terabyte at two bytes each."""
CHECKPOINT_COPIES = 5
"""Numbers that a checkpoint holds for each weight: itself, its average, the best average, two
moments."""
CHECKPOINT_FORMAT = 3
"""Here, because the launcher reads checkpoints without torch. Also raised where figures.Selection
measures something else: a resumed run would compare the best figure that is stored in a checkpoint
with figures of another kind."""
MODEL_COPIES = 2
"""Numbers that a finished model holds for each weight: the best average, and the last."""
PLACES = 20
"""Residues of the longest peptide (mimir/data/alphabet.py)."""
WIDEST_HEAD = 128
"""Width of a head that `mimir.model.kernels` was written for; a wider tile would spill."""
KERNELS = ("norm", "wgrad", "gelu", "ends", "peptide", "update", "branch", "attention")
"""Parts of a GPU's training step that kernels of our own can compute.

norm: LayerNorm with the residual addition. wgrad: all weight gradients of the layers in one
product. gelu: inside the products before and behind it. ends: embedding, head and loss. peptide:
all of a narrow model but its weight gradients, one kernel each way. update: clipping, AdamW and EMA
with all their scalars. branch: the small sums of the backward pass beside the weight gradients, on
a second branch of the graph. attention: that within peptides by sums instead of tensor cores, for
GPUs before compute capability 8.0, which run none of the others.
"""
NEEDED_KERNELS = {"peptide": {"ends", "wgrad"}, "branch": {"ends"}}
"""Kernels -> others without which they would do nothing."""


@dataclass(frozen=True)
class Model:
    dim: int = 128
    """Width of the residual stream; a multiple of twice the heads."""
    layers: int = 3
    """Transformer blocks."""
    heads: int = 4
    """Attention heads of each block."""
    ffn: int = 4
    """Width of the feed-forward layer, in multiples of dim."""

    def __post_init__(self) -> None:
        within(self, 1, 1 << 14, "dim")
        within(self, 1, 1024, "layers", "heads")
        within(self, 1, 64, "ffn")
        need(self.dim % (2 * self.heads) == 0, "dim", self.dim, f"a multiple of {2 * self.heads}")
        need(
            self.matrices <= MOST_WEIGHTS, "dim", self.dim,
            f"smaller: with {self.layers} layers and ffn {self.ffn} the model has "
            f"{self.matrices:,} weights, and one GPU trains {MOST_WEIGHTS:,} at most",
        )  # fmt: skip

    @property
    def matrices(self) -> int:
        """Weights in the matrices whose size grows with the square of dim: nearly all of them."""
        return (8 + self.layers * (4 + 2 * self.ffn)) * self.dim**2


@dataclass(frozen=True)
class Objective:
    timesteps: int = 20
    """T of the linear schedule: at t of T, ceil(t L / T) residues of L are masked."""
    condition_dropout: float = 0.1
    """Share of peptides shown with neither label nor target, for guidance."""
    target_dropout: float = 0.3
    """Share of the others shown without their target."""
    composition: str = "on"
    """on: a told target's composition is added to the logits (mimir/data/composition.py)."""
    hidden_counts: float = 0.3
    """Share of the pairs whose target is shown as one without pairs: by what resembles it alone."""

    def __post_init__(self) -> None:
        need(20 <= self.timesteps <= 1000, "timesteps", self.timesteps, "from 20 to 1000")
        need(self.composition in ("on", "off"), "composition", self.composition, "on or off")
        for name in ("condition_dropout", "target_dropout", "hidden_counts"):
            need(0 <= getattr(self, name) < 1, name, getattr(self, name), "in [0, 1)")


@dataclass(frozen=True)
class Optimizer:
    lr: float = 1e-3
    """Highest learning rate, after the warm-up."""
    beta1: float = 0.9
    """AdamW's decay of the first moment."""
    beta2: float = 0.99
    """AdamW's decay of the second moment."""
    eps: float = 1e-8
    """AdamW's term beside the root of the second moment."""
    weight_decay: float = 0.01
    """AdamW's decay of the matrices, in multiples of the learning rate."""
    warmup_steps: int = 500
    """Steps over which the learning rate rises from 0."""
    final_lr: float = 0.02
    """The cosine ends at this share of lr, and so does the cooldown."""
    cooldown_steps: int = 1000
    """Steps over which the rate falls to its end once `patience` has run out."""
    clip: float = 1.0
    """Largest norm of the gradient."""
    ema: float = 0.999
    """Decay of the averaged weights, which are evaluated, sampled and exported."""

    def __post_init__(self) -> None:
        # Weights are float32, where a number out of this range would be 0 or infinite.
        within(self, 1e-30, 1e30, "lr")
        for name in ("beta1", "beta2", "ema"):
            need(0 <= getattr(self, name) < 1, name, getattr(self, name), "in [0, 1)")
        within(self, 1e-30, 1, "eps")
        within(self, 0, 100, "weight_decay")
        within(self, 0, MOST, "warmup_steps")
        within(self, 1, MOST, "cooldown_steps")
        within(self, 0, 1, "final_lr")
        within(self, 1e-30, 1e30, "clip")


@dataclass(frozen=True)
class Training:
    batch: int = 32
    """Peptides per step."""
    epochs: int = 20
    """Most passes over the data: rows // batch steps each."""
    max_steps: int = 0
    """End after this many steps, if that is sooner than the epochs; 0: no such limit."""
    pair_share: float = 0.0
    """Part of each batch that is pairs, if the data has any; 0: as they lie in the data."""
    accumulate: int = 1
    """Slices of a batch that are computed one after the other, to save memory."""
    seed: int = 0
    """Seed of all random choices: initial weights, order, masks, dropped conditions."""
    eval_every: int = 0
    """Steps between validations; 0: once an epoch."""
    eval_rows: int = 4096
    """Validation peptides used while training (`evaluate` takes all)."""
    patience: int = 0
    """Validations without a better one after which the cooldown begins, which ends the run; 0:
    it goes on to the end of its epochs."""
    log_every: int = 64
    """Steps that one row of the metrics sums up."""

    def __post_init__(self) -> None:
        within(self, 1, 1 << 24, "batch", "accumulate")
        within(self, 1, MOST, "epochs", "log_every", "eval_rows")
        within(self, 0, MOST, "max_steps", "eval_every", "patience")
        need(0 <= self.pair_share < 1, "pair_share", self.pair_share, "from 0 to below 1")
        need(0 <= self.seed < 2**63, "seed", self.seed, "from 0 to 2**63 - 1")
        need(self.batch % self.accumulate == 0, "accumulate", self.accumulate, "a divisor of batch")


@dataclass(frozen=True)
class Runtime:
    device: str = "auto"
    """auto: a GPU where there is one; cpu; cuda, or cuda:1 for the second."""
    precision: str = "auto"
    """auto: bf16 where the GPU has it, fp16 with loss scaling on older GPUs, fp32 on a CPU."""
    threads: int = 0
    """CPU threads; 0: as many as there are cores. Another number may round differently."""
    graph_steps: int = 8
    """Steps captured in one CUDA graph; 0: no capture."""
    compile: str = "auto"
    """auto: torch.compile on a GPU only, where its start-up pays."""
    kernels: str = ""
    """Our kernels for compiled runs on a GPU, with commas between: norm, wgrad, gelu, ends,
    peptide (with ends and wgrad), update, branch (with ends), and for GPUs before compute
    capability 8.0 attention; none: torch's own."""
    checkpoint_minutes: float = 2.0
    """Minutes between checkpoints, or a duration such as 90s."""
    checkpoint_steps: int = 0
    """Steps between checkpoints, beside the minutes; 0: by minutes only."""
    sample_every: int = 2
    """Validations between sets of samples; 0: only at the end."""
    preflight: str = "on"
    """on: a run that has no checkpoint yet makes a dry-run step and a checkpoint first."""

    def __post_init__(self) -> None:
        for name, allowed in (
            ("device", ("auto", "cpu", "cuda")),
            ("precision", ("auto", "bf16", "fp16", "fp32")),
            ("compile", ("auto", "on", "off")),
            ("preflight", ("on", "off")),
        ):
            value = getattr(self, name)
            need(value in allowed, name, value, "one of " + ", ".join(allowed))
        names = set(filter(None, self.kernels.split(",")))
        for name in names:
            need(name in KERNELS, "kernels", self.kernels, "some of " + ", ".join(KERNELS))
        for name, others in NEEDED_KERNELS.items():
            rule = f"with {' and '.join(sorted(others))}, which {name} needs"
            need(name not in names or others <= names, "kernels", self.kernels, rule)
        within(self, 1e-3, 7 * 24 * 60, "checkpoint_minutes")
        within(self, 0, 1024, "threads", "graph_steps")
        within(self, 0, MOST, "checkpoint_steps", "sample_every")


SECTIONS: dict[str, type] = {
    "model": Model,
    "objective": Objective,
    "optimizer": Optimizer,
    "training": Training,
    "runtime": Runtime,
}
_SECTION_OF = {f.name: name for name, cls in SECTIONS.items() for f in fields(cls)}
SETTINGS = tuple(_SECTION_OF)


@dataclass(frozen=True)
class Config:
    """A whole configuration. `preset` is the name that it started from."""

    preset: str
    model: Model = field(default_factory=Model)
    objective: Objective = field(default_factory=Objective)
    optimizer: Optimizer = field(default_factory=Optimizer)
    training: Training = field(default_factory=Training)
    runtime: Runtime = field(default_factory=Runtime)

    def __post_init__(self) -> None:
        model, training = self.model, self.training
        rows = training.batch // training.accumulate * PLACES
        # As launch/pricing/workload.py estimates them.
        numbers = model.layers * rows * (17 * model.dim + 5 * model.heads * PLACES // 2)
        need(
            numbers <= MOST_ACTIVATIONS, "batch", training.batch,
            f"smaller, or accumulate larger: with dim {model.dim}, {model.layers} layers and "
            f"accumulate {training.accumulate} a step needs {numbers:,} numbers at once, and no "
            f"machine holds more than {MOST_ACTIVATIONS:,}",
        )  # fmt: skip

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def check_size(self, key: str, count: int, copies: int) -> None:
        """Corrupt if an object of `count` bytes is larger than any of this configuration.

        So that a machine that names a huge one cannot fill the memory of whoever fetches it.

        Args:
            copies: numbers for each weight: MODEL_COPIES or CHECKPOINT_COPIES.
        """
        # Beside the matrices: tables of at most 2**15 targets, and vectors, which are far smaller.
        weights = 2 * self.model.matrices + (1 << 16) * self.model.dim
        most = 4 * copies * weights + (1 << 20)
        if count > most:
            raise Corrupt(
                f"{key} has {size(count)}, but of this configuration it has {size(most)} at most"
            )

    def sha256(self) -> str:
        """Hex digest of what decides the weights: all but the preset's name and `runtime`."""
        body = {k: v for k, v in self.as_dict().items() if k not in ("preset", "runtime")}
        text = json.dumps(body, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()

    def with_settings(self, settings: Mapping[str, Any]) -> "Config":
        """A copy with settings replaced by name.

        Raises:
            BadInput: an unknown name (the nearest one is given), a value of another type
                or out of range.
        """
        sections = {name: asdict(getattr(self, name)) for name in SECTIONS}
        for name, value in settings.items():
            name = name.replace("-", "_")
            if name not in _SECTION_OF:
                raise BadInput(f"there is no setting {name!r}{nearest(name, sorted(SETTINGS))}")
            section = _SECTION_OF[name]
            sections[section][name] = typed(name, value, type(sections[section][name]))
        return Config(self.preset, **{n: cls(**sections[n]) for n, cls in SECTIONS.items()})

    @staticmethod
    def from_dict(body: Mapping[str, Any]) -> "Config":
        """The inverse of `as_dict`. Raises BadInput on unknown sections or settings."""
        preset = body.get("preset")
        if not isinstance(preset, str):
            raise BadInput("the configuration does not name its preset")
        config = Config(preset)
        for name, section in body.items():
            if name == "preset":
                continue
            if name not in SECTIONS or not isinstance(section, Mapping):
                raise BadInput(
                    f"there is no section {name!r}{nearest(str(name), sorted(SECTIONS))}"
                )
            for key in section:
                if _SECTION_OF.get(key) != name:
                    hint = nearest(str(key), sorted(SETTINGS))
                    raise BadInput(f"section {name} has no setting {key!r}{hint}")
            config = config.with_settings(section)
        return config


def preset_names() -> list[str]:
    """Names of the shipped presets, smallest first."""
    order = {"smoke": 0, "small": 1, "medium": 2, "large": 3}
    names = [p.stem for p in PRESETS.glob("*.yaml")]
    return sorted(names, key=lambda name: (order.get(name, 9), name))


def load_preset(name: str) -> Config:
    """A preset by name, or from a file of one's own (a path that ends in .yaml).

    Raises:
        BadInput: no such preset (the nearest name is given) or a file that is not one.
    """
    path = Path(name).expanduser() if name.endswith((".yaml", ".yml")) else PRESETS / f"{name}.yaml"
    if not path.is_file():
        if path.parent == PRESETS:
            raise BadInput(f"there is no preset {name!r}{nearest(name, preset_names())}")
        raise BadInput(f"there is no preset file {name}")
    try:
        with path.open("rb") as file:
            content = file.read(settings_input.MOST_BYTES + 1)
    except OSError as error:
        raise BadInput(f"the preset file {path} cannot be read: {error.strerror}") from None
    body = settings_input.read(content, str(path))
    if not isinstance(body, dict) or not all(isinstance(v, dict) for v in body.values()):
        raise BadInput(f"{path} must map sections ({', '.join(SECTIONS)}) to settings")
    if "preset" in body:
        raise BadInput(f"{path}: there is no section 'preset': its name is the file's")
    return Config.from_dict({"preset": path.stem, **body})
