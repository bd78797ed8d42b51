"""What `make live` writes: all that was said, without the keys of this computer."""

import contextlib
import os
import re
import time
from pathlib import Path

import botocore.session

from launch.contract.provider import Provider
from launch.contract.redaction import Secrets
from launch.providers.rented import Rented
from mimir.atomic_file import write

SECRET = re.compile(r"KEY|SECRET|TOKEN|PASSWORD|NOTIFY|CREDENTIAL")
"""Variables whose value nobody may see."""


class Transcript:
    """What is said, on the screen and in a file, without secrets.

    Each line is on the disk once it is said, so that a killed script leaves what it has.
    """

    def __init__(self, path: Path, secrets: Secrets) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self._secrets = path, secrets
        self._file = path.open("x", encoding="utf-8")
        self._began = time.monotonic()

    def say(self, *lines: str) -> None:
        """Lines, each with the seconds since the beginning in front of it."""
        for line in lines:
            clean = self._secrets.clean(line.rstrip())
            clean = clean.replace(f"{Path.home()}/", "~/")
            told = f"[{time.monotonic() - self._began:7.1f} s] {clean}"
            # The disk may be full and the terminal closed, and a machine must still be ended.
            with contextlib.suppress(OSError):
                self._file.write(told + "\n")
                self._file.flush()
            with contextlib.suppress(OSError):
                print(told, flush=True)

    def close(self) -> None:
        """Clean the whole once more: a secret may have come over several lines."""
        self._file.close()
        text = self._secrets.clean(self.path.read_text(encoding="utf-8"))
        try:
            write(self.path, text.encode())
        except OSError as error:
            print(f"{self.path} is not complete, and not to be sent: {error}")


def secrets_here(provider: Provider) -> Secrets:
    """What must not stand in a transcript: keys of this computer for service, bucket and others."""
    secrets = Secrets()
    for name, value in os.environ.items():
        if SECRET.search(name):
            secrets.learn_key(value.partition("://")[2].replace("?", " ") or value)
    # AWS's and Google's name a profile and a project, which are no secrets.
    key = getattr(provider.cloud, "key", None) if isinstance(provider, Rented) else None
    if isinstance(provider, Rented) and key and SECRET.search(provider.cloud.key_variable):
        secrets.learn_key(key())
    with contextlib.suppress(Exception):  # `doctor` says what is wrong with a profile
        found = botocore.session.get_session().get_credentials()
        keys = found.get_frozen_credentials() if found else ()
        for value in filter(None, keys):
            secrets.learn_key(value)
    return secrets
