"""Whether exchanges with a fake keep to the vendor's OpenAPI document (3.1).

The documents are the vendors' and are not kept here: set MIMIR_OPENAPI to a folder that has
them, or put it beside the checkout as shared/openapi. A fake that keeps to the document is no
proof that the service does.
"""

import functools
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from tests.clouds.server import Exchange

# Read here, for tests see none of the caller's settings.
FOLDER = Path(
    os.environ.get("MIMIR_OPENAPI") or Path(__file__).resolve().parents[3] / "shared" / "openapi"
)
NOT_THE_SERVICES_WORDS = (
    r"\(fault (html_403|html_200|plain_429)\)",
    "what stands in front of a service answers in its own way",
)


def document(name: str) -> Path:
    """A vendor's document; the test is skipped where it is not."""
    path = FOLDER / name
    if not path.exists():
        pytest.skip(f"the vendor's document {name} is not here: set MIMIR_OPENAPI to its folder")
    return path


def check(
    document: Path, exchanges: Iterable[Exchange], exceptions: Sequence[tuple[str, str]] = ()
) -> list[str]:
    """What in these exchanges does not keep to the document.

    Args:
        exceptions: (regular expression, reason): a violation in which it is found is the
            document's defect, or wanted. A violation is "POST /v2/pods request $.env: …" or
            "GET /v2/pods 200 answer (fault torn_list) $.pods[0]: …".
    """
    assert all(reason for _, reason in exceptions)
    contract = _loaded(document)
    found: dict[str, None] = {}
    for exchange in exchanges:
        for violation in contract.violations(exchange):
            if not any(re.search(pattern, violation) for pattern, _ in exceptions):
                found[violation] = None
    return list(found)


class _Contract:
    URI = "urn:document"

    def __init__(self, value: dict[str, Any]) -> None:
        assert str(value["openapi"]).startswith("3.1"), "before 3.1, schemas are no JSON Schema"
        self._value = value
        resource = Resource(contents=value, specification=DRAFT202012)
        self._registry = Registry().with_resource(self.URI, resource)
        self._validators: dict[str, Draft202012Validator] = {}
        self._paths = sorted(
            ((_pattern(path), path) for path in value["paths"]),
            key=lambda pair: pair[1].count("{"),  # what is written out goes before a template
        )

    def violations(self, exchange: Exchange) -> Iterator[str]:
        method, fault = exchange.method.lower(), exchange.fault
        path = self._path(exchange.path, method)
        if path is None:
            yield f"{exchange.method} {exchange.path}: the document has no such operation"
            return
        head = f"{exchange.method} {path}"
        where = ["paths", path, method]
        operation = self._value["paths"][path][method]
        # A request that was refused for its form was wrong on purpose.
        if exchange.status != 422:
            for violation in self._request(exchange, path, where, operation):
                yield f"{head} request {violation}"
        if exchange.status is not None:
            mark = f" (fault {fault})" if fault else ""
            for violation in self._answer(exchange, where, operation):
                yield f"{head} {exchange.status} answer{mark} {violation}"

    def _path(self, path: str, method: str) -> str | None:
        for pattern, template in self._paths:
            if re.fullmatch(pattern, path.rstrip("/")) and method in self._value["paths"][template]:
                return template
        return None

    def _request(
        self, exchange: Exchange, path: str, where: list[str], operation: Mapping[str, Any]
    ) -> Iterator[str]:
        declared: dict[str, tuple[list[str], Mapping[str, Any]]] = {}
        for place in (["paths", path, "parameters"], [*where, "parameters"]):
            for index in range(len(self._at(place) or ())):
                at, parameter = self._resolved([*place, str(index)])
                if parameter["in"] == "query":
                    declared[parameter["name"]] = (at, parameter)
        for name, (_, parameter) in declared.items():
            if parameter.get("required") and name not in exchange.query:
                yield f"?{name}: it is required"
        for name, value in exchange.query.items():
            if name not in declared:
                yield f"?{name}: the document has no such parameter"
                continue
            at, parameter = declared[name]
            schema = [*at, "schema"]
            yield from self._errors(schema, self._typed(value, schema, parameter), f"?{name}")
        if "requestBody" not in operation:
            if exchange.body is not None:
                yield "$: the document has no body"
            return
        at, described = self._resolved([*where, "requestBody"])
        if exchange.body is None:
            if described.get("required"):
                yield "$: a body is required"
            return
        yield from self._errors([*at, "content", "application/json", "schema"], exchange.body, "$")

    def _answer(
        self, exchange: Exchange, where: list[str], operation: Mapping[str, Any]
    ) -> Iterator[str]:
        responses = {str(key): key for key in operation["responses"]}
        status = responses.get(str(exchange.status), responses.get("default"))
        if status is None:
            yield "$: the document has no such status"
            return
        at, described = self._resolved([*where, "responses", status])
        content = described.get("content", {})
        if exchange.answer is None:
            if content:
                yield "$: an answer is expected"
            return
        kind = exchange.content_type.partition(";")[0]
        if kind not in content:
            yield f"$: {kind} is not among {', '.join(content) or 'nothing'}"
        elif "schema" in content[kind]:
            yield from self._errors([*at, "content", kind, "schema"], exchange.answer, "$")

    def _errors(self, place: list[str], value: Any, root: str) -> Iterator[str]:
        pointer = "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in place)
        if pointer not in self._validators:
            self._validators[pointer] = Draft202012Validator(
                {"$ref": f"{self.URI}#{pointer}"}, registry=self._registry
            )
        for error in self._validators[pointer].iter_errors(value):
            yield f"{error.json_path.replace('$', root, 1)}: {error.message[:300]}"

    def _typed(self, value: str, schema: list[str], parameter: Mapping[str, Any]) -> Any:
        """A query's value as the type that its schema wants."""
        _, wanted = self._resolved(schema)
        kinds = wanted.get("type", "string")
        kind = kinds if isinstance(kinds, str) else kinds[0]
        if kind == "array" and not value.startswith("["):
            return value.split(",") if not parameter.get("explode", True) else [value]
        if kind in ("integer", "number", "boolean", "array", "object"):
            try:
                return json.loads(value)
            except ValueError:
                return value
        return value

    def _at(self, place: Sequence[str]) -> Any:
        value: Any = self._value
        for part in place:
            value = value[int(part)] if isinstance(value, list) else value.get(part)
            if value is None:
                return None
        return value

    def _resolved(self, place: list[str]) -> tuple[list[str], Any]:
        """Where a value stands in the document, references followed, and the value."""
        value = self._at(place)
        while isinstance(value, dict) and "$ref" in value:
            parts = value["$ref"].removeprefix("#/").split("/")
            place = [part.replace("~1", "/").replace("~0", "~") for part in parts]
            value = self._at(place)
        return place, value


@functools.cache
def _loaded(path: Path) -> _Contract:
    text = path.read_text()
    if path.suffix == ".json":
        return _Contract(json.loads(text))
    # The loader in C reads such a document in a second instead of ten.
    return _Contract(yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))


def _pattern(path: str) -> str:
    parts = re.split(r"\{[^}]*\}", path.rstrip("/"))
    return "[^/]+".join(map(re.escape, parts))
