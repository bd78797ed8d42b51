"""One name for a GPU, whoever writes it."""

import pytest

from launch.pricing import gpus
from mimir.errors import BadInput


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


def test_the_model_is_in_every_name_of_a_card() -> None:
    for gpu in gpus.TABLE:
        model = gpus.model(gpu.name)
        assert model, gpu.name
        for name in gpu.names:
            if not name.startswith(("gpu_1x", "G4")) and "40" not in model:
                assert model in name.lower().replace("ada", "").replace("s ti", " "), name
    assert gpus.model("NVIDIA A100 80GB PCIe") == "a100"
    assert gpus.model("Voodoo 9") == ""


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
