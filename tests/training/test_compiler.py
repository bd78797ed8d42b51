"""A compiler is one if it builds what Triton needs; else the reason is told, and trained slower."""

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from bench import memory, revisions, steps
from launch.payload import run_folders
from mimir import commands
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


@pytest.mark.parametrize(
    "why",
    [
        "others may write it",
        "it is a file",
        "it is a link",
        "anybody may replace it",
        "its group may replace it",
        "another user may replace it",
    ],
)
def test_what_others_may_write_is_never_run(tmp_path: Path, why: str) -> None:
    """Nor is torch's own folder in /tmp, which another user may have made first."""
    folder = tmp_path / "above" / "compiled"
    folder.parent.mkdir()
    if why.startswith(("its group", "another")) and os.getuid() != 0:
        pytest.skip("only root may give a folder away")
    if why == "it is a file":
        folder.touch()
    elif why == "it is a link":
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        folder.symlink_to(tmp_path / "elsewhere")
    else:
        folder.mkdir(mode=0o700)
        if why == "others may write it":
            folder.chmod(0o777)
        elif why == "anybody may replace it":
            folder.parent.chmod(0o777)
        elif why == "its group may replace it":
            os.chown(folder.parent, 0, 12345)
            folder.parent.chmod(0o770)
        else:
            os.chown(folder.parent, 12345, 0)
    environ, said = {compiler.KEPT: str(folder)}, list[str]()
    told = compiler.keep(environ, said.append)
    assert str(folder) in told
    assert said == [f"what is compiled is not kept for later attempts: {told}"]
    assert not (tmp_path / "elsewhere").is_dir() or not list((tmp_path / "elsewhere").iterdir())
    instead = Path(environ["TORCHINDUCTOR_CACHE_DIR"]).parent
    assert instead == Path(environ["TRITON_CACHE_DIR"]).parent
    assert instead.stat().st_mode & 0o777 == 0o700
    assert instead.stat().st_uid == os.getuid()
    assert not instead.is_relative_to(tmp_path / "above")
    again = {compiler.KEPT: str(folder)}
    compiler.keep(again)
    assert again["TRITON_CACHE_DIR"] != environ["TRITON_CACHE_DIR"], "of each process alone"
    instead.rmdir()


def test_a_folder_below_one_with_the_sticky_bit_is_ones_own(tmp_path: Path) -> None:
    above = tmp_path / "tmp"
    above.mkdir()
    above.chmod(0o1777)
    environ = {compiler.KEPT: str(above / "compiled")}
    assert compiler.keep(environ) == ""
    assert environ["TRITON_CACHE_DIR"] == str(above / "compiled" / "triton")


def test_a_user_without_a_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Path.home() says it where the user's number is in no list and HOME is not set."""

    def none() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", none)
    environ: dict[str, str] = {}
    assert "no home folder" in compiler.keep(environ)
    Path(environ["TRITON_CACHE_DIR"]).parent.rmdir()
    for variable in ("XDG_CACHE_HOME", compiler.KEPT):
        given = {variable: str(tmp_path / variable)}
        assert compiler.keep(given) == "", "no home is needed"
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    with pytest.raises(OSError, match="no home folder"):
        run_folders.compiled("image")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert run_folders.compiled("image").is_dir()


def test_whatever_trains_keeps_what_it_compiles_in_the_same_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def keep(**words: object) -> str:
        raise BadInput("kept")

    monkeypatch.setattr(compiler, "keep", keep)
    for begin in (
        lambda: commands.preflight(preset="smoke"),
        lambda: commands.replay("x", store=tmp_path.as_uri()),
        lambda: steps.main(presets="smoke"),
        lambda: revisions.main("x"),
        lambda: memory.main(preset="smoke", side="ours"),
    ):
        with pytest.raises(BadInput, match="kept"):
            begin()
