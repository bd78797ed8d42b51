"""Which variables a job gets from who submits it: by name, and no secret.

What a job is given lies in Slurm's own files as long as it waits, and processes on its node show
it. With an s3:// store the job finds its keys where the account keeps them (~/.aws).
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import mimir
from mimir.connections import CA_FILES, PROXIES
from mimir.errors import BadInput

MORE = "MIMIR_SLURM_ENV"
"""Names of more variables, separated by commas. A job reads it again, for its container."""
NAMES = (
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH",
    "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_DATA_HOME", "OMP_NUM_THREADS",
    "AWS_PROFILE", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_REGION",
    "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "MIMIR_CREDENTIALS_FILE",
    *CA_FILES,
)  # fmt: skip
"""Settings of the account that a node has too. No key is among them."""
_SECRET = re.compile(r"KEY|SECRET|TOKEN|PASSW|CREDENTIAL|AUTH|COOKIE|NOTIFY|WEBHOOK", re.I)
_ALLOWED = ("MIMIR_CREDENTIALS_FILE", "AWS_SHARED_CREDENTIALS_FILE")
"""Names of files that hold secrets, and no secrets."""
_NO_PROXY = ("NO_PROXY", "no_proxy")
"""Lists of hosts, and no proxy."""


def of_job(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The variables of a job, by name.

    BadInput for a name in $MIMIR_SLURM_ENV that says that it is a secret's.
    """
    more = [name.strip() for name in environ.get(MORE, "").split(",") if name.strip()]
    for name in more:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise BadInput(f"${MORE} names {name!r}, which is no variable: write NAME,NAME")
        if _SECRET.search(name) and name not in _ALLOWED:
            raise BadInput(
                f"${MORE} names {name}, which looks like a secret: a job's variables can be read "
                "on its node, so keep it in a file that only you can read"
            )
        if name.startswith(("SLURM_", "SBATCH_", "PMIX_", "PMI_")):
            raise BadInput(f"${MORE} names {name}, which is Slurm's own: leave it out")
    found = {name: environ[name] for name in (*NAMES, MORE, *more, *PROXIES) if environ.get(name)}
    for name in set(PROXIES) - set(_NO_PROXY):
        if not _is_plain(found.get(name, "")):
            del found[name]
    root = Path(mimir.__file__).resolve().parents[1]
    if root.name not in ("site-packages", "dist-packages"):  # a checkout that is not installed
        path = os.pathsep.join(filter(None, (str(root), environ.get("PYTHONPATH"))))
        found["PYTHONPATH"] = path
    elif environ.get("PYTHONPATH"):
        found["PYTHONPATH"] = environ["PYTHONPATH"]
    return {name: value for name, value in found.items() if "\n" not in value}


def _is_plain(proxy: str) -> bool:
    """Whether it can be read, and names no user, who may be a token, and no password."""
    try:
        urlsplit(proxy if "://" in proxy else f"//{proxy}")
    except ValueError:
        return False
    return "@" not in proxy
