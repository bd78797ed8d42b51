"""Whether torch's compiler works here, tried and not guessed, and where its results are kept.

Triton compiles a module for Python in C for each kernel that it launches, and torch's compiler
does so in C++ on a CPU. A compiler on PATH is not enough: without the C library's headers or
Python.h the first compiled step fails, minutes after the machine was paid for.
"""

import atexit
import functools
import importlib.util
import os
import shutil
import stat
import subprocess
import sysconfig
import tempfile
from collections.abc import Callable, Mapping, MutableMapping
from pathlib import Path

from mimir.text import first_line
from mimir.training import compiled

WITHIN = 120.0
"""Seconds for a module of a few lines, on a machine that does much else."""
_MODULE = """\
#include <Python.h>
#include <stdlib.h>
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "mimir_trial", NULL, -1, NULL};
PyMODINIT_FUNC PyInit_mimir_trial(void) { return PyModule_Create(&definition); }
"""


KEPT = "MIMIR_COMPILED"
"""Variable with the folder in which what is compiled is kept."""
_CACHES = (("TORCHINDUCTOR_CACHE_DIR", "torch"), ("TRITON_CACHE_DIR", "triton"))
"""Variables with torch's and Triton's own folder, and its name in ours."""


def keep(
    environ: MutableMapping[str, str] = os.environ, say: Callable[[str], None] = lambda line: None
) -> str:
    """Have torch and Triton keep what they compile on this computer's own disk.

    A later attempt here, also of another run, finds it. The folder is the user's own and of nobody
    else, and never in a store: torch runs what it finds there, so that it is code. Variables that
    are set already (TORCHINDUCTOR_CACHE_DIR, TRITON_CACHE_DIR) hold. What nobody has used there for
    a month is removed.

    Where there is no such folder, both get a new one that this process removes at its end: by
    themselves they would take one in /tmp by the user's name, which anybody may have made first.

    Args:
        environ: is changed.
        say: takes a sentence if nothing is kept.

    Returns:
        Why nothing is kept, as one clause; "" if it is.
    """
    if all(environ.get(variable) for variable, _ in _CACHES):
        return ""
    folder, why = _own_folder(environ)
    if folder is None:
        say(f"what is compiled is not kept for later attempts: {why}")
        try:
            folder = Path(tempfile.mkdtemp(prefix="mimir-compiled-"))  # of this user alone, 0700
        except OSError:  # torch and Triton find no folder of their own either
            return why
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
    else:
        compiled.remove_unused(folder)
    for variable, name in _CACHES:
        environ.setdefault(variable, str(folder / name))
    return why


def _own_folder(environ: Mapping[str, str]) -> tuple[Path | None, str]:
    """The folder in which what is compiled is kept, and "", or None and why there is none."""
    try:
        given = environ.get(KEPT)
        folder = Path(given) if given else _cache(environ) / "mimir" / "compiled"
        folder = Path(os.path.abspath(folder))
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        status = folder.lstat()
        above = {*folder.parents, *folder.resolve().parents}
        shared = sorted(path for path in above if _others_may_replace_in(path))
    except OSError as error:
        return None, f"{error.filename or 'its folder'} cannot be used ({error.strerror})"
    except RuntimeError:
        return None, f"this user has no home folder; name a folder by {KEPT}"
    if stat.S_ISLNK(status.st_mode):
        return None, f"{folder} is a link"
    if status.st_uid != os.getuid() or status.st_mode & 0o022 or not os.access(folder, os.W_OK):
        return None, f"{folder} is not this user's alone to write"
    if shared:
        return None, f"{folder} can be replaced by others, who may write {shared[0]}"
    return folder, ""


def _cache(environ: Mapping[str, str]) -> Path:
    """The user's folder for caches. RuntimeError for a user without a home."""
    return Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def _others_may_replace_in(folder: Path) -> bool:
    """Whether another user may rename what is in a folder: its owner may, unless that is root, and
    without the sticky bit whoever may write it. A group of the user's own, which has its number as
    many systems make it, is no other user."""
    status = folder.stat()
    if status.st_uid not in (0, os.getuid()):
        return True
    own_group = status.st_gid == os.getgid() == os.getuid()
    writers = stat.S_IWOTH | (0 if own_group else stat.S_IWGRP)
    return bool(status.st_mode & writers) and not status.st_mode & stat.S_ISVTX


def lack(device: str) -> str:
    """Why torch.compile cannot work on "cuda" or "cpu", as one clause; "" if it can."""
    return module_lack(device) or (_triton_fails() if device == "cuda" else "")


def module_lack(device: str) -> str:
    """Why no module for Python can be built for it, "" if one can. Imports no torch."""
    program = _program(device)
    if not program:
        return f"there is no {'C' if device == 'cuda' else 'C++'} compiler"
    return _module_fails(program)


def _program(device: str) -> str:
    """As Triton and torch look for it."""
    variable, programs = ("CC", ("gcc", "clang")) if device == "cuda" else ("CXX", ("g++",))
    given = os.environ.get(variable)
    found = (shutil.which(name) for name in ((given,) if given else programs))
    return next(filter(None, found), "")


@functools.cache
def _module_fails(program: str) -> str:
    """Compile and load a module for Python; why that does not work, or ""."""
    name = Path(program).name
    with tempfile.TemporaryDirectory(prefix="mimir-") as folder:
        source, made = Path(folder, "trial.c"), Path(folder, "mimir_trial.so")
        source.write_text(_MODULE)
        words = [
            program,
            str(source),
            "-O0",
            "-shared",
            "-fPIC",
            f"-I{_headers()}",
            "-o",
            str(made),
        ]
        try:
            done = subprocess.run(
                words, capture_output=True, text=True, timeout=WITHIN, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"{name} does not work ({type(error).__name__})"
        if done.returncode:
            return f"{name} cannot build what Triton needs ({_error(done.stderr)})"
        try:
            spec = importlib.util.spec_from_file_location("mimir_trial", made)
            assert spec is not None
            importlib.util.module_from_spec(spec)
        except ImportError as error:
            return f"what {name} builds cannot be loaded ({first_line(error)})"
    return ""


def _headers() -> str:
    """Where Triton and torch look for Python.h."""
    scheme = sysconfig.get_default_scheme()
    # Debian's own scheme, in which nothing but what pip installs is.
    return sysconfig.get_path("include", "posix_prefix" if scheme == "posix_local" else scheme)


def _error(said: str) -> str:
    """The line of a compiler's output that says what is wrong."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    wrong = next((line for line in lines if "error" in line), lines[0] if lines else "no reason")
    return wrong.partition("error:")[2].strip() or wrong


@functools.cache
def _triton_fails() -> str:
    """Compile, load and run a kernel on the GPU; why that does not work, or ""."""
    if importlib.util.find_spec("triton") is None:
        return "there is no Triton"
    try:
        from mimir.training.trial_kernel import run

        run()
    except Exception as error:  # noqa: BLE001 - whatever a compiler or driver comes up with
        return f"Triton cannot run a kernel ({type(error).__name__}: {first_line(error)})"
    return ""
