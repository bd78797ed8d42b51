"""Whether exchanges with a fake keep to Google's discovery documents.

The documents are Google's and are not kept here: set MIMIR_OPENAPI to a folder with compute.v1.json
and cloudbilling.v1.json, or install google-api-python-client, which brings them. Only what is sent
with success is looked at: a field or parameter that a document has not, or of another type.
"""

import functools
import importlib.util
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tests.clouds import contract
from tests.clouds.server import Exchange

NAMES = ("compute.v1.json", "cloudbilling.v1.json")
KINDS: dict[str, tuple[type, ...]] = {
    "string": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,),
    "array": (list,), "object": (dict,), "any": (object,),
}  # fmt: skip


def violations(exchanges: Iterable[Exchange]) -> list[str]:
    """What does not keep to the documents; [] where they are not at hand."""
    documents = _documents()
    found: dict[str, None] = {}
    for exchange in exchanges if documents else ():
        if exchange.fault or exchange.status != 200:
            continue
        for violation in _of(exchange, documents):
            found[f"{exchange.method} {exchange.path}: {violation}"] = None
    return list(found)


@functools.cache
def _documents() -> tuple[dict[str, Any], ...]:
    package = importlib.util.find_spec("googleapiclient")
    folders = [contract.FOLDER]
    if package is not None and package.origin:
        folders.append(Path(package.origin).parent / "discovery_cache" / "documents")
    for folder in folders:
        if all((folder / name).exists() for name in NAMES):
            return tuple(json.loads((folder / name).read_text()) for name in NAMES)
    return ()


def _of(exchange: Exchange, documents: tuple[dict[str, Any], ...]) -> Iterator[str]:
    for document in documents:
        for method in _methods(document.get("resources", {})):
            path = method.get("flatPath") or method["path"]
            parts = re.split(r"\{[^}]*\}", f"/{document.get('servicePath', '')}{path}")
            pattern = "[^/]+".join(map(re.escape, parts))
            if method["httpMethod"] == exchange.method and re.fullmatch(pattern, exchange.path):
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
