"""Starts the worker in an image that holds Python and torch, but not Mimir.

This file's text is what the launcher passes to `python3 -c` there, so it imports the standard
library alone. It takes the keys to the store from the link that it was given, installs the
small packages that the image lacks (never torch), takes Mimir's wheel from the store by its
digest, and becomes the worker. Started again in the same container, it starts from what is
there: folder/code, folder/packages and the keys, where self_terminate looks for them too.
"""

import contextlib
import hashlib
import http.client
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

BAD_CONFIG, AGAIN = 78, 75
PAUSES = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
"""Seconds between tries to fetch the keys: a machine's network may come up after it."""


def main(
    options: Sequence[str],
    environ: Mapping[str, str] = os.environ,
    become: Callable[..., object] = os.execve,
    pauses: Sequence[float] = PAUSES,
) -> None:
    """Become the worker with these options; exits 75 or 78 with one sentence if that fails.

    MIMIR_STORE, MIMIR_CODE (the wheel's key) and MIMIR_CODE_SHA256 say what to run. MIMIR_NEEDS
    is JSON: module -> requirement. MIMIR_WORKER is the options as a JSON list, where there are
    none in argv. MIMIR_KEYS_URL is a link to keys, where these are not given in another way.
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
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    sys.path.insert(0, str(packages))
    link = environ.get("MIMIR_KEYS_URL", "")
    fetched = False
    if link:
        path = folder / "keys.json"
        if not path.exists():
            _take_keys(link, path, pauses)
            fetched = True
        environ = {**environ, "MIMIR_CREDENTIALS_FILE": str(path)}
    _install(json.loads(environ["MIMIR_NEEDS"]), packages)
    if fetched:
        _forget(environ, link)
    if not code.is_dir():
        wheel = folder / "mimir.whl"
        wheel.write_bytes(_checked(_fetch(environ, environ["MIMIR_CODE"]), sha256))
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder / "unpacked")
        (folder / "unpacked").rename(code)
    paths = [str(code), str(packages), environ.get("PYTHONPATH", "")]
    run = {**environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "PYTHONSAFEPATH": "1"}
    words = options or json.loads(environ.get("MIMIR_WORKER", "[]"))
    become(sys.executable, [sys.executable, "-m", "mimir.worker", *words], run)


def _take_keys(link: str, path: Path, pauses: Sequence[float]) -> None:
    """Put what the link gives into the file, for its owner alone. The link is never shown."""
    for pause in (*pauses, None):
        try:
            with urllib.request.urlopen(link, timeout=30) as answer:
                text = answer.read().decode()
            break
        except (OSError, ValueError, http.client.HTTPException) as error:
            said = getattr(error, "code", None)
            if isinstance(error, urllib.error.HTTPError):
                error.close()
            if said in (401, 403, 404, 410):
                _end(
                    AGAIN,
                    "the link to this machine's keys is dead, and they are not here any more: "
                    "`python -m launch resume` orders another machine",
                )
            if pause is None:
                _end(AGAIN, f"cannot fetch this machine's keys ({said or type(error).__name__})")
            time.sleep(pause)
    try:
        whole = bool(json.loads(text)["SecretAccessKey"])
    except (ValueError, KeyError, TypeError):
        whole = False
    if not whole:
        _end(AGAIN, "what the link to this machine's keys gives is no keys: look at its network")
    handle, name = tempfile.mkstemp(dir=path.parent)  # 0600 from the beginning
    with os.fdopen(handle, "w") as file:
        file.write(text)
    os.replace(name, path)


def _forget(environ: Mapping[str, str], link: str) -> None:
    """Delete what the link gives, with these very keys: what a service shows is dead then."""
    name = urllib.parse.unquote(urllib.parse.urlsplit(link).path).rpartition("/_keys/")[2]
    try:
        client, place = _bucket(environ, f"_keys/{name}")
        with contextlib.closing(client):
            client.delete_object(**place)
    except Exception as error:  # noqa: BLE001 - boto3 has no one class for a cut answer
        why = type(error).__name__
        print(f"mimir: the link to the keys lives until it expires ({why})", flush=True)


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
    if url.scheme == "file":
        path = Path(urllib.parse.unquote(url.path)) / key
        try:
            return path.read_bytes()
        except OSError as error:
            _end(BAD_CONFIG, f"cannot read {path}: {error.strerror}; mount the store")
    try:
        client, place = _bucket(environ, key)
        with contextlib.closing(client):
            content: bytes = client.get_object(**place)["Body"].read()
        return content
    except Exception as error:  # noqa: BLE001 - as above
        # The kind alone: a server's own text may repeat keys.
        _end(AGAIN, f"cannot fetch the code {key} from the store ({type(error).__name__})")


def _bucket(environ: Mapping[str, str], key: str) -> tuple[Any, dict[str, str]]:
    """A client, and where the key is in the store's bucket."""
    import boto3
    from botocore.config import Config

    url = urllib.parse.urlsplit(environ["MIMIR_STORE"])
    query = dict(urllib.parse.parse_qsl(url.query))
    keys = {}
    if environ.get("MIMIR_CREDENTIALS_FILE"):
        found = json.loads(Path(environ["MIMIR_CREDENTIALS_FILE"]).read_text())
        keys = {
            "aws_access_key_id": found["AccessKeyId"],
            "aws_secret_access_key": found["SecretAccessKey"],
            "aws_session_token": found.get("SessionToken"),
        }
    endpoint = query.get("endpoint")
    style: Any = {"addressing_style": query.get("addressing") or ("path" if endpoint else "auto")}
    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name=query.get("region") or environ.get("AWS_DEFAULT_REGION") or "us-east-1",
        config=Config(retries={"mode": "standard"}, s3=style),
        **keys,
    )
    prefix = urllib.parse.unquote(url.path).strip("/")
    return client, {"Bucket": url.netloc, "Key": f"{prefix}/{key}" if prefix else key}


def _checked(content: bytes, sha256: str) -> bytes:
    if hashlib.sha256(content).hexdigest() != sha256:
        _end(AGAIN, "the code in the store is not the code that was submitted: submit again")
    return content


def _end(code: int, sentence: str) -> NoReturn:
    print(f"mimir: {sentence}", flush=True)
    sys.exit(code)


if __name__ == "__main__":
    main(sys.argv[1:])
