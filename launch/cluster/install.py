"""Installs Mimir in a folder of a login node: this file's text travels alone, and runs there.

    <folder>/needs-<digest>-<try>/   an environment with torch and what else Mimir imports
    <folder>/mimir-<digest>-<try>/   a small one with Mimir itself, which looks into the other
    ~/.config/mimir/installed        a link to the newest of these

Each try has folders of its own. The first thing in one is the file `whole.new` with its digest,
and at the end that becomes `whole`. So a half installation is never taken for a whole one, also
where its process lives on after the laptop went away and its folder was removed below it, and jobs
that wait keep the Mimir that they were submitted with.
"""

import contextlib
import hashlib
import json
import os
import re
import secrets
import shutil
import site
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

LINK = ".config/mimir/installed"
"""Below the home: where commands from elsewhere find it."""
_TRY = re.compile(r"(needs|mimir)-[0-9a-f]{12}-[0-9a-f]{6}")
_REMOVED = re.compile(r"removed-[0-9a-f]{6}")


def install(told: Mapping[str, Any], home: Path) -> str:
    """Install what is told; the path of the environment. SystemExit with a sentence if it fails.

    told: folder, wheel (a path), sha256 of it, needs (requirements), imports (modules that must
    load), pins (name==version), wheelhouse (a folder, or "" for pip's own index), its files, and
    site_packages (whether to take what this Python has).
    """
    folder, wheel = Path(told["folder"]), Path(told["wheel"])
    if hashlib.sha256(wheel.read_bytes()).hexdigest() != told["sha256"]:
        sys.exit(f"{wheel} came over damaged: run the same command again")
    _clear(folder)
    shared = _of_this_python() if told["site_packages"] else []
    needs = _digest([told["needs"], told["pins"], told["files"], shared, *_python()])
    base = _whole(folder, "needs", needs)
    if base is None:
        print("2/4 installs torch and the rest, which takes minutes", flush=True)
        base = _make(folder, "needs", needs, lambda path: _fill(path, told, shared))
    else:
        print("2/4 torch and the rest are there already", flush=True)
    own = _digest([told["sha256"], base.name])
    done = _whole(folder, "mimir", own)
    if done is None:
        print("3/4 installs Mimir", flush=True)
        found = base
        done = _make(folder, "mimir", own, lambda path: _add(path, found, wheel, shared, told))
    else:
        print("3/4 this Mimir is there already", flush=True)
    _point(home / LINK, done)
    return str(done)


def _fill(path: Path, told: Mapping[str, Any], shared: Sequence[str]) -> None:
    """An environment with all that Mimir needs, and with a pip where this Python has none."""
    _venv(path, *(["--without-pip"] if _has_pip(sys.executable) else []))
    _look_into(path, shared)
    words = ["install", *told["needs"]]
    if told["wheelhouse"]:
        words += ["--no-index", "--find-links", told["wheelhouse"]]
    elif told["pins"] and not shared:
        (path / "pins.txt").write_text("\n".join(told["pins"]) + "\n")
        words += ["--constraint", str(path / "pins.txt")]
    _pip(path, path, *words)


def _add(
    path: Path, base: Path, wheel: Path, shared: Sequence[str], told: Mapping[str, Any]
) -> None:
    """An environment with Mimir, that sees the other one's packages."""
    _venv(path, "--without-pip")
    _look_into(path, [str(_packages(base)), *shared])
    # A Mimir of this version that the other packages bring is none of this environment.
    _pip(base, path, "install", "--no-deps", "--no-index", "--ignore-installed", str(wheel))
    code = "import " + ", ".join((*told["imports"], "mimir", "launch"))
    environ = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [path / "bin" / "python", "-c", code], capture_output=True, text=True, cwd="/", env=environ
    )
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no word"])[-1]
        sys.exit(f"what is installed does not load: {last}")


def _venv(path: Path, *more: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "venv", *more, str(path)], capture_output=True, text=True
    )
    if done.returncode != 0:
        last = (f"{done.stdout}\n{done.stderr}".strip().splitlines() or ["no word"])[-1]
        sys.exit(f"{sys.executable} makes no environment ({last}): name another by --python")


