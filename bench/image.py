"""Our image beside the naive one: size, start, and what a changed line costs.

The naive Dockerfile is what one writes first: one stage on a base with compilers, everything
installed, caches kept. On a GPU that base is CUDA's devel image; on a CPU build-essential
stands in for it. Sizes are the layers' as a registry would hold them (gzip -6), the base
included. Needs a container engine; imports no torch.
"""

import gzip
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from mimir import cli
from mimir.errors import BadInput, MimirError

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).parent / "results"
COPIED = ("mimir", "launch", "jobs", "bench", "docker")
FILES = ("pyproject.toml", "README.md", "LICENSE", "constraints.txt", ".dockerignore")
NAIVE = """\
FROM scratch AS wheels
FROM {base}
RUN apt-get update && apt-get install -y build-essential git python3-dev python3-pip
WORKDIR /app
COPY . .
RUN --mount=type=bind,from=wheels,target=/wheels \\
    python3 -m pip install {anyhow} --find-links /wheels '{torch}' \\
 && python3 -m pip install {anyhow} --find-links /wheels -c constraints.txt '.[train,ssh,dev]'
ENTRYPOINT ["python3", "-m", "mimir"]
"""
SETTINGS = ("train", "--preset", "smoke", "--max-steps", "40", "--store", "file:///tmp/runs")


@dataclass(frozen=True)
class Layers:
    """Bytes of the compressed layers, by digest of what is in them."""

    sizes: dict[str, int]

    @property
    def total(self) -> int:
        return sum(self.sizes.values())

    def beside(self, other: "Layers") -> int:
        """Bytes to push where `other` has been pushed."""
        return sum(size for name, size in self.sizes.items() if name not in other.sizes)


class Counter:
    """A file that only counts what is written to it."""

    def __init__(self) -> None:
        self.count = 0

    def write(self, data: bytes) -> int:
        self.count += len(data)
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""


def engine(*words: str, cwd: Path = ROOT) -> str:
    """Output of an engine's command."""
    program = shutil.which("docker") or shutil.which("podman")
    if program is None:
        raise BadInput("measuring images needs Docker or Podman, and neither is installed")
    done = subprocess.run(
        [program, *words], cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        check=False,
    )  # fmt: skip
    if done.returncode:
        raise MimirError(f"`{' '.join(words[:2])}` failed: {done.stdout[-2000:]}")
    return done.stdout


def layers(image: str, known: dict[str, int]) -> Layers:
    """The image's layers, compressed one by one; `known` sizes are not measured again."""
    program = shutil.which("docker") or "podman"
    found = json.loads(engine("image", "inspect", image))[0]["RootFS"]["Layers"]
    sizes: list[int] = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "image.tar"
        with path.open("wb") as out:
            subprocess.run([program, "save", image], stdout=out, check=True)
        with tarfile.open(path) as tar:
            manifest = tar.extractfile("manifest.json")
            assert manifest is not None
            for name, digest in zip(json.load(manifest)[0]["Layers"], found, strict=True):
                if digest not in known:
                    layer = tar.extractfile(name)
                    assert layer is not None
                    known[digest] = _compressed(layer)
                sizes.append(known[digest])
    return Layers(dict(zip(found, sizes, strict=True)))


def _compressed(layer: IO[bytes]) -> int:
    counter = Counter()
    with gzip.GzipFile(fileobj=counter, mode="wb", compresslevel=6) as out:
        shutil.copyfileobj(layer, out, 1 << 20)
    return counter.count


