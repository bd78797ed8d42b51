"""Compiles for an NVIDIA GPU on a computer without one: what would run there, and as what code.

torch's compiler and Triton need a GPU to run kernels, but not to write them. A function is traced
on the CPU, the tensors of its graph are declared to lie on a GPU, and inductor and Triton go on
from there as they would on such a machine, down to the machine code. What is replaced for that
stays replaced: use a process of its own.
"""

import contextlib
import importlib.util
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import triton
from torch import Tensor
from torch._inductor import compile_fx, config
from torch._inductor.debug import DebugContext
from torch._inductor.graph import GraphLowering
from torch._inductor.runtime import triton_helpers
from torch._inductor.virtualized import V
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._pytree import tree_map
from triton.backends.compiler import GPUTarget
from triton.backends.nvidia.compiler import get_ptxas
from triton.compiler import ASTSource

from bench.launches import Code, Launch, accesses

CUDA = torch.device("cuda", 0)
TOOLS = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
WRITTEN = re.compile(r"^(\w+) = async_compile\.triton\('\w+', '''\n(.*?)''', dev", re.S | re.M)
"""Name and text of a kernel in a program that inductor wrote."""


@dataclass(frozen=True)
class Card:
    """What the compilers ask of a GPU."""

    name: str
    multiprocessors: int
    shared: int
    """Bytes of shared memory that a block may take."""
    level2: int
    threads: int
    """Most threads on a multiprocessor."""


CARDS = {
    75: Card("Tesla T4", 40, 64 << 10, 4 << 20, 1024),
    80: Card("NVIDIA A100", 108, 163 << 10, 40 << 20, 2048),
    89: Card("NVIDIA L4", 58, 99 << 10, 48 << 20, 1536),
    90: Card("NVIDIA H200", 132, 227 << 10, 60 << 20, 2048),
    100: Card("NVIDIA B200", 148, 227 << 10, 126 << 20, 2048),
    120: Card("NVIDIA GeForce RTX 5090", 170, 99 << 10, 96 << 20, 1536),
}
"""Compute capability, times ten -> a card of it. Sizes: CUDA C++ Programming Guide, table 16."""