def _has_pip(python: str) -> bool:
    """Whether it has a pip that can work for another environment: 22.3 or newer."""
    code = "import pip; print(*pip.__version__.split('.')[:2])"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True)
    found = done.stdout.split()
    return done.returncode == 0 and tuple(map(int, found)) >= (22, 3)


def _pip(base: Path, to: Path, *words: str) -> None:
    """pip with its own settings for this account, but for where to install; what it prints is
    shown."""
    python = sys.executable if _has_pip(sys.executable) else str(base / "bin" / "python")
    own = ["--disable-pip-version-check", "--no-input", "--python", str(to / "bin" / "python")]
    program = [python, "-m", "pip", *own, *words, "--progress-bar", "off"]
    elsewhere = ("PIP_TARGET", "PIP_PREFIX")
    environ = {name: text for name, text in os.environ.items() if name not in elsewhere}
    # Also against `user = true` of pip's own file, which an environment refuses.
    environ["PIP_USER"] = "0"
    done = subprocess.run(program, stdin=subprocess.DEVNULL, stderr=subprocess.STDOUT, env=environ)
    if done.returncode != 0:
        sys.exit(
            "pip did not install it (its last lines say why); without internet there, give a "
            "folder of wheels by --wheelhouse, and where there is a torch already, --site-packages"
        )


def _look_into(path: Path, folders: Sequence[str]) -> None:
    (_packages(path) / "mimir-needs.pth").write_text("".join(f"{each}\n" for each in folders))


def _packages(path: Path) -> Path:
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    return path / "lib" / version / "site-packages"


def _of_this_python() -> list[str]:
    """Where this Python has its packages, also those that a site's modules add."""
    named = [*sys.path, *site.getsitepackages(), sysconfig.get_path("purelib")]
    folders = [each for each in named if Path(each).name in ("site-packages", "dist-packages")]
    return [each for each in dict.fromkeys(folders) if Path(each).is_dir()]


def _python() -> list[str]:
    return [os.path.realpath(sys.executable), sys.version]


def _digest(of: object) -> str:
    return hashlib.sha256(json.dumps(of).encode()).hexdigest()[:12]


def _whole(folder: Path, kind: str, digest: str) -> Path | None:
    for path in sorted(folder.glob(f"{kind}-{digest}-*")):
        with contextlib.suppress(OSError):
            if (path / "whole").read_text() == digest:
                return path
    return None


def _make(folder: Path, kind: str, digest: str, fill: Callable[[Path], None]) -> Path:
    path = folder / f"{kind}-{digest}-{secrets.token_hex(3)}"
    path.mkdir()
    fresh = path / "whole.new"
    fresh.write_text(digest)
    fill(path)
    # Fails where another setup removed the folder: pip makes missing folders anew, but not this.
    os.replace(fresh, path / "whole")
    return path


def _clear(folder: Path) -> None:
    """Half installations. One that is being made elsewhere at the moment fails, and is repeated."""
    for path in list(folder.iterdir()):
        if _REMOVED.fullmatch(path.name):
            shutil.rmtree(path, ignore_errors=True)
        elif _TRY.fullmatch(path.name) and not (path / "whole").exists():
            print(f"removes a half installation: {path}", flush=True)
            # Removing takes a while, in which the other could end and call the rest of it whole.
            removed = folder / f"removed-{secrets.token_hex(3)}"
            with contextlib.suppress(FileNotFoundError):  # another setup was faster
                path.rename(removed)
            shutil.rmtree(removed, ignore_errors=True)


def _point(link: Path, to: Path) -> None:
    link.parent.mkdir(parents=True, exist_ok=True)
    fresh = link.with_name(f"{link.name}-{secrets.token_hex(3)}")
    fresh.symlink_to(to)
    os.replace(fresh, link)


if __name__ == "__main__":
    try:
        print(f"installed {install(json.load(sys.stdin), Path.home())}", flush=True)
    except OSError as error:
        sys.exit(f"it cannot be installed: {error}")
