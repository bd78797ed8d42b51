"""What a captured training step launches on a GPU, counted without one: `make ledger`.

The step of today's engine is compiled for each kind of GPU (`bench.gpu_on_paper`), and its kernels
are listed with the bytes of their arguments, the width of their accesses to memory, registers,
spills and shared memory. Times need a GPU; but a step that launches more kernels, spills, or moves
the weights number by number is slower on any, and with --check that is an error.
"""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from bench import budgets
from bench.launches import Launch
from mimir import cli
from mimir.errors import BadInput

if TYPE_CHECKING:
    from bench.gpu_on_paper import Paper
    from mimir.training.engine import Engine

STEPS = 8
"""In one CUDA graph, as in training; figures are of one step."""
ROWS = {"small": 512, "medium": 832, "large": 1664}
"""Residues for which shapes are fixed, as on the guide's full data set."""
PRODUCTS = {"mm": 0, "addmm": 1, "bmm": 0}
"""Products of a library, and which of their inputs are the factors: these two and the next."""
FREE = ("empty", "empty_like", "new_empty", "detach", "lift_fresh", "alias", "_unsafe_view")
"""Operations that launch nothing."""
Parts = dict[str, list[Launch]]


def main(
    *, presets: str = "large,small", capabilities: str = "75,80,89,90,100", kernels: str = "",
    check: bool = False, quiet: bool = False, as_json: bool = False,
) -> int:  # fmt: skip
    """List the kernels of a training step, by compute capability and preset.

    Args:
        presets: small, medium and large, with commas between.
        capabilities: compute capabilities of GPUs, times ten, with commas between.
        kernels: with these of our own, which a run has off (runtime.kernels), with commas between;
            "all" for those that are meant for the GPU.
        check: end with exit code 1 where a step is above its budget.
        quiet: print the sums only.
        as_json: print JSON.

    Example:
        python -m bench.ledger --presets large --capabilities 90
    """
    names = [name.strip() for name in presets.split(",") if name.strip()]
    numbers = [number.strip() for number in str(capabilities).split(",") if number.strip()]
    known = ("75", "80", "89", "90", "100", "120")
    for given, right in ((names, tuple(ROWS)), (numbers, known)):
        for each in given:
            if each not in right:
                raise BadInput(f"{each!r} is none of {', '.join(right)}")
    if len(numbers) > 1:  # each GPU is believed in by one process
        flags = [("--check", check), ("--quiet", quiet), ("--as-json", as_json)]
        words = ["--presets", presets, *(["--kernels", kernels] if kernels else [])]
        words += [flag for flag, given in flags if given]
        codes = [
            subprocess.run(
                [sys.executable, "-m", "bench.ledger", "--capabilities", number, *words]
            ).returncode
            for number in numbers
        ]
        return int(any(codes))  # a signal's is negative
    wrong: list[str] = []
    for name in names:
        parts = step(name, int(numbers[0]), kernels)
        table = _sums(name, numbers[0], parts) + ([] if quiet else _launches(parts))
        print(_as_json(name, numbers[0], parts) if as_json else "\n".join([*table, ""]))
        budget = budgets.kernels(name, numbers[0], kernels)
        wrong += budgets.broken(f"{name} on {int(numbers[0]) / 10}", budget, parts, STEPS)
    for sentence in wrong:
        print(f"against its budget: {sentence}", file=sys.stderr, flush=True)
    return int(check and bool(wrong))


def step(preset: str, capability: int, kernels: str = "") -> Parts:
    """The launches of STEPS steps of a preset, by part of the step.

    Args:
        kernels: as for `main`.

    Raises:
        BadInput: one of the kernels does not run there.
    """
    from bench.gpu_on_paper import Paper

    paper, parts = Paper(capability), Parts()
    with _on_paper(preset, capability, paper, parts, kernels) as engine:
        engine._begin_epoch(0)
        with _eager(parts):
            engine._several(STEPS)
    return parts


