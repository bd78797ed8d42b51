"""Takes out of texts what must not leave this computer with a report of a bug.

Secrets are removed as everywhere (contract/redaction): what the environment, the store's
configuration and the services' keys hold, in every form, and what looks like a token. Beyond these
a report names no person: no home, user, host, e-mail address, nor the number of an AWS account.
"""

import contextlib
import getpass
import os
import platform
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from launch.contract.redaction import GAP, Secrets
from launch.providers import registry
from mimir.errors import MimirError

SECRET = re.compile(r"KEY|SECRET|TOKEN|PASS|NOTIFY|CREDENTIAL|AUTH|WEBHOOK", re.I)
"""Variables whose value nobody may see."""
HARMLESS = re.compile(
    r"(MIMIR|XDG|PYTHON|LC|OMP|MKL|CUDA|NVIDIA|TERM|LESS|CONDA|VIRTUAL)_\w+|\w*COLOR\w*"
    r"|AWS_(DEFAULT_)?(REGION|PROFILE|ENDPOINT_URL\w*)|PATH|HOME|PWD|OLDPWD|SHELL|SHLVL|TERM|LANG"
    r"|LANGUAGE|COLUMNS|LINES|EDITOR|PAGER|USER|LOGNAME|HOSTNAME|TZ|_"
)
"""Variables whose values are words of ordinary texts; the value of any other may be a secret."""
_COMMON = ("root", "user", "admin", "ubuntu", "debian", "runner", "nobody", "mimir", "localhost")
"""Names of users and hosts that tell nobody from anybody."""
_EMAIL = re.compile(r"[\w.+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,5}")
_NAMED = re.compile(
    r"(\b[a-z0-9_-]{0,40}(?:passw(?:or)?d|secret|token|api[_-]?key|access[_-]?key|private[_-]?key)"
    r"['\"]?\s{0,4}[:=]\s{0,4}['\"]?)(?!null\b|true\b|false\b)[^\s'\",;&}]{4,}",
    re.I,
)
"""In small letters, too, where ordinary sentences would be hit: here that is worth it."""
_ACCOUNT = re.compile(r"(arn:aws[\w-]*:[\w-]*:[\w-]*:)\d{12}\b")


class Private:
    """What is known of this computer and its user.

    Args:
        secrets: what must not be shown in any form.
        home: the user's home folder, shown as `~`; "" for none.
        names: of the user and of this computer, by what stands for them.
    """

    def __init__(self, secrets: Secrets, home: str, names: Mapping[str, str]) -> None:
        self._secrets = secrets
        self._home = home.rstrip("/\\")
        self._names = [
            (re.compile(rf"(?<![A-Za-z0-9]){re.escape(name)}(?![A-Za-z0-9])"), word)
            for word, name in names.items()
            if len(name) > 2 and name.lower() not in _COMMON
        ]

    def clean(self, text: str) -> str:
        """The text without secrets, and without what tells who wrote it."""
        text = _NAMED.sub(rf"\g<1>{GAP}", self._secrets.clean(text))
        if self._home and self._home != "/":
            text = text.replace(self._home, "~")
        text = _EMAIL.sub("EMAIL", text)
        text = _ACCOUNT.sub(rf"\g<1>{GAP}", text)
        for name, word in self._names:
            text = name.sub(word, text)
        return text

    def clean_json(self, value: object) -> object:
        """The same of every text in a JSON value, names of members included."""
        if isinstance(value, str):
            return self.clean(value)
        if isinstance(value, list | tuple):
            return [self.clean_json(each) for each in value]
        if isinstance(value, dict):
            return {self.clean(str(name)): self.clean_json(each) for name, each in value.items()}
        return value


def of_this_computer(environ: Mapping[str, str] = os.environ) -> Private:
    """What this computer's user must not send."""
    user = ""
    with contextlib.suppress(KeyError, OSError):  # a user without an entry
        user = getpass.getuser()
    return Private(secrets_of(environ), str(Path.home()), {"USER": user, "HOST": platform.node()})


def secrets_of(environ: Mapping[str, str]) -> Secrets:
    """Values of variables, keys to the store, and keys of services, as far as they are here."""
    secrets = Secrets()
    for name, value in environ.items():
        if SECRET.search(name) or not (HARMLESS.fullmatch(name) or value.startswith("/")):
            # Of a URL all is secret, not only what signs it: a webhook's path is its password.
            secrets.learn_key(value.partition("://")[2].replace("?", " ") or value)
    for key in (*_keys_to_stores(environ), *_keys_of_services()):
        secrets.learn_key(key)
    return secrets


def _keys_to_stores(environ: Mapping[str, str]) -> Iterable[str]:
    """AWS's own configuration, and the file that takes its place; what is wrong with either the
    store's own messages say."""
    named = environ.get("MIMIR_CREDENTIALS_FILE")
    if named:
        with contextlib.suppress(OSError, ValueError):
            words = re.split(r"[\s\"'=:,{}]+", Path(named).read_text(encoding="utf-8"))
            yield from (word for word in words if len(word) >= 16)
    import botocore.exceptions
    import botocore.session

    with contextlib.suppress(botocore.exceptions.BotoCoreError, OSError, ValueError):
        session = botocore.session.get_session()
        for service in ("container-role", "iam-role"):  # which are asked over the network
            session.get_component("credential_provider").remove(service)
        found = session.get_credentials()
        yield from filter(None, found.get_frozen_credentials() if found else ())


def _keys_of_services() -> Iterable[str]:
    for name in registry.renting():
        with contextlib.suppress(MimirError, ImportError, OSError):
            cloud = registry.rented(name).cloud
            key = getattr(cloud, "key", None)
            # AWS's and Google's variables name a profile and a project, which are no secrets.
            if key is not None and SECRET.search(cloud.key_variable) and cloud.configured():
                yield key()
