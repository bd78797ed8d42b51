"""Credentials from a JSON file that may be replaced meanwhile, or as boto3 finds them.

The file has the form that an AWS `credential_process` prints:

    {"AccessKeyId": "...", "SecretAccessKey": "...", "SessionToken": "..."}

Short-lived keys are renewed by putting a new file in its place; every request looks whether
the file changed. No message and no repr shows what is in it.
"""

import json
import threading
from pathlib import Path
from typing import Any

from botocore.credentials import (
    CredentialProvider,
    CredentialResolver,
    Credentials,
    ReadOnlyCredentials,
)

from mimir.connections import sendable
from mimir.errors import BadInput, StoreDenied
from mimir.runs import s3_failures


class FileCredentials(Credentials):
    """What botocore asks for keys before it signs a request."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._stamp: tuple[int, int, int] | None = None
        self._keys = self._load()
        # Unused: botocore signs with `get_frozen_credentials`.
        super().__init__("", "", method="mimir-file")

    def __repr__(self) -> str:
        return f"FileCredentials({str(self._path)!r})"

    def get_frozen_credentials(self) -> ReadOnlyCredentials:
        with self._lock:
            try:
                self._keys = self._load()
            except (BadInput, StoreDenied):
                # Read while it was being replaced: the old keys serve until the next request,
                # and if they are no longer good the server says so.
                self._stamp = None
            return self._keys

    def _load(self) -> ReadOnlyCredentials:
        try:
            status = self._path.stat()
            stamp = (status.st_mtime_ns, status.st_ino, status.st_size)
            if stamp == self._stamp:
                return self._keys
            text = self._path.read_text(encoding="utf-8")
        except (OSError, UnicodeError) as error:
            why = getattr(error, "strerror", None) or "it is not text"
            raise BadInput(f"cannot read the credentials file {self._path}: {why}") from None
        keys = _parsed(text, self._path)
        self._stamp = stamp
        return keys


def file_resolver(path: Path) -> CredentialResolver:
    """A botocore credential chain of this file alone; BadInput if it cannot be used now."""
    return CredentialResolver([_Provider(FileCredentials(path))])


class ToldResolver(CredentialResolver):
    """botocore's own chain, whose failures are errors of our tree that name the cause.

    It runs programs, reads files and asks services that the AWS configuration names; each may
    raise what it likes, also when keys are renewed hours later.
    """

    def __init__(self, chain: CredentialResolver) -> None:
        super().__init__(chain.providers)

    def load_credentials(self) -> Credentials | None:
        try:
            found = super().load_credentials()
        except Exception as error:
            raise s3_failures.credentials(error) from error
        return None if found is None else _Told(found)


class _Told(Credentials):
    def __init__(self, found: Credentials) -> None:
        self._found = found
        # Unused, as in FileCredentials.
        super().__init__("", "", method=found.method)

    def get_frozen_credentials(self) -> ReadOnlyCredentials:
        try:
            keys: ReadOnlyCredentials = self._found.get_frozen_credentials()
        except Exception as error:
            raise s3_failures.credentials(error) from error
        return _sendable(keys)


class _Provider(CredentialProvider):
    METHOD = "mimir-file"
    CANONICAL_NAME = "MimirFile"

    def __init__(self, credentials: FileCredentials) -> None:
        super().__init__()
        self._credentials = credentials

    def load(self) -> FileCredentials:
        return self._credentials


def _sendable(keys: ReadOnlyCredentials) -> ReadOnlyCredentials:
    """The keys; StoreDenied if they hold what cannot stand in a request's header."""
    for word in (keys.access_key, keys.secret_key, keys.token):
        if word and not sendable(word):
            raise s3_failures.bad_characters("the store cannot be asked with these credentials")
    return keys


def _parsed(text: str, path: Path) -> ReadOnlyCredentials:
    try:
        value: Any = json.loads(text)
    except (ValueError, RecursionError):
        value = None  # the decoder's own message may quote the content
    if not isinstance(value, dict):
        raise BadInput(f"the credentials file {path} is not a JSON object")
    for name in ("AccessKeyId", "SecretAccessKey"):
        if not isinstance(value.get(name), str) or not value[name]:
            raise BadInput(f"the credentials file {path} lacks {name}")
    token, account = value.get("SessionToken"), value.get("AccountId")
    if not isinstance(token, str | None):
        raise BadInput(f"the SessionToken in the credentials file {path} is no text")
    return _sendable(
        ReadOnlyCredentials(value["AccessKeyId"], value["SecretAccessKey"], token, account)
    )
