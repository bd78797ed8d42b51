"""Whether exchanges with a fake keep to Google's discovery documents.

The documents are Google's and are not kept here. google-api-python-client brings them: installed
here, or in the environment of $MIMIR_GCP_CLIENT (tests/clouds/client.sh gcp); or MIMIR_OPENAPI is a
folder with compute.v1.json and cloudbilling.v1.json. CI must have them: there a test without them
fails. Looked at is every request, whatever its answer, and what is answered with success: a field
or parameter that a document has not, or of another type.
"""

import functools
import importlib.util
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clouds import contract
from tests.clouds.clients import CI, CLIENTS
from tests.clouds.server import Exchange

NAMES = ("compute.v1.json", "cloudbilling.v1.json")
IN_PACKAGE = Path("discovery_cache") / "documents"
MISSING = (
    "Google's discovery documents are not here: set MIMIR_GCP_CLIENT (tests/clouds/client.sh gcp), "
    "or MIMIR_OPENAPI to their folder"
)
KINDS: dict[str, tuple[type, ...]] = {
    "string": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,),
    "array": (list,), "object": (dict,), "any": (object,),
}  # fmt: skip


def violations(exchanges: Iterable[Exchange]) -> list[str]:
    """What does not keep to the documents; [] where they are not at hand, which fails in CI."""
    if not documents() and CI:
        pytest.fail(MISSING)
    found: dict[str, None] = {}
    for exchange in exchanges if documents() else ():
        for violation in _of(exchange):
            found[f"{exchange.method} {exchange.path}: {violation}"] = None
    return list(found)


def needed() -> tuple[dict[str, Any], ...]:
    """The documents; the test is skipped where they are not at hand, and fails so in CI."""
    if documents():
        return documents()
    if CI:
        pytest.fail(MISSING)
    pytest.skip(MISSING)


@functools.cache
def documents() -> tuple[dict[str, Any], ...]:
    """Google's discovery documents, () where they are not at hand."""
    for folder in _folders():
        if all((folder / name).exists() for name in NAMES):
            return tuple(json.loads((folder / name).read_text()) for name in NAMES)
    return ()


def _folders() -> Iterator[Path]:
    yield contract.FOLDER
    package = importlib.util.find_spec("googleapiclient")
    if package is not None and package.origin:
        yield Path(package.origin).parent / IN_PACKAGE
    if CLIENTS["gcp"]:
        environment = Path(CLIENTS["gcp"]).absolute().parent.parent
        for each in sorted(environment.glob("lib/python*/site-packages/googleapiclient")):
            yield each / IN_PACKAGE


@functools.cache
def _operations() -> tuple[tuple[str, re.Pattern[str], dict[str, Any], dict[str, Any]], ...]:
    """(verb, its path, the document, the method) of all of them; made once, of a thousand."""
    found = []
    for document in documents():
        for method in _methods(document.get("resources", {})):
            path = method.get("flatPath") or method["path"]
            parts = re.split(r"\{[^}]*\}", f"/{document.get('servicePath', '')}{path}")
            pattern = re.compile("[^/]+".join(map(re.escape, parts)))
            found.append((method["httpMethod"], pattern, document, method))
    return tuple(found)


def _of(exchange: Exchange) -> Iterator[str]:
    for verb, pattern, document, method in _operations():
        if verb == exchange.method and pattern.fullmatch(exchange.path):
            yield from _checked(exchange, document, method)
            return
    yield "no document has such a request"


def _methods(resources: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for each in resources.values():
        yield from each.get("methods", {}).values()
        yield from _methods(each.get("resources", {}))


def _checked(exchange: Exchange, document: dict[str, Any], method: dict[str, Any]) -> Iterator[str]:
    known = {**document.get("parameters", {}), **method.get("parameters", {})}
    for name in exchange.query:
        if name not in known:
            yield f"?{name}: there is no such parameter"
    schemas = document["schemas"]
    if exchange.body is not None and "request" not in method:
        yield "it takes no body"
    elif exchange.body is not None:
        yield from _value(exchange.body, method["request"], schemas, "sent")
    if exchange.status == 200 and not exchange.fault:
        yield from _value(exchange.answer, method["response"], schemas, "answered")


def _value(value: Any, rule: dict[str, Any], schemas: Any, where: str) -> Iterator[str]:
    if "$ref" in rule:
        rule = schemas[rule["$ref"]]
    kinds = KINDS[rule.get("type", "object")]
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        yield f"{where}: {value!r} is no {rule.get('type')}"
        return
    if "enum" in rule and value not in rule["enum"]:
        yield f"{where}: {value!r} is none of {', '.join(rule['enum'][:6])}"
    if isinstance(value, list):
        for each in value:
            yield from _value(each, rule["items"], schemas, f"{where}[]")
    if isinstance(value, dict) and rule.get("type") == "object":
        for name, each in value.items():
            inner = rule.get("properties", {}).get(name) or rule.get("additionalProperties")
            if inner is None:
                yield f"{where}.{name}: there is no such field"
            else:
                yield from _value(each, inner, schemas, f"{where}.{name}")