def _eager(parts: Parts, part: str = "not compiled") -> Any:
    """A mode under which operations that are not compiled are added to a part of their own.

    Products of matrices are not computed: their results are zeros.
    """
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
    from torch.utils._pytree import tree_leaves

    class Eager(TorchDispatchMode):
        def __torch_dispatch__(
            self, function: Any, types: Any, inputs: Any = (), more: Any = None
        ) -> Any:
            name = str(function).removeprefix("aten.")
            flop = 0
            if (kind := name.partition(".")[0]) in PRODUCTS:
                left, right = inputs[PRODUCTS[kind] : PRODUCTS[kind] + 2]
                given = (more or {}).get("out")
                if given is None:
                    with _disable_current_modes():
                        given = left.new_zeros(*left.shape[:-1], right.shape[-1])
                flop = 2 * left.numel() * right.shape[-1]
                name = f"{kind} {left.shape[-2]}x{left.shape[-1]}x{right.shape[-1]}"
            else:
                given = function(*inputs, **(more or {}))
            if not (function.is_view or name.partition(".")[0] in FREE):
                tensors = [
                    each for each in tree_leaves((inputs, more, given))
                    if isinstance(each, torch.Tensor)
                ]  # fmt: skip
                distinct = {(each.data_ptr(), each.shape): each for each in tensors}
                moved = sum(each.numel() * each.element_size() for each in distinct.values())
                parts.setdefault(part, []).append(Launch(name, moved, flop))
            return given

    return Eager()  # type: ignore[no-untyped-call]


@contextmanager
def _on_paper(
    preset: str, capability: int, paper: "Paper", parts: Parts, kernels: str
) -> Iterator["Engine"]:  # fmt: skip
    """An engine on the CPU whose compiled functions tell what they would launch on a GPU."""
    from unittest import mock

    import torch

    from bench.gpu_on_paper import CUDA
    from mimir.data.pack import TRAIN, load
    from mimir.model import kernel_limits
    from mimir.model.batch import DeviceData
    from mimir.submission import prepare
    from mimir.training import engine as engines
    from mimir.training import own_kernels
    from mimir.training import state as states
    from mimir.training.machine import Machine

    words = ",".join(sorted(_meant_for(preset, capability))) if kernels == "all" else kernels
    job = prepare(preset, {"device": "cpu", "epochs": 1, "kernels": words})
    peptides, cpu = load(job.data), torch.device("cpu")
    dtype = torch.float16 if capability < 80 else torch.bfloat16
    card = divmod(capability, 10)
    fused = kernel_limits.fuses(job.config, card)
    names = own_kernels.chosen(job.config, dtype, fused, card)
    machine = Machine(cpu, dtype, True, fixed=True, fused=fused, kernels=names)
    padded, explicit, update = states.padded, own_kernels.explicit, own_kernels.update

    def written_out(model: Any, state: Any, names: frozenset[str]) -> Callable[..., Any]:
        return _counted(explicit(model, state, names), "written out", paper, parts)

    with (
        mock.patch.object(states, "padded", lambda size, device: padded(size, CUDA)),
        mock.patch.object(engines, "_compiled", lambda f, machine: _Written(f, paper, parts)),
        mock.patch.object(engines.Engine, "_widest", return_value=ROWS[preset]),
        mock.patch.object(own_kernels, "explicit", written_out),
        mock.patch.object(own_kernels, "update", _counted(update, "update", paper, parts)),
    ):
        data = DeviceData.of(peptides, peptides.subset(TRAIN), cpu, job.config.objective)
        yield engines.Engine(job.config, data, len(peptides.vocabulary), machine)


def _counted(
    function: Callable[..., Any], part: str, paper: "Paper", parts: Parts
) -> Callable[..., Any]:
    """A function that is not compiled: its launches, Triton's own too, are added to the part."""
    from torch.utils._python_dispatch import _disable_current_modes

    def call(*inputs: Any) -> Any:
        # Else the mode of the whole step would count them as well.
        with (
            _disable_current_modes(), _eager(parts, part),
            paper.launched(parts.setdefault(part, [])),
        ):  # fmt: skip
            return function(*inputs)

    return call


