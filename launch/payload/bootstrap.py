"""Starts the worker in an image that holds Python and torch, but not Mimir.

This file's text is what the launcher passes to `python3 -c` there, so it imports the standard
library alone. It takes Mimir's wheel by its digest and the keys to the store from the links that
it was given, installs the small packages that the image lacks (never torch) in the wheel's own
versions, and a C compiler where torch's compiler needs one, and becomes the worker. Started again
in the same container, it starts from what is there: folder/code, folder/packages and the keys,
where self_terminate looks for them too.
"""

import contextlib
import hashlib
import http.client
import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import signal
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
"""Seconds between tries to fetch something: a machine's network may come up after it."""
APT_WITHIN = 240.0
"""Seconds for the compiler's 70 MB; training without it is slower, but not for ever."""
APT = ("Acquire::Retries=2", "Acquire::http::Timeout=20", "DPkg::Lock::Timeout=60")
BEHIND = """\
import importlib.machinery, importlib.util, os, sys
sys.path.append({packages!r})
_here = os.path.dirname(os.path.abspath(__file__))
_others = [each for each in sys.path if os.path.abspath(each) != _here]
_spec = importlib.machinery.PathFinder.find_spec("sitecustomize", _others)
if _spec is not None and _spec.loader is not None:
    _spec.loader.exec_module(importlib.util.module_from_spec(_spec))
"""
"""What puts our packages behind all that the image has, in each of the worker's processes: where
PYTHONPATH would put them, they would hide the image's own. The image's customization still runs."""


def main(
    options: Sequence[str],
    environ: Mapping[str, str] = os.environ,
    become: Callable[..., object] = os.execve,
    pauses: Sequence[float] = PAUSES,
) -> None:
    """Become the worker with these options; exits 75 or 78 with one sentence if that fails.

    MIMIR_CODE_SHA256 says what to run, and MIMIR_CODE_URL where it is; without that it lies in the
    folder that MIMIR_STORE is, under MIMIR_CODE. MIMIR_WORKER is the options as a JSON list, where
    there are none in argv. MIMIR_KEYS_URL is a link to keys, where these are not given in another
    way. MIMIR_COMPILER=install: a C compiler may be installed.
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
    sys.path.append(str(packages))
    link = environ.get("MIMIR_KEYS_URL", "")
    fetched = False
    if link:
        path = folder / "keys.json"
        if not path.exists():
            _take_keys(link, path, pauses)
            fetched = True
        environ = {**environ, "MIMIR_CREDENTIALS_FILE": str(path)}
    if not code.is_dir():
        _take_code(environ, sha256, folder, pauses)
    told = json.loads((code / "mimir/worker/needs.json").read_text())
    _install(told["needs"], told["pins"], packages)
    if fetched:
        _forget(environ, link, _own_link(environ))
    behind = folder / "behind"
    behind.mkdir(exist_ok=True)
    (behind / "sitecustomize.py").write_text(BEHIND.format(packages=str(packages)))
    paths = [str(code), str(behind), environ.get("PYTHONPATH", "")]
    run = {**environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "PYTHONSAFEPATH": "1"}
    if environ.get("MIMIR_COMPILER") == "install":
        _provide_compiler(run)
    words = options or json.loads(environ.get("MIMIR_WORKER", "[]"))
    become(sys.executable, [sys.executable, "-m", "mimir.worker", *words], run)


def _take_code(
    environ: Mapping[str, str], sha256: str, folder: Path, pauses: Sequence[float]
) -> None:
    """Unpack the wheel of this digest into folder/code."""
    link = environ.get("MIMIR_CODE_URL", "")
    if link:
        content = _fetched(link, "Mimir's code", pauses)
    else:
        store = urllib.parse.urlsplit(environ["MIMIR_STORE"])
        path = Path(urllib.parse.unquote(store.path)) / environ["MIMIR_CODE"]
        try:
            content = path.read_bytes()
        except OSError as error:
            _end(BAD_CONFIG, f"cannot read {path}: {error.strerror}; mount the store")
    if hashlib.sha256(content).hexdigest() != sha256:
        _end(AGAIN, "the code in the store is not the code that was submitted: submit again")
    wheel = folder / "mimir.whl"
    wheel.write_bytes(content)
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "unpacked")
    (folder / "unpacked").rename(folder / "code")


def _own_link(environ: Mapping[str, str]) -> str:
    """The link by which this machine was told what to start (launch/payload/loader.py)."""
    return "".join(environ.get(f"MIMIR_LINK_{n}", "") for n in range(40))


def _fetched(link: str, what: str, pauses: Sequence[float]) -> bytes:
    """What a link gives. The link is never shown."""
    for pause in (*pauses, None):
        try:
            with urllib.request.urlopen(link, timeout=60) as answer:
                content: bytes = answer.read()
                return content
        except (OSError, ValueError, http.client.HTTPException) as error:
            said = getattr(error, "code", None)
            if isinstance(error, urllib.error.HTTPError):
                error.close()
            if said in (401, 403, 404, 410):
                _end(
                    AGAIN,
                    f"the link to {what} is dead, and nothing of it is here: "
                    "`python -m launch resume` orders another machine",
                )
            if pause is None:
                _end(AGAIN, f"cannot fetch {what} ({said or type(error).__name__})")
            time.sleep(pause)
    raise AssertionError("the last try ends it")


def _take_keys(link: str, path: Path, pauses: Sequence[float]) -> None:
    """Put what the link gives into the file, for its owner alone."""
    text = _fetched(link, "this machine's keys", pauses).decode(errors="replace")
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


def _forget(environ: Mapping[str, str], *links: str) -> None:
    """Delete what these give, with the attempt's own keys: what a service shows is dead then."""
    for link in filter(None, links):
        name = urllib.parse.unquote(urllib.parse.urlsplit(link).path).rpartition("/_keys/")[2]
        try:
            client, place = _bucket(environ, f"_keys/{name}")
            with contextlib.closing(client):
                client.delete_object(**place)
        except Exception as error:  # noqa: BLE001 - boto3 has no one class for a cut answer
            why = type(error).__name__
            print(f"mimir: the link to the keys lives until it expires ({why})", flush=True)


