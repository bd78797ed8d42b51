"""One name for a GPU, whoever writes it."""

import pytest

from launch.pricing import gpus
from mimir.errors import BadInput
from mimir.worker import delivered


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("NVIDIA GeForce RTX 4090", "RTX 4090"),  # RunPod and torch
        ("NVIDIA A100 80GB PCIe", "A100 80GB"),
        ("NVIDIA A100-SXM4-80GB", "A100 80GB"),
        ("NVIDIA A100-SXM4-40GB", "A100 40GB"),
        ("NVIDIA H100 80GB HBM3", "H100 SXM"),
        ("NVIDIA H100 PCIe", "H100 PCIe"),
        ("NVIDIA RTX 6000 Ada Generation", "RTX 6000 Ada"),
        ("Tesla T4", "T4"),
        ("Tesla V100-SXM2-16GB", "V100"),
        ("RTX_4090", "RTX 4090"),  # Vast's command line
        ("A100 SXM4", "A100 40GB"),
        ("RTX 6000Ada", "RTX 6000 Ada"),
        ("gpu_1x_a100_sxm4", "A100 40GB"),  # Lambda
        ("A100 (80 GB SXM4)", "A100 80GB"),
        ("A10 (24 GB PCIe)", "A10"),
        ("NVIDIA GH200 480GB", "GH200"),
        ("H200", "H200"),
        ("NVIDIA RTX 2000 Ada Generation", "RTX 2000 Ada"),  # RunPod
        ("NVIDIA RTX 4000 SFF Ada Generation", "RTX 4000 SFF Ada"),
        ("NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition", "RTX PRO 6000 Max-Q"),
        ("NVIDIA GeForce RTX 3080 Ti", "RTX 3080 Ti"),
        ("RTX 4070S Ti", "RTX 4070 Ti SUPER"),  # Vast
        ("Q RTX 8000", "Quadro RTX 8000"),
        ("RTX 5880Ada", "RTX 5880 Ada"),
        ("RTX 4090 48GB", "RTX 4090 48GB"),
        ("RTX PRO 4500", "RTX PRO 4500"),
        # a slice is never taken for the whole card
        (
            "NVIDIA RTX PRO 6000 Blackwell Server Edition MIG 1g.24gb",
            "RTX PRO 6000 Blackwell Server Edition MIG 1g.24gb",
        ),
        # unknown ones keep what tells them apart
        ("NVIDIA GeForce RTX 9090 ", "RTX 9090"),
        ("NVIDIA A100-SXM4-40GB MIG 1g.5gb", "A100-SXM4-40GB MIG 1g.5gb"),
        ("Radeon Pro", "Radeon Pro"),
        ("", ""),
    ],
)
def test_canonical(written: str, meant: str) -> None:
    assert gpus.canonical(written) == meant


SIZES = ({"A100 40GB", "A100 80GB"}, {"RTX 4090", "RTX 4090 48GB"})
"""Kinds that often bear one name: only the memory tells which is which."""


@pytest.mark.parametrize("ordered", gpus.TABLE, ids=lambda gpu: gpu.name)
def test_a_card_is_known_by_each_of_its_names_and_by_no_others(ordered: gpus.Gpu) -> None:
    """As a worker compares what nvidia-smi shows, and after it the memory."""
    called = gpus.names(ordered.name)
    assert called is not None
    for other in gpus.TABLE:
        sizes = sorted((other.memory_gb, ordered.memory_gb))
        for name in (other.name, *other.names):
            fits = called.fit(f"NVIDIA {name}")
            if other is ordered:
                assert fits, name
            elif {other.name, ordered.name} in SIZES:
                assert sizes[0] < delivered.MEMORY * sizes[1]
            else:
                assert not fits, name


@pytest.mark.parametrize(
    ("ordered", "shown", "fits"),
    [
        ("A100 80GB", "NVIDIA A100X", True),
        ("A100 80GB", "NVIDIA A100-SXM-64GB-OF-2027", True),  # a name that nobody knows yet
        ("RTX 4090 48GB", "NVIDIA GeForce RTX 4090", True),
        ("RTX 3060", "NVIDIA GeForce RTX 3060 Ti", False),
        ("RTX 3060", "NVIDIA GeForce RTX 3060 Lite Hash Rate", True),
        ("H100 SXM", "NVIDIA H100 PCIe", False),
    ],
)
def test_what_nvidia_smi_may_show(ordered: str, shown: str, fits: bool) -> None:
    called = gpus.names(ordered)
    assert called is not None
    assert called.fit(shown) is fits
    assert gpus.names("Voodoo 9") is None


def test_memory_tells_the_two_a100s_apart() -> None:
    assert gpus.canonical("A100 SXM4", 80.0) == "A100 80GB"
    assert gpus.canonical("A100 SXM4", 40.0) == "A100 40GB"
    assert gpus.canonical("RTX 4090", 80.0) == "RTX 4090"


def test_every_name_of_the_table_is_its_own() -> None:
    for gpu in gpus.TABLE:
        assert gpus.canonical(gpu.name) == gpu.name
        assert gpus.find(gpu.name) is gpu
        assert gpu.memory_gb > 0 < gpu.fp32 <= gpu.tensor
        assert (gpu.fp32 < gpu.tensor) == (gpu.capability >= (7, 0)), "tensor cores"
    assert gpus.find("T4").half == "fp16"
    assert gpus.find("L4").half == "bf16"


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ("", ()),
        ("a100", ("A100 40GB", "A100 80GB")),
        ("h100", ("H100 PCIe", "H100 NVL", "H100 SXM")),
        ("H100 SXM", ("H100 SXM",)),
        ("4090,t4", ("RTX 4090", "T4")),
        ("rtx4090", ("RTX 4090",)),
        ("A6000", ("RTX A6000",)),
        ("t4, T4", ("T4",)),
        ("NVIDIA H100 80GB HBM3", ("H100 SXM",)),
    ],
)
def test_what_a_user_means(words: str, names: tuple[str, ...]) -> None:
    assert gpus.matching(words) == names


@pytest.mark.parametrize(
    ("word", "wanted"),
    [
        ("h100 sx", "did you mean 'H100 SXM'"),
        ("4091", "did you mean 'RTX 4090'"),
        ("l40z", "did you mean 'L40"),
        ("rtx", "known are T4"),
        ("abacus", "known are T4"),
    ],
)
def test_an_unknown_gpu_is_answered_with_the_nearest(word: str, wanted: str) -> None:
    for ask in (gpus.find, gpus.matching):
        with pytest.raises(BadInput, match=wanted):
            ask(word)