class _Written:
    """A compiled function: a call adds its launches to a part, and gives what the first one gave.

    A function with a backward graph gives 0, and zeros as gradients.
    """

    def __init__(self, function: Callable[..., Any], paper: "Paper", parts: Parts) -> None:
        self.function, self.paper, self.parts = function, paper, parts
        self.name = function.__name__.strip("_")
        self.graphs: list[list[Launch]] = []
        self.output: Any = None

    def __call__(self, *inputs: Any) -> Any:
        from torch import nn
        from torch.utils._python_dispatch import _disable_current_modes

        with _disable_current_modes():
            if not self.graphs:
                self.graphs = self.paper.graphs(self.function, *inputs)
                if len(self.graphs) == 1:
                    self.output = self.function(*inputs)
            if len(self.graphs) == 1:
                self._add(0, self.name)
                return self.output
            self._add(0, f"{self.name}, forward")
            modules = [each for each in inputs if isinstance(each, nn.Module)]
            weights = [weight for module in modules for weight in module.parameters()]
            return _nothing(lambda: self._add(1, f"{self.name}, backward"), weights)

    def _add(self, graph: int, part: str) -> None:
        self.parts.setdefault(part, []).extend(self.graphs[graph])


def _nothing(told: Callable[[], None], weights: list[Any]) -> Any:
    """0, whose gradient is 0 for these weights; `told` is called when it is asked for."""
    import torch
    from torch.utils._python_dispatch import _disable_current_modes

    class Nothing(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *values: Any) -> Any:
            ctx.values = values
            return torch.zeros(())

        @staticmethod
        def backward(ctx: Any, *grads: Any) -> Any:
            with _disable_current_modes():
                told()
                return tuple(torch.zeros_like(value) for value in ctx.values)

    return Nothing.apply(*weights)  # type: ignore[no-untyped-call]


def _meant_for(preset: str, capability: int) -> frozenset[str]:
    """The kernels of our own that are written for such a GPU and a preset of this size."""
    from mimir.config import KERNELS, load_preset
    from mimir.model.kernel_limits import takes

    if capability < 80:
        return frozenset({"attention"})
    config = load_preset(preset)
    size, batch = config.model, config.training.batch // config.training.accumulate
    whole = takes(size.dim, size.heads, size.ffn * size.dim, batch)
    return frozenset(KERNELS) - {"attention"} - (frozenset() if whole else {"peptide"})


def _rows(parts: Parts) -> Iterator[tuple[str, float, Launch]]:
    """(part, launches a step, launch), the part's largest first."""
    for part, launches in parts.items():
        counts = Counter(launches)
        for launch in sorted(counts, key=lambda each: -each.moved * counts[each]):
            yield part, counts[launch] / STEPS, launch


def _sums(preset: str, capability: str, parts: Parts) -> list[str]:
    title = f"{preset}, compute capability {int(capability) / 10}"
    total = sum(map(len, parts.values())) / STEPS
    lines = [f"{title}: {total:.1f} kernels a step", f"{'':<24}{'kernels':>8}{'MB':>9}{'GFLOP':>8}"]
    for part, launches in parts.items():
        moved, flop = (sum(getattr(each, n) for each in launches) for n in ("moved", "flop"))
        lines.append(
            f"{part:<24}{len(launches) / STEPS:>8.2f}{moved / STEPS / 1e6:>9.2f}"
            f"{flop / STEPS / 1e9:>8.2f}"
        )
    return lines


def _launches(parts: Parts) -> list[str]:
    lines = [f"{'launches':>9}{'MB each':>9}{'regs':>6}{'spill':>6}{'shared':>8}  loads; stores"]
    for part, count, launch in _rows(parts):
        code = launch.code
        about = f"{'':>20}  "
        if code is not None:
            widths = "; ".join(
                " ".join(f"{n}x{width}B" for width, n in sorted(code.accesses[kind].items()))
                for kind in ("ld", "st")
            )
            about = f"{code.registers:>6}{code.spilled:>6}{code.shared:>8}  {widths}"
        lines.append(f"{count:>9.2f}{launch.moved / 1e6:>9.3f}{about}  {launch.name} ({part})")
    return lines


def _as_json(preset: str, capability: str, parts: Parts) -> str:
    rows = [
        {
            "part": part, "name": launch.name, "launches": count, "bytes": launch.moved,
            "flop": launch.flop,
            **({} if launch.code is None else {
                "registers": launch.code.registers, "spilled": launch.code.spilled,
                "shared": launch.code.shared,
                **{kind: dict(widths) for kind, widths in launch.code.accesses.items()},
            }),
        }
        for part, count, launch in _rows(parts)
    ]  # fmt: skip
    return json.dumps({"preset": preset, "capability": capability, "kernels": rows})


if __name__ == "__main__":
    cli.run("python -m bench.ledger", main)