def seconds_to_first_step(image: str) -> float:
    """From `docker run` to the commit of step 0, after which the first step is taken at once.

    The first line of progress comes up to ten seconds later and would be no clock.
    """
    program = shutil.which("docker") or "podman"
    began = time.monotonic()
    with subprocess.Popen(
        [program, "run", "--rm", image, *SETTINGS], stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line.startswith("checkpoint of step 0 committed"):
                taken = time.monotonic() - began
                process.communicate()
                return taken
    raise MimirError(f"{image} did not train: {''.join(lines)[-1000:]}")


@contextmanager
def checkout() -> Iterator[Path]:
    """A copy of what the images are built from, in which a line may be changed."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for name in COPIED:
            shutil.copytree(
                ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "results")
            )
        for name in FILES:
            shutil.copy(ROOT / name, copy / name)
        yield copy


def build(where: Path, dockerfile: Path, tag: str, options: tuple[str, ...]) -> float:
    """Seconds that the build took."""
    began = time.monotonic()
    engine("build", "--file", str(dockerfile), *options, "--tag", tag, ".", cwd=where)
    return time.monotonic() - began


def main(
    *,
    base: str = "python:3.11.14-slim-bookworm",
    device: str = "cpu",
    wheels: str = "",
    torch: str = "torch==2.13.0+cpu",
    repeats: int = 3,
    out: str = "",
) -> None:
    """Build our image and the naive one, and print size, start and cost of a changed line.

    Args:
        base: the base of both.
        device: cpu or cuda.
        wheels: a folder with torch's wheel (default: an index).
        torch: what the naive Dockerfile installs as torch.
        repeats: starts of each image, in turns; the median counts.
        out: folder for the result (default: bench/results).

    Example:
        python -m bench.image --base python:3.11.14-slim-bookworm --wheels ~/wheels
    """
    context = ("--build-context", f"wheels={wheels}") if wheels else ()
    sides: dict[str, dict[str, Any]] = {"ours": {}, "naive": {}}
    ours = ("--build-arg", f"BASE_IMAGE={base}", "--build-arg", f"DEVICE={device}", *context)
    known: dict[str, int] = {}
    with checkout() as folder:
        naive = folder / "Dockerfile.naive"
        anyhow = "--break-system-packages" if _is_debian(base) else ""
        naive.write_text(NAIVE.format(base=base, torch=torch, anyhow=anyhow))
        # The naive one ignores nothing: it has no .dockerignore of its own.
        (folder / "Dockerfile.naive.dockerignore").write_text("")
        plans = {
            "ours": (folder / "docker" / "Dockerfile", ours),
            "naive": (naive, context),
        }
        before: dict[str, Layers] = {}
        for side, (path, options) in plans.items():
            build(folder, path, f"mimir-bench:{side}", options)
            before[side] = layers(f"mimir-bench:{side}", known)
            sides[side]["compressed_bytes"] = before[side].total
        starts: dict[str, list[float]] = {side: [] for side in plans}
        for _ in range(repeats):
            for side in plans:
                starts[side].append(seconds_to_first_step(f"mimir-bench:{side}"))
        for side in plans:
            sides[side]["start_s"] = starts[side]
        source = folder / "mimir" / "training" / "loop.py"
        source.write_text(source.read_text() + "\n# changed\n")
        for side, (path, options) in plans.items():
            sides[side]["rebuild_s"] = build(folder, path, f"mimir-bench:{side}", options)
            after = layers(f"mimir-bench:{side}", known)
            sides[side]["pushed_bytes"] = after.beside(before[side])
    for side in sides:
        engine("image", "rm", "--force", f"mimir-bench:{side}")
    _print(sides)
    result = {"kind": "image", "device": device, "base": base, "cores": os.cpu_count(), **sides}
    print(f"written to {_save(result, Path(out) if out else RESULTS)}")


def _is_debian(base: str) -> bool:
    look = "test -e /usr/lib/python3/dist-packages && echo yes || echo no"
    return engine("run", "--rm", base, "sh", "-c", look).strip() == "yes"


def _print(sides: dict[str, dict[str, Any]]) -> None:
    print(f"{'':<34}{'ours':>10}{'naive':>10}")
    for key, label, unit in (
        ("compressed_bytes", "compressed size, MB", 1e6),
        ("start_s", "run to first step, s (median)", 1.0),
        ("rebuild_s", "rebuild after a changed line, s", 1.0),
        ("pushed_bytes", "to push after it, MB", 1e6),
    ):
        shown = []
        for side in ("ours", "naive"):
            value = sides[side][key]
            value = sorted(value)[len(value) // 2] if isinstance(value, list) else value
            shown.append(f"{value / unit:>10.1f}")
        print(f"{label:<34}{''.join(shown)}")


def _save(result: dict[str, Any], folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"image-{result['device']}-{time.strftime('%Y%m%d-%H%M%S')}.json"
    path.write_text(json.dumps(result, indent=2) + "\n")
    return path


if __name__ == "__main__":
    cli.run("python -m bench.image", main)
