"""Starts the worker in an image that holds Python and torch, but not Mimir.

This file's text is what the launcher passes to `python3 -c` there, so it imports the standard
library alone. It installs the small packages that the image lacks (never torch), takes
Mimir's wheel from the store by its digest, and becomes the worker. All it needs comes in
variables that hold no secret; keys to the store are in the file or the variables where the
worker itself looks for them. Started again in the same container, it starts from what is there.
"""

import hashlib
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import urllib.parse
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

BAD_CONFIG, AGAIN = 78, 75


def main(
    options: Sequence[str],
    environ: Mapping[str, str] = os.environ,
    become: Callable[..., object] = os.execve,
) -> None:
    """Become the worker with these options; exits 75 or 78 with one sentence if that fails.

    MIMIR_STORE, MIMIR_CODE (the wheel's key) and MIMIR_CODE_SHA256 say what to run, MIMIR_NEEDS
    is JSON: module -> requirement.
    """
    if sys.version_info < (3, 11):  # noqa: UP036 - the image is not of our choosing
        _end(
            BAD_CONFIG, f"the image has Python {sys.version.split()[0]}: Mimir needs 3.11 or newer"
        )
    if importlib.util.find_spec("torch") is None:
        _end(BAD_CONFIG, f"{sys.executable} in the image has no torch: use an image with PyTorch")
    sha256 = environ["MIMIR_CODE_SHA256"]
    folder = Path(tempfile.gettempdir()) / f"mimir-{sha256[:16]}"
    packages, code = folder / "packages", folder / "code"
    folder.mkdir(parents=True, exist_ok=True)
    sys.path.insert(0, str(packages))
    _install(json.loads(environ["MIMIR_NEEDS"]), packages)
    if not code.is_dir():
        wheel = folder / "mimir.whl"
        wheel.write_bytes(_checked(_fetch(environ, environ["MIMIR_CODE"]), sha256))
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder / "unpacked")
        (folder / "unpacked").rename(code)
    paths = [str(code), str(packages), environ.get("PYTHONPATH", "")]
    run = {**environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    become(sys.executable, [sys.executable, "-m", "mimir.worker", *options], run)


def _install(needs: Mapping[str, str], packages: Path) -> None:
    lacking = [need for module, need in needs.items() if importlib.util.find_spec(module) is None]
    if not lacking:
        return
    print(f"the image lacks {', '.join(lacking)}: pip installs them", flush=True)
    # --target: works in a system's Python, in conda's and in a virtual environment alike.
    done = subprocess.run(
        [
            sys.executable, "-m", "pip", "install", "--quiet", "--no-input", "--no-cache-dir",
            "--disable-pip-version-check", "--target", str(packages), *lacking,
        ],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        print(done.stdout, flush=True)
        _end(AGAIN, f"pip could not install {', '.join(lacking)}: use an image that has them")
    importlib.invalidate_caches()


def _fetch(environ: Mapping[str, str], key: str) -> bytes:
    url = urllib.parse.urlsplit(environ["MIMIR_STORE"])
    path = urllib.parse.unquote(url.path)
    if url.scheme == "file":
        try:
            return (Path(path) / key).read_bytes()
        except OSError as error:
            _end(BAD_CONFIG, f"cannot read {Path(path) / key}: {error.strerror}; mount the store")
    import boto3
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    query = dict(urllib.parse.parse_qsl(url.query))
    keys = {}
    if environ.get("MIMIR_CREDENTIALS_FILE"):
        found = json.loads(Path(environ["MIMIR_CREDENTIALS_FILE"]).read_text())
        keys = {
            "aws_access_key_id": found["AccessKeyId"],
            "aws_secret_access_key": found["SecretAccessKey"],
            "aws_session_token": found.get("SessionToken"),
        }
    prefix = path.strip("/")
    try:
        client = boto3.client(
            "s3",
            endpoint_url=query.get("endpoint"),
            region_name=query.get("region") or environ.get("AWS_REGION") or "us-east-1",
            **keys,
        )
        full = f"{prefix}/{key}" if prefix else key
        content: bytes = client.get_object(Bucket=url.netloc, Key=full)["Body"].read()
        return content
    except (Boto3Error, BotoCoreError, ClientError) as error:
        # The kind alone: a server's own text may repeat keys.
        _end(AGAIN, f"cannot fetch the code {key} from the store ({type(error).__name__})")


def _checked(content: bytes, sha256: str) -> bytes:
    if hashlib.sha256(content).hexdigest() != sha256:
        _end(AGAIN, "the code in the store is not the code that was submitted: submit again")
    return content


def _end(code: int, sentence: str) -> NoReturn:
    print(f"mimir: {sentence}", flush=True)
    sys.exit(code)


if __name__ == "__main__":
    main(sys.argv[1:])