def code_of(binary: Any, capability: int) -> Code:
    """Of what `triton.compile` returns."""
    ptx = binary.asm["ptx"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernel.cubin"
        path.write_bytes(binary.asm["cubin"])
        shown = _tool(TOOLS / "cuobjdump", "--dump-resource-usage", path)
        used = {name: int(n) for name, n in re.findall(r"\b(REG|STACK):(\d+)", shown)}
        spilled = 0
        if used["STACK"]:  # which functions such as cos may also need for a table
            path = path.with_suffix(".ptx")
            path.write_text(ptx)
            assembler = get_ptxas(capability).path
            target = re.findall(r"^\.target (\w+)", ptx, re.M)[0]
            shown = _tool(assembler, "-v", f"--gpu-name={target}", path, "-o", "/dev/null")
            spilled = sum(map(int, re.findall(r"(\d+) bytes spill (?:stores|loads)", shown)))
    return Code(used["REG"], spilled, int(binary.metadata.shared), accesses(ptx))


def _tool(*words: str | Path) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return done.stdout + done.stderr


class Paper:
    """A GPU of this compute capability (times ten), on paper: compilers believe in it."""

    def __init__(self, capability: int) -> None:
        self.capability, card = capability, CARDS[capability]
        major, minor = divmod(capability, 10)
        self._codes: dict[str, Code] = {}
        properties = SimpleNamespace(
            name=card.name, major=major, minor=minor, warp_size=32, gcnArchName="",
            multi_processor_count=card.multiprocessors, regs_per_multiprocessor=65536,
            max_threads_per_multi_processor=card.threads, max_threads_per_block=1024,
            total_memory=80 << 30, L2_cache_size=card.level2, is_integrated=False,
            shared_memory_per_block_optin=card.shared, shared_memory_per_block=48 << 10,
            shared_memory_per_multiprocessor=card.shared + 1024,
        )  # fmt: skip
        self.target = GPUTarget("cuda", capability, 32)
        _believe(properties, (major, minor), self.target)

    def graphs(self, function: Callable[..., Any], *inputs: Any) -> list[list[Launch]]:
        """What a call launches when compiled in one piece: of the forward graph, then, if it has
        one, of the backward graph. The function is not called."""
        found: list[list[Launch]] = []

        def inner(graph: Any, example: Sequence[Any], **kind: Any) -> Any:
            inference, back = kind.get("is_inference", False), kind.get("is_backward", False)
            source = _lowered(graph, list(example), inference, back)
            found.append(list(self._launches(source, graph)))
            return _stop

        def backend(graph: Any, example: Any) -> Any:
            return compile_fx.compile_fx(graph, example, inner_compile=inner)

        torch.compiler.reset()
        known = torch._inductor.list_options()
        options = {"deterministic": True} if "deterministic" in known else {}
        options |= {"fx_graph_cache": False, "profile_bandwidth": True}
        with (
            config.patch(options),
            torch._functorch.config.patch(
                enable_autograd_cache=False, force_non_lazy_backward_lowering=True
            ),
            contextlib.suppress(_Stop),
        ):
            torch.compile(function, backend=backend, fullgraph=True, dynamic=False)(*inputs)
        return found

    def _launches(self, source: str, graph: Any) -> Iterator[Launch]:
        kernels = dict(WRITTEN.findall(source))
        products = [node for node in graph.graph.nodes if node.target in _PRODUCTS]
        ours = [node for node in graph.graph.nodes if str(node.target).startswith("mimir.")]
        body = source[source.rindex("def call(") :]
        pattern = r"(\w+)\.run\(|extern_kernels\.(\w+)\(|(torch\.ops\.[\w.]+)\("
        for kernel, library, operator in re.findall(pattern, body):
            if kernel:
                yield self._inductors(kernel, kernels[kernel])
            elif operator.startswith("torch.ops.mimir."):
                yield from self.operator(ours.pop(0))
            elif library in ("mm", "addmm", "bmm"):
                yield _product(products.pop(0))
            else:
                yield Launch(library or operator, 0)
        if products or ours:
            raise RuntimeError(f"{len(products) + len(ours)} operations are in no generated code")

    def _inductors(self, name: str, text: str) -> Launch:
        """A kernel that inductor wrote."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"{name}.py"
            path.write_text(text)
            spec = importlib.util.spec_from_file_location(name, path)
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            tuner = getattr(module, re.findall(r"^def (\w+)\(", text, re.M)[-1])
            if text not in self._codes:
                chosen = tuner.configs[0]
                meta = tuner._create_compile_meta(chosen)
                binary = triton.compile(
                    ASTSource(tuner.fn, meta["signature"], meta["constants"], meta["configs"][0]),
                    target=self.target, options=tuner._create_compile_options(chosen, meta),
                )  # fmt: skip
                self._codes[text] = code_of(binary, self.capability)
        return Launch(name, round(1e9 * tuner.inductor_meta["kernel_num_gb"]), 0, self._codes[text])

    def operator(self, node: Any) -> list[Launch]:
        """What an operator of ours launches, by the shapes of its inputs in a graph."""
        from torch._library.custom_ops import OPDEFS

        name = str(node.target).removesuffix(".default").replace(".", "::")
        inputs = [each.meta["val"] if hasattr(each, "meta") else each for each in node.args]
        found: list[Launch] = []
        with V.set_fake_mode(_mode(inputs)), self.launched(found), _mode(inputs):
            OPDEFS[name]._init_fn(*inputs)
        return found

    @contextlib.contextmanager
    def launched(self, found: list[Launch]) -> Iterator[None]:
        """Adds what Triton's own launches inside would run, instead of running it."""
        run = triton.runtime.jit.JITFunction.run

        def instead(kernel: Any, *inputs: Any, grid: Any, warmup: bool, **more: Any) -> Any:
            values = [*inputs, *more.values()]
            moved = sum(v.numel() * v.element_size() for v in values if isinstance(v, Tensor))
            binary = run(
                kernel, *map(_pointer, inputs), grid=grid, warmup=True,
                **{name: _pointer(value) for name, value in more.items()},
            )  # fmt: skip
            if binary.hash not in self._codes:
                self._codes[binary.hash] = code_of(binary, self.capability)
            found.append(Launch(kernel.fn.__qualname__, moved, 0, self._codes[binary.hash]))
            return binary

        triton.runtime.jit.JITFunction.run = instead
        try:
            yield
        finally:
            triton.runtime.jit.JITFunction.run = run


_PRODUCTS = tuple(getattr(torch.ops.aten, name).default for name in ("mm", "addmm", "bmm"))


class _Stop(Exception):
    """Thrown in place of running what was compiled."""


def _stop(*inputs: Any) -> Any:
    raise _Stop


_stop._boxed_call = True  # type: ignore[attr-defined]


def _product(node: Any) -> Launch:
    """A matrix product of a library."""
    left, right = (each.meta["val"] for each in node.args[-2:])
    tensors = [each.meta["val"] for each in node.args if hasattr(each, "meta")]
    moved = sum(each.numel() * each.element_size() for each in [*tensors, node.meta["val"]])
    flop = 2 * left.numel() * right.shape[-1]
    return Launch(f"{node.target.__name__.partition('.')[0]} {left.shape[-2]}x{left.shape[-1]}x"
                  f"{right.shape[-1]}", moved, flop)  # fmt: skip


def _mode(inputs: Sequence[Any]) -> Any:
    return next(each.fake_mode for each in inputs if isinstance(each, FakeTensor))


def _pointer(value: Any) -> Any:
    """A tensor as Triton takes one without memory."""
    if not isinstance(value, Tensor):
        return value
    mock = triton.runtime.jit.MockTensor(value.dtype, list(value.shape))
    offset = value.storage_offset() * value.element_size()
    mock.data_ptr = lambda: offset
    return mock


def _lowered(graph: Any, example: list[Any], inference: bool, back: bool) -> str:
    """The program that inductor writes for a graph of the CPU, as if it were one of a GPU."""

    def moved(value: Any) -> Any:
        if isinstance(value, FakeTensor):
            value.fake_device = CUDA
        return CUDA if isinstance(value, torch.device) else value

    mode = next(
        each.fake_mode
        for each in [*example, *(node.meta.get("val") for node in graph.graph.nodes)]
        if isinstance(each, FakeTensor)
    )
    for node in graph.graph.nodes:
        tree_map(moved, node.meta.get("val"))
        node.args, node.kwargs = tree_map(moved, node.args), tree_map(moved, node.kwargs)
    tree_map(moved, example)
    with V.set_fake_mode(mode):
        compile_fx.record_original_output_strides(graph)
        compile_fx._recursive_post_grad_passes(graph, is_inference=inference)
        lowering = GraphLowering(
            graph, example_inputs=example, is_inference=inference, is_backward=back
        )
        with V.set_graph_handler(lowering), V.set_debug_handler(DebugContext()):
            lowering.run(*example)
            code = lowering.codegen()[0]
    return str(getattr(code, "value", code))


def _believe(properties: Any, capability: tuple[int, int], target: GPUTarget) -> None:
    """Have torch and Triton find this GPU."""
    from torch._dynamo.device_interface import CudaInterface
    from torch._inductor import utils
    from torch.utils import _triton

    driver = SimpleNamespace(
        get_current_target=lambda: target, get_current_device=lambda: 0,
        get_current_stream=lambda device: 0, get_device_interface=lambda: torch.cuda,
    )  # fmt: skip
    triton.runtime.driver.set_active(driver)
    number = 10 * capability[0] + capability[1]
    cuda, interface = torch.cuda, CudaInterface
    replaced: list[tuple[Any, str, Any]] = [
        (cuda, "get_device_properties", lambda *a, **k: properties),
        (cuda, "get_device_capability", lambda *a, **k: capability),
        (cuda, "current_device", lambda: 0),
        (cuda, "device_count", lambda: 1),
        (interface.Worker, "get_device_properties", staticmethod(lambda *a, **k: properties)),
        (interface, "get_device_properties", staticmethod(lambda *a, **k: properties)),
        (interface, "get_compute_capability", staticmethod(lambda *a, **k: number)),
        (interface, "current_device", staticmethod(lambda: 0)),
        (interface, "device_count", staticmethod(lambda: 1)),
        (interface, "get_raw_stream", staticmethod(lambda device: 0)),
        (interface, "is_available", staticmethod(lambda: True)),
        (cuda, "_lazy_init", lambda: None),
        (utils, "is_big_gpu", lambda *a, **k: True),
        (_triton, "triton_hash_with_backend", lambda *a: "paper"),
        (triton_helpers, "set_driver_to_gpu", lambda: None),
        # The method itself needs a torch that is built for CUDA.
        (FakeTensor, "copy_", lambda to, source: torch.ops.aten.copy_.default(to, source)),
    ]
    for where, name, value in replaced:
        setattr(where, name, value)
