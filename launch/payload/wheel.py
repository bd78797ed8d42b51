"""Mimir itself as a wheel, made from where it is imported from: the same bytes each time.

A machine that starts from somebody else's image gets our code from the store. A wheel of
pure Python is a zip with three small files of metadata, so it is written here: that needs no
network for a build tool, works from a checkout as from an installed package, and the fixed
times make the same code the same digest wherever it is packed.
"""

import base64
import hashlib
import io
import json
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

import mimir
from mimir.config import PRESETS

WHEEL_NAME = "mimir_peptides"
NEEDS = {
    "fire": "fire>=0.7",
    "numpy": "numpy>=1.26",
    "yaml": "pyyaml>=6",
    "safetensors": "safetensors>=0.5",
    "boto3": "boto3>=1.36",
    "tqdm": "tqdm>=4.66",
    "packaging": "packaging",
    "matplotlib": "matplotlib>=3.8",
    "tensorboard": "tensorboard>=2.16",
    "pynvml": "nvidia-ml-py>=11.450",
}
"""module -> requirement: what a worker imports beside torch. A test holds it to pyproject.toml;
packaging is safetensors' own, which does not declare it."""
BESIDE = ("torch>=2.6", "httpx>=0.27", "jinja2>=3.1", "biopython>=1.81")
"""What a cluster's login node needs more: it trains, launches, describes and reports, and asks no
service for prices."""
PINS = Path(__file__).with_name("worker.txt")
"""Versions of these and of all that they need, as they were tested: name==version, one a line."""
NEEDED = "mimir/worker/needs.json"
"""Where the wheel says what a worker imports, and in which versions."""
_LEFT_OUT = {"__pycache__", "measurements"}
"""Folders: no code. A forecast is made on the laptop, and a new figure makes no new code."""
SCRIPT = "[console_scripts]\nmimir = launch.__main__:mimir\n"
_TIME = (1980, 1, 1, 0, 0, 0)


def file_name() -> str:
    return f"{WHEEL_NAME}-{mimir.__version__}-py3-none-any.whl"


def content(more: Mapping[str, bytes] = MappingProxyType({})) -> bytes:
    """The wheel. more: further files by name."""
    files = {**dict(_files()), **more}
    info = f"{WHEEL_NAME}-{mimir.__version__}.dist-info"
    files[f"{info}/entry_points.txt"] = SCRIPT.encode()
    files[f"{info}/METADATA"] = _metadata().encode()
    files[f"{info}/WHEEL"] = (
        b"Wheel-Version: 1.0\nGenerator: mimir\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    record = [f"{name},{_digest(data)},{len(data)}" for name, data in sorted(files.items())]
    record.append(f"{info}/RECORD,,")
    files[f"{info}/RECORD"] = ("\n".join(record) + "\n").encode()
    sheet = io.BytesIO()
    with zipfile.ZipFile(sheet, "w", zipfile.ZIP_DEFLATED) as wheel:
        for name, data in sorted(files.items()):
            entry = zipfile.ZipInfo(name, _TIME)
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            wheel.writestr(entry, data)
    return sheet.getvalue()


def _files() -> Iterator[tuple[str, bytes]]:
    package = Path(mimir.__file__).parent
    for root, name in ((package, "mimir"), (package.parent / "launch", "launch")):
        for path in sorted(root.rglob("*")):
            place = path.relative_to(root)
            if path.is_file() and not _LEFT_OUT & set(place.parts):
                yield f"{name}/{place.as_posix()}", path.read_bytes()
    for path in sorted(PRESETS.glob("*.yaml")):
        yield f"mimir/jobs/{path.name}", path.read_bytes()
    yield NEEDED, json.dumps({"needs": NEEDS, "pins": pins()}, indent=1).encode()


def pins() -> dict[str, str]:
    """The version of each package that a worker needs beside torch."""
    lines = PINS.read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if "==" in line)


def _metadata() -> str:
    # Not what an installation declares: its metadata may be older than the code beside it.
    needs = "".join(f"Requires-Dist: {need}\n" for need in NEEDS.values())
    return f"Metadata-Version: 2.1\nName: mimir-peptides\nVersion: {mimir.__version__}\n{needs}"


def _digest(data: bytes) -> str:
    raw = hashlib.sha256(data).digest()
    return "sha256=" + base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
