"""What a rented machine starts: Mimir's code in a public image, under a time limit, then the end.

    timeout … python3 launch/payload/bootstrap.py     becomes mimir.worker
    python3 mimir/worker/self_terminate.py               whatever became of it

Both texts travel packed in variables, for Vast takes 4,096 characters of arguments in all; where a
service rents the machine out, by_link.py then leaves all of it in the store. The command is the
same for every run: what differs is in variables, none of which is a secret for long.
The worker's end is awaited with `wait`, because a shell that runs a command in its foreground
does not hear the SIGTERM that asks for the last checkpoint.
"""

import base64
import json
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from launch.contract import deadlines
from launch.contract import image as images
from launch.contract.cloud import ContainerSpec
from launch.contract.provider import AttemptSpec
from launch.payload import bootstrap, code_in_store, credentials, registry_login, shell_end
from mimir.errors import BadInput
from mimir.runs.store import Store
from mimir.worker import self_terminate as ending_module

PUBLIC_IMAGE = images.PUBLIC.name
PUBLIC_IMAGES = {
    PUBLIC_IMAGE: f"ghcr.io/{PUBLIC_IMAGE}", f"ghcr.io/{PUBLIC_IMAGE}": PUBLIC_IMAGE
}  # fmt: skip
"""Its two names: PyTorch publishes releases at GitHub's registry, then at Docker Hub
(pytorch/test-infra#7870), which limits the pulls of all who share an address."""
MOST_COMMAND, MOST_VARIABLES, MOST_TEXT = 2500, 50, 32_000
"""Characters of the command; variables, and characters of all of them."""

_PYTHON = 'python3 -c "import base64,os,zlib;exec(zlib.decompress(base64.b64decode(os.environ['
_HEAD = "p=;s=;trap 's=1;[ -z \"$p\" ]||kill -TERM $p' TERM INT;export MIMIR_WORK=$$;"
# The file keeps the end for a restart. It holds the machine's own time, which is compared with no
# other computer's. If that clock was set meanwhile, or no file can be written, the number counts.
_LIMIT = (
    'd=$(date +%s);n={most};f="${{TMPDIR:-/tmp}}/$MIMIR_RUN-$MIMIR_ATTEMPT.end";'
    'if [ -s "$f" ];then n=$(($(cat "$f")-d));else echo $((d+n))>"$f";fi;'
    "[ $n -lt {most} ]||n={most};[ $n -gt 1 ]||n=1;"
    "timeout --foreground --preserve-status --kill-after={kill} $n "
)
# A trap ends `wait` early; it is repeated then, and 127 says that there is nothing to wait for.
_TAIL = (
    "& p=$!;[ -z \"$s\" ]||kill -TERM $p;c=127;"
    "while s=;wait $p;e=$?;[ $e = 127 ]||c=$e;[ -n \"$s\" ];do :;done;exec "
)  # fmt: skip


def of(
    store: Store,
    spec: AttemptSpec,
    keys_url: str,
    ending: Mapping[str, Any] | None,
    *,
    environ: Mapping[str, str] = os.environ,
) -> ContainerSpec:
    """What the machine of an attempt starts.

    Args:
        store: where the run's code lies, or is put.
        keys_url: a link to the attempt's keys (key_link), "" for a store without any.
        ending: the request by which the machine ends itself (Cloud.ending), None if it cannot.

    Raises:
        BadInput: more or longer variables than services take.
        StoreError: the code cannot be put into the store.
    """
    stored = code_in_store.of_run(store, spec.run)
    env = {name: value for name, value in spec.env.items() if name not in credentials.VARIABLES}
    env |= {
        "MIMIR_STORE": spec.store, "MIMIR_RUN": spec.run, "MIMIR_ATTEMPT": str(spec.attempt),
        "MIMIR_CODE": stored.key, "MIMIR_CODE_SHA256": stored.sha256,
        "MIMIR_WORKER": _json(spec.worker_options()), "MIMIR_COMPILER": "install",
        "MIMIR_BOOT": _packed(bootstrap.__file__), "MIMIR_ENDING": _packed(ending_module.__file__),
    }  # fmt: skip
    env |= code_in_store.link(store, stored)
    region = getattr(store, "region", "")
    if region:
        env["AWS_DEFAULT_REGION"] = region
    if keys_url:
        env["MIMIR_KEYS_URL"] = keys_url
    if ending is not None:
        env["MIMIR_END"] = _json(ending)
    until = spec.deadline + deadlines.SHELL_OVERTIME
    seconds = max(1.0, until - store.now()) if spec.deadline else 0.0
    script = shell_end.unless_python(env) + _script(int(seconds))
    _check(script, env)
    image = images.wanted(spec.image, environ).name
    return ContainerSpec(
        image=image,
        command=("sh", "-c", script),
        env=env,
        seconds=seconds + deadlines.KILL_AFTER + deadlines.SELF_TERMINATE_WITHIN
        if seconds
        else 0.0,
        image_elsewhere=PUBLIC_IMAGES.get(image, ""),
        login=registry_login.of(image, environ),
    )


def default_image(environ: Mapping[str, str] = os.environ) -> str:
    """The image of a rented machine where the user names none."""
    return images.wanted("", environ).name


def _script(most: int) -> str:
    """most: seconds from its first start at which the worker is ended; 0 for never."""
    limit = _LIMIT.format(most=most, kill=deadlines.KILL_AFTER) if most else ""
    work, end = (f"{_PYTHON}'{name}'])))\"" for name in ("MIMIR_BOOT", "MIMIR_ENDING"))
    return f"{_HEAD}{limit}{work}{_TAIL}{end} $c"


def _packed(path: str) -> str:
    return base64.b64encode(zlib.compress(Path(path).read_bytes(), 9)).decode()


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def _check(script: str, env: Mapping[str, str]) -> None:
    size = sum(len(name) + len(value) for name, value in env.items())
    if len(script) > MOST_COMMAND or len(env) > MOST_VARIABLES or size > MOST_TEXT:
        raise BadInput(
            f"a machine would get {len(env)} variables of {size} characters: services take "
            f"{MOST_VARIABLES} of {MOST_TEXT} in all; use a shorter store URL or fewer variables"
        )
