"""What the image is made of, as far as that shows without building it."""

import fnmatch
import os
import subprocess
from pathlib import Path

import pytest
import torch

from bench import image_check
from mimir.errors import BadInput
from mimir.training import compiler
from tests import ROOT
from tests.waiting import LIMIT

DROPPED = (
    "nvidia/cu13/lib/libcusolverMg.so.12",
    "nvidia/cu13/lib/libnvrtc.alt.so.13",
    "nvidia/cu13/lib/libnvperf_host.so",
    "triton/backends/nvidia/lib/cupti/libcupti.so.13",
    "nvidia/cu13/lib/libcudart_static.a",
)
KEPT = (
    "nvidia/cu13/lib/libcusolver.so.12",
    "nvidia/cu13/lib/libnvrtc.so.13",
    "nvidia/cu13/lib/libcupti.so.13",
    "nvidia/nccl/lib/libnccl.so.2",
    "triton/_C/libtriton.so",
)


def slim(tmp_path: Path, files: tuple[str, ...]) -> "subprocess.CompletedProcess[str]":
    """Run docker/slim-torch over such files, with a `strip` that writes down what it is given."""
    for name in files:
        path = tmp_path / "torch" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    strip = tmp_path / "bin" / "strip"
    strip.parent.mkdir()
    strip.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/stripped\n')
    strip.chmod(0o755)
    return subprocess.run(
        [ROOT / "docker" / "slim-torch", tmp_path / "torch"], capture_output=True, text=True,
        env={**os.environ, "PATH": f"{strip.parent}:{os.environ['PATH']}"}, check=False,
        timeout=LIMIT,
    )  # fmt: skip


def test_what_training_never_loads_is_left_out(tmp_path: Path) -> None:
    done = slim(tmp_path, DROPPED + KEPT)
    assert done.returncode == 0, done.stderr
    left = {str(p.relative_to(tmp_path / "torch")) for p in (tmp_path / "torch").rglob("*.*")}
    assert left == set(KEPT)
    stripped = (tmp_path / "stripped").read_text()
    assert "libtriton.so" in stripped
    assert "libnccl.so.2" in stripped


def test_a_name_that_torch_has_changed_fails_the_build(tmp_path: Path) -> None:
    done = slim(tmp_path, DROPPED[1:] + KEPT)
    assert done.returncode == 1
    assert "nothing matches -name libcusolverMg.so*" in done.stderr


def test_the_build_is_given_all_that_it_copies() -> None:
    dockerfile = (ROOT / "docker" / "Dockerfile").read_text()
    let_in = [
        line[1:]
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    ]
    for line in dockerfile.splitlines():
        if line.startswith("COPY") and "--from" not in line:
            for source in [word for word in line.split()[1:-1] if not word.startswith("--")]:
                assert (ROOT / source).exists(), source
                assert any(fnmatch.fnmatch(source, each) for each in let_in), source


def test_an_image_that_cannot_compile_is_not_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its check compiles for each GPU of its torch; that of a CPU has none."""
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("TRITON_DEFAULT_FP_FUSION", "1")  # Triton 3.9 warns where it is not said
    with monkeypatch.context() as patch:
        patch.setattr(compiler, "module_lack", lambda device: "there is no Python.h")
        with pytest.raises(BadInput, match=r"cannot compile for a GPU: there is no Python\.h"):
            image_check.main()
    monkeypatch.setattr(compiler, "module_lack", lambda device: "")
    monkeypatch.setattr(torch._C, "_cuda_getArchFlags", lambda: None, raising=False)
    with pytest.raises(BadInput, match="without CUDA"):
        image_check.main()
    monkeypatch.setattr(torch._C, "_cuda_getArchFlags", lambda: "sm_75 sm_120", raising=False)
    image_check.main()
    assert capsys.readouterr().out == "compiles for sm_75, sm_120\n"