def _install(needs: Mapping[str, str], pins: Mapping[str, str], packages: Path) -> None:
    """Install what the image lacks of the packages that a worker needs, and nothing else.

    needs: module -> requirement. pins: package -> version, of these and of all that they need.
    """
    lacking = [need for module, need in needs.items() if importlib.util.find_spec(module) is None]
    _refuse_old([need for need in needs.values() if need not in lacking])
    if not lacking:
        return
    words = [f"{name}=={version}" for name, version in pins.items() if not _version(name)]
    print(f"the image lacks {', '.join(lacking)}: pip installs {' '.join(words)}", flush=True)
    # --target: works in a system's Python, in conda's and in a virtual environment alike.
    done = subprocess.run(
        [
            sys.executable, "-m", "pip", "install", "--quiet", "--no-input", "--no-cache-dir",
            "--disable-pip-version-check", "--no-deps", "--target", str(packages), *words,
        ],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        print(done.stdout, flush=True)
        _end(AGAIN, f"pip could not install {', '.join(lacking)}: use an image that has them")
    importlib.invalidate_caches()


def _refuse_old(needs: Sequence[str]) -> None:
    """End if the image has an older version of a package than Mimir works with.

    Ours would lie behind it, for what else the image has may need that very version.
    """
    for need in needs:
        name, _, least = need.partition(">=")
        found = _version(name)
        if found and least and _numbers(found) < _numbers(least):
            _end(BAD_CONFIG, f"the image has {name} {found}: Mimir needs {need}, use another image")


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _numbers(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", version)[:3]]


def _provide_compiler(environ: Mapping[str, str]) -> None:
    """Install what torch's compiler needs, where it lacks and that is allowed; say what became.

    Without it training is not compiled, and takes up to twice as long.
    """
    why = _lack(environ)
    if not why:
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        reason = "this is not root" if os.geteuid() else "there is no apt-get"
        print(f"mimir: {why}, and it cannot be installed ({reason}): slower training", flush=True)
        return
    began = time.monotonic()
    python = f"python{sys.version_info.major}.{sys.version_info.minor}-dev"
    failed = _apt("update", began)
    for packages in (("gcc", "libc6-dev"), (python,)):
        if why and not failed:
            failed = _apt("install", began, "--yes", "--no-install-recommends", *packages)
            why = _lack(environ)
    if why:
        print(
            f"mimir: {why}, and it could not be installed ({failed or 'apt-get did not help'}): "
            "slower training",
            flush=True,
        )
        return
    took = time.monotonic() - began
    print(f"mimir: a C compiler was missing and is installed ({took:.0f} s)", flush=True)


def _lack(environ: Mapping[str, str]) -> str:
    """Why a module for Python cannot be built here, "" if it can."""
    tried = "from mimir.training import compiler; print(compiler.module_lack('cuda'))"
    done = subprocess.run(
        [sys.executable, "-c", tried], env=dict(environ), text=True, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    return (done.stdout.strip().splitlines() or [""])[-1]


def _apt(verb: str, began: float, *words: str) -> str:
    """Run apt-get within what is left of APT_WITHIN; why it failed, or ""."""
    left = APT_WITHIN - (time.monotonic() - began)
    settings = (f"-o{each}" for each in APT)
    process = subprocess.Popen(
        ["apt-get", "-q", *settings, verb, *words],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL, text=True, start_new_session=True,
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
    )  # fmt: skip
    try:
        said = process.communicate(timeout=max(1.0, left))[0]
    except subprocess.TimeoutExpired:
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return f"apt-get {verb} took more than {APT_WITHIN:.0f} s"
    if process.returncode:
        lines = [line for line in said.splitlines() if line.startswith("E:")]
        return (lines or [f"apt-get {verb} ends with {process.returncode}"])[0][:200]
    return ""


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


def _end(code: int, sentence: str) -> NoReturn:
    print(f"mimir: {sentence}", flush=True)
    sys.exit(code)


if __name__ == "__main__":
    main(sys.argv[1:])
