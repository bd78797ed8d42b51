"""GPUs as data: what they can do, and the names that services and torch give them.

The figures are the vendors' data sheets, without sparsity, and the tensor cores' with sums in
float32. For the part with the lower figure where a name covers several (PCIe and SXM of the
A100, V100; 6 and 12 GB of the RTX A2000). They are ceilings; what a step gets of them is
launch/pricing/forecast.py's to say.

GeForce cards: the appendices of NVIDIA's white papers on GA102, AD102 and GB202, where tensor cores
sum in float32 at twice the rate of the plain ones; of cards that are not in them the same rule, and
cores times boost clock. RTX Ada: the data sheets' sparse FP8 figure over 4; RTX PRO Blackwell: the
sparse FP4 figure over 8. Slices of a GPU (MIG) are not in here: no figure is published for them.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from mimir.errors import BadInput
from mimir.runs.promised import GpuNames, words
from mimir.runs.promised import key as _key
from mimir.text import nearest


@dataclass(frozen=True)
class Gpu:
    """A kind of GPU.

    memory_gb: 1e9 bytes. bandwidth: of that memory, GB/s. tensor: TFLOP/s of dense products
    of 16-bit numbers on tensor cores. fp32: TFLOP/s without them. capability: CUDA's compute
    capability. names: as services and torch write it, beside `name` itself.
    """

    name: str
    memory_gb: float
    bandwidth: float
    tensor: float
    fp32: float
    capability: tuple[int, int]
    names: tuple[str, ...] = ()

    @property
    def half(self) -> str:
        """The 16-bit format that Mimir trains in there by itself."""
        return "bf16" if self.capability >= (8, 0) else "fp16"


TABLE: tuple[Gpu, ...] = (
    Gpu("T4", 16, 320, 65, 8.1, (7, 5), ("Tesla T4", "NVIDIA T4")),
    Gpu(
        "V100", 16, 900, 112, 14.0, (7, 0),
        (
            "Tesla V100", "V100 16GB", "Tesla V100-PCIE-16GB", "Tesla V100-SXM2-16GB",
            "Tesla V100-SXM2-32GB", "Tesla V100-PCIE-32GB", "V100 (16 GB)", "Tesla V100 (16 GB)",
            "V100-SXM2-16GB-N", "V100-SXM2-32GB-LS",
        ),
    ),
    Gpu("L4", 24, 300, 121, 30.3, (8, 9)),
    Gpu("A10", 24, 600, 125, 31.2, (8, 6), ("A10 (24 GB PCIe)", "gpu_1x_a10")),
    Gpu("A10G", 24, 600, 70, 31.5, (8, 6)),
    Gpu("A30", 24, 933, 165, 10.3, (8, 0)),
    Gpu("A40", 48, 696, 149.7, 37.4, (8, 6)),
    Gpu(
        "A100 40GB", 40, 1555, 312, 19.5, (8, 0),
        (
            "A100-SXM4-40GB", "A100-PCIE-40GB", "A100 (40 GB SXM4)", "A100 (40 GB PCIe)",
            "gpu_1x_a100", "gpu_1x_a100_sxm4", "A100", "A100 PCIE", "A100 SXM4", "A100 SXM",
        ),
    ),
    Gpu(
        "A100 80GB", 80, 1935, 312, 19.5, (8, 0),
        (
            "A100 80GB PCIe", "A100-SXM4-80GB", "A100 SXM 80GB", "A100X",
            "A100 (80 GB SXM4)", "A100 (80 GB PCIe)", "gpu_1x_a100_sxm4_80gb",
        ),
    ),
    # No tensor cores; older than any image, which is said instead of leaving it out in silence.
    Gpu("GTX 1080 Ti", 11, 484, 11.3, 11.3, (6, 1)),
    Gpu("RTX 2080 Ti", 11, 616, 53.8, 13.4, (7, 5)),
    Gpu("Quadro RTX 6000", 24, 672, 130.5, 16.3, (7, 5), ("Q RTX 6000",)),
    Gpu("Quadro RTX 8000", 48, 672, 130.5, 16.3, (7, 5), ("Q RTX 8000",)),
    Gpu("RTX 3060", 12, 360, 25.5, 12.7, (8, 6)),
    Gpu("RTX 3060 Ti", 8, 448, 32.4, 16.2, (8, 6)),
    Gpu("RTX 3070", 8, 448, 40.6, 20.3, (8, 6)),
    Gpu("RTX 3070 Ti", 8, 608, 43.5, 21.7, (8, 6)),
    Gpu("RTX 3080", 10, 760, 59.5, 29.8, (8, 6)),
    Gpu("RTX 3080 Ti", 12, 912, 68.2, 34.1, (8, 6)),
    Gpu("RTX 3090", 24, 936, 71, 35.6, (8, 6)),
    Gpu("RTX 3090 Ti", 24, 1008, 80, 40.0, (8, 6)),
    Gpu("RTX 4060", 8, 272, 30.2, 15.1, (8, 9)),
    Gpu("RTX 4060 Ti", 8, 288, 44.1, 22.0, (8, 9)),
    Gpu("RTX 4070", 12, 504, 58.2, 29.1, (8, 9)),
    Gpu("RTX 4070 SUPER", 12, 504, 71.0, 35.5, (8, 9), ("RTX 4070S",)),
    Gpu("RTX 4070 Ti", 12, 504, 80.2, 40.1, (8, 9)),
    Gpu("RTX 4070 Ti SUPER", 16, 672, 88.2, 44.1, (8, 9), ("RTX 4070S Ti",)),
    Gpu("RTX 4080", 16, 717, 97.5, 48.7, (8, 9)),
    Gpu("RTX 4080 SUPER", 16, 736, 104.4, 52.2, (8, 9), ("RTX 4080S",)),
    Gpu("RTX 4090", 24, 1008, 165.2, 82.6, (8, 9)),
    # The same chip on a board that others have made, with twice the memory.
    Gpu("RTX 4090 48GB", 48, 1008, 165.2, 82.6, (8, 9)),
    Gpu("RTX 4090 D", 24, 1008, 147, 73.5, (8, 9), ("RTX 4090D",)),
    Gpu("RTX 5060 Ti", 8, 448, 47.4, 23.7, (12, 0)),
    Gpu("RTX 5070", 12, 672, 61.7, 30.9, (12, 0)),
    Gpu("RTX 5070 Ti", 16, 896, 87.9, 43.9, (12, 0)),
    Gpu("RTX 5080", 16, 960, 112.6, 56.3, (12, 0)),
    Gpu("RTX 5090", 32, 1792, 209.5, 104.8, (12, 0)),
    Gpu("RTX A2000", 6, 288, 31.9, 8.0, (8, 6), ("A2000", "RTX A2000 12GB")),
    Gpu("RTX A4000", 16, 448, 76.7, 19.2, (8, 6), ("A4000",)),
    Gpu("RTX A4500", 20, 640, 94.6, 23.7, (8, 6), ("A4500",)),
    Gpu("RTX A5000", 24, 768, 111.1, 27.8, (8, 6), ("A5000",)),
    Gpu("RTX A6000", 48, 768, 154.8, 38.7, (8, 6), ("A6000", "A6000 (48 GB)", "gpu_1x_a6000")),
    Gpu("RTX 2000 Ada", 16, 224, 48.0, 12.0, (8, 9), ("RTX 2000 Ada Generation", "RTX 2000Ada")),
    Gpu("RTX 4000 SFF Ada", 20, 280, 76.7, 19.2, (8, 9), ("RTX 4000 SFF Ada Generation",)),
    Gpu("RTX 4000 Ada", 20, 360, 106.9, 26.7, (8, 9), ("RTX 4000 Ada Generation", "RTX 4000Ada")),
    Gpu("RTX 4500 Ada", 24, 432, 158.5, 39.6, (8, 9), ("RTX 4500 Ada Generation", "RTX 4500Ada")),
    Gpu("RTX 5000 Ada", 32, 576, 261.1, 65.3, (8, 9), ("RTX 5000 Ada Generation", "RTX 5000Ada")),
    Gpu("RTX 5880 Ada", 48, 960, 277.1, 69.3, (8, 9), ("RTX 5880 Ada Generation", "RTX 5880Ada")),
    Gpu("RTX 6000 Ada", 48, 960, 364.2, 91.1, (8, 9), ("RTX 6000 Ada Generation", "RTX 6000Ada")),
    Gpu("RTX PRO 4000", 24, 672, 147, 36.8, (12, 0), ("RTX PRO 4000 Blackwell",)),
    Gpu("RTX PRO 4500", 32, 896, 210, 52.7, (12, 0), ("RTX PRO 4500 Blackwell",)),
    Gpu("RTX PRO 5000", 48, 1344, 258, 64.5, (12, 0), ("RTX PRO 5000 Blackwell",)),
    Gpu(
        "RTX PRO 6000 Max-Q", 96, 1792, 438, 110, (12, 0),
        ("RTX PRO 6000 Blackwell Max-Q Workstation Edition", "RTX PRO 6000 MaxQ"),
    ),
    Gpu(
        "RTX PRO 6000", 96, 1597, 480, 120, (12, 0),
        (
            "RTX PRO 6000 Blackwell Server Edition", "RTX PRO 6000 Blackwell Workstation Edition",
            "RTX PRO 6000 WS", "RTX PRO 6000 S", "RTX PRO Server 6000", "G4",
        ),
    ),
    Gpu("L40", 48, 864, 181, 90.5, (8, 9)),
    Gpu("L40S", 48, 864, 362, 91.6, (8, 9)),
    Gpu("H100 PCIe", 80, 2000, 756, 51.2, (9, 0), ("H100 (80 GB PCIe)", "gpu_1x_h100_pcie")),
    Gpu("H100 NVL", 94, 3900, 835, 60, (9, 0)),
    Gpu(
        "H100 SXM", 80, 3350, 989, 67, (9, 0),
        ("H100 80GB HBM3", "H100 SXM5", "H100", "H100 (80 GB SXM5)", "gpu_1x_h100_sxm5"),
    ),
    Gpu(
        "GH200", 96, 4000, 989, 67, (9, 0),
        ("GH200 480GB", "GH200 SXM", "GH200 (96 GB)", "gpu_1x_gh200"),
    ),
    Gpu("H200 NVL", 141, 4800, 835, 60, (9, 0)),
    Gpu("H200", 141, 4800, 989, 67, (9, 0), ("H200 SXM", "H200 (141 GB SXM5)")),
    Gpu("B200", 180, 7700, 2250, 75, (10, 0), ("B200 SXM", "B200 (180 GB SXM6)")),
    Gpu("B300", 270, 7700, 2250, 75, (10, 3), ("B300 SXM6 AC",)),
)  # fmt: skip


def canonical(service_name: str, memory_gb: float = 0.0) -> str:
    """The name that all of Mimir uses, e.g. of "NVIDIA GeForce RTX 4090": "RTX 4090".

    An unknown name comes back without its vendor's and brand's. A bare A100 is held to be the
    smaller one, unless `memory_gb` says otherwise.
    """
    found = _INDEX.get(_key(service_name))
    if found is None:
        return re.sub(r"^(NVIDIA|GeForce|\s)+", "", service_name.strip(), flags=re.I)
    if found.name == "A100 40GB" and memory_gb > 60:
        return "A100 80GB"
    return found.name


def get(name: str) -> Gpu | None:
    """The GPU of this name, as anybody writes it; None if the table has no such."""
    return _INDEX.get(_key(name))


def find(name: str) -> Gpu:
    """As `get`; BadInput with the nearest name if there is none."""
    found = get(name) or next(iter(_family(name)), None)
    if found is None:
        raise BadInput(f"there is no GPU {name!r} in the table{_nearest(name)}")
    return found


def names(name: str) -> GpuNames | None:
    """What the GPU of this name is called; None if the table has no such.

    Kinds that differ in nothing but memory are not told apart: nvidia-smi calls a 4090 with 48 GB
    as it calls one with 24.
    """
    gpu = get(name)
    if gpu is None:
        return None
    model = next(word for word in words(gpu.name) if re.search(r"\d", word))
    others = (
        called
        for other in TABLE
        if _without_memory(other) != _without_memory(gpu)
        for called in (other.name, *other.names)
        if model in words(called)
    )
    return GpuNames((gpu.name, *gpu.names), model, tuple(others))


def _without_memory(gpu: Gpu) -> str:
    return re.sub(r" \d+GB$", "", gpu.name)


def matching(wanted: str) -> tuple[str, ...]:
    """The canonical names that a user's words mean: "a100,4090" are three GPUs; () for "".

    Raises:
        BadInput: a word means none; the nearest name is given.
    """
    chosen: list[str] = []
    for word in filter(None, (part.strip() for part in wanted.split(","))):
        family = _family(word) or ((exact,) if (exact := get(word)) else ())
        if not family:
            raise BadInput(f"there is no GPU {word!r} in the table{_nearest(word)}")
        chosen += (gpu.name for gpu in family if gpu.name not in chosen)
    return tuple(chosen)


def _family(word: str) -> tuple[Gpu, ...]:
    """GPUs whose name is this word, with or without RTX, or begins with it: H100 are three."""
    key = _key(word)
    exact = tuple(gpu for gpu in TABLE if _key(gpu.name) in (key, "rtx" + key))
    wide = [gpu for gpu in TABLE if key and _key(gpu.name.split(" ")[0]) == key]
    return exact or tuple(wide if key != "rtx" else ())


def _nearest(name: str) -> str:
    # Names only, not what services write: a suggestion should be short.
    shown = {_key(gpu.name).removeprefix("rtx"): gpu.name for gpu in TABLE}
    hint = nearest(_key(name).removeprefix("rtx"), shown)
    match = re.search(r"'(.+)'\?$", hint)
    if match:
        return f"; did you mean {shown[match[1]]!r}?"
    return f"; known are {', '.join(gpu.name for gpu in TABLE)}"


def _indexed(table: Iterable[Gpu]) -> dict[str, Gpu]:
    index: dict[str, Gpu] = {}
    for gpu in table:
        for name in (gpu.name, *gpu.names):
            taken = index.setdefault(_key(name), gpu)
            assert taken is gpu, f"{name} means {taken.name} and {gpu.name}"
    return index


_INDEX = _indexed(TABLE)
