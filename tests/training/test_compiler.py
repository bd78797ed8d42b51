"""A compiler is one if it builds what Triton needs; else the reason is told, and trained slower."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from mimir.config import load_preset
from mimir.errors import BadInput
from mimir.training import compiler, trial_kernel
from mimir.training import device as gpu
from mimir.training.machine import Machine


@pytest.fixture(autouse=True)
def forgetful() -> Iterator[None]:
    """What was found out for one test is nothing to the next."""
    for each in (compiler._module_fails, compiler._triton_fails):
        each.cache_clear()
    yield
    for each in (compiler._module_fails, compiler._triton_fails):
        each.cache_clear()


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all of PATH, where programs are what a test puts there."""
    for name in ("CC", "CXX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def program(path: Path, name: str, text: str) -> None:
    (path / name).write_text(f"#!/bin/sh\n{text}\n")
    (path / name).chmod(0o755)


REAL = "PATH=/usr/bin:/bin exec /usr/bin/gcc"


def test_a_compiler_that_builds_and_loads_is_one(path: Path) -> None:
    program(path, "gcc", f'{REAL} "$@"')
    assert compiler._module_fails(compiler._program("cuda")) == ""


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "there is no C compiler"),
        (
            f'{REAL} -nostdinc "$@"',
            r"gcc cannot build what Triton needs \(.*: No such file or directory\)",
        ),
        ("echo 'ld: error: no crt1.o' >&2; exit 1", r"gcc cannot build .* \(no crt1\.o\)"),
        ('while [ "$1" != -o ]; do shift; done; echo x > "$2"', "what gcc builds cannot be loaded"),
        ("exec /does/not/exist", "gcc cannot build what Triton needs"),
    ],
)
def test_a_compiler_on_path_is_not_enough(path: Path, text: str, reason: str) -> None:
    if text:
        program(path, "gcc", text)
    with pytest.raises(AssertionError, match=reason):
        assert not compiler.lack("cuda"), compiler.lack("cuda")


def test_without_python_h_there_is_no_compiler(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(path, "gcc", f'{REAL} "$@"')
    monkeypatch.setattr(compiler, "_headers", lambda: str(path))
    assert "Python.h: No such file" in compiler.lack("cuda")


def test_what_triton_says_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise RuntimeError("0 active drivers\nmore")

    program(path, "gcc", f'{REAL} "$@"')
    monkeypatch.setattr(trial_kernel, "run", broken)
    assert compiler.lack("cuda") == "Triton cannot run a kernel (RuntimeError: 0 active drivers)"
    compiler._triton_fails.cache_clear()
    monkeypatch.setattr(trial_kernel, "run", lambda: None)
    assert compiler.lack("cuda") == ""


def test_the_trial_kernel_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """By Triton's interpreter. If it failed by itself, every GPU would train uncompiled."""
    zeros = torch.zeros
    monkeypatch.setenv("TRITON_INTERPRET", "1")  # read where a kernel is decorated
    spec = importlib.util.spec_from_file_location("trial_kernel_interpreted", trial_kernel.__file__)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(torch, "zeros", lambda *a, **k: zeros(*a, **{**k, "device": "cpu"}))
    module.run()


def test_compiling_needs_a_compiler(path: Path) -> None:
    with pytest.raises(BadInput, match=r"no C\+\+ compiler; install gcc, g\+\+"):
        Machine.choose(load_preset("smoke").with_settings({"compile": "on", "device": "cpu"}))


def test_without_a_compiler_a_gpu_trains_uncompiled_and_says_why(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu, "usable", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (8, 0))
    monkeypatch.setattr(trial_kernel, "run", lambda: None)
    program(path, "gcc", f'{REAL} "$@"')
    fast = Machine.choose(load_preset("smoke")).execution(8)
    assert fast.words == "bf16, compiled, fused attention, 8 steps a graph"
    (path / "gcc").unlink()
    slow = Machine.choose(load_preset("smoke")).execution(8)
    assert slow.words == "bf16, not compiled, 8 steps a graph (there is no C compiler)"
    asked = Machine.choose(load_preset("smoke").with_settings({"compile": "off"})).execution(8)
    assert asked.words == "bf16, not compiled, 8 steps a graph"


def test_what_is_compiled_is_kept_on_ones_own_disk(tmp_path: Path) -> None:
    environ = {"XDG_CACHE_HOME": str(tmp_path)}
    assert compiler.keep(environ) == ""
    folder = tmp_path / "mimir" / "compiled"
    assert environ["TORCHINDUCTOR_CACHE_DIR"] == str(folder / "torch")
    assert environ["TRITON_CACHE_DIR"] == str(folder / "triton")
    assert folder.stat().st_mode & 0o777 == 0o700
    given = {"MIMIR_COMPILED": str(tmp_path / "own"), "TRITON_CACHE_DIR": "/elsewhere"}
    assert compiler.keep(given) == ""
    assert given["TORCHINDUCTOR_CACHE_DIR"] == str(tmp_path / "own" / "torch")
    assert given["TRITON_CACHE_DIR"] == "/elsewhere"


@pytest.mark.parametrize("why", ["others may write it", "it is a file"])
def test_what_others_may_write_is_never_run(tmp_path: Path, why: str) -> None:
    folder = tmp_path / "compiled"
    if why == "it is a file":
        folder.touch()
    else:
        folder.mkdir()
        folder.chmod(0o777)
    environ = {compiler.KEPT: str(folder)}
    assert str(folder) in compiler.keep(environ)
    assert list(environ) == [compiler.KEPT]
