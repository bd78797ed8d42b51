"""A store as an attempt's keys see it: the policy that the launcher mints, read as S3 reads it."""

import json
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any

from launch.payload import session_policy
from mimir.errors import StoreDenied
from mimir.runs.s3_url import parse_url
from mimir.runs.store import Store

ACTIONS = {
    "read": "s3:GetObject", "get": "s3:GetObject", "delete": "s3:DeleteObject",
    "put": "s3:PutObject", "put_if_absent": "s3:PutObject", "put_content": "s3:PutObject",
    "compare_and_swap": "s3:PutObject",
}  # fmt: skip


class CutDown:
    """A Store whose every request is allowed or refused as the keys of one attempt are."""

    def __init__(self, store: Store, run: str, attempt: int) -> None:
        self._store = store
        bucket = parse_url(store.url)
        self._root = f"arn:aws:s3:::{bucket.name}"
        self._prefix = f"{bucket.prefix}/" if bucket.prefix else ""
        text = session_policy.of_attempt(bucket.name, bucket.prefix, run, attempt)
        self._statements: list[dict[str, Any]] = json.loads(text)["Statement"]

    def list(self, prefix: str) -> Iterable[str]:
        self._check("s3:ListBucket", self._root, self._prefix + prefix)
        return self._store.list(prefix)

    def folders(self) -> Iterable[str]:
        self._check("s3:ListBucket", self._root, self._prefix)
        return self._store.folders()

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        if name not in ACTIONS:
            return method

        def cut(key: str, *given: Any, **named: Any) -> Any:
            self._check(ACTIONS[name], f"{self._root}/{self._prefix}{key}")
            return method(key, *given, **named)

        return cut

    def _check(self, action: str, resource: str, prefix: str = "") -> None:
        for each in self._statements:
            wanted = each.get("Condition", {}).get("StringLike", {}).get("s3:prefix", "*")
            if (
                action in _several(each["Action"])
                and any(fnmatchcase(resource, one) for one in _several(each["Resource"]))
                and fnmatchcase(prefix, wanted)
            ):
                return
        raise StoreDenied(f"{action} {resource} {prefix}: the keys do not allow it")


def _several(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else value
