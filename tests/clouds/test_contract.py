"""The check itself: a small document, and exchanges that keep to it or do not."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.clouds import contract
from tests.clouds.server import Exchange

THING = {
    "type": "object", "required": ["id"], "additionalProperties": False,
    "properties": {"id": {"type": "integer"}, "next": {"$ref": "#/components/schemas/Thing"}},
}  # fmt: skip
JSON_THING = {"application/json": {"schema": {"$ref": "#/components/schemas/Thing"}}}
DOCUMENT: dict[str, Any] = {
    "openapi": "3.1.0",
    "paths": {
        "/things/{id}": {
            "get": {
                "parameters": [
                    {"$ref": "#/components/parameters/Few"},
                    {"name": "at", "in": "query", "required": True, "schema": {"type": "string"}},
                    {
                        "name": "of", "in": "query", "explode": False,
                        "schema": {"type": "array", "items": {"enum": ["A", "B"]}},
                    },
                ],
                "responses": {"200": {"content": JSON_THING}, "404": {"description": "no"}},
            },
            "put": {
                "requestBody": {"required": True, "content": JSON_THING},
                "responses": {"204": {"description": "done"}},
            },
        },
        "/things/all": {"get": {"responses": {"default": {"content": JSON_THING}}}},
    },
    "components": {
        "schemas": {"Thing": THING},
        "parameters": {
            "Few": {"name": "few", "in": "query", "schema": {"type": "integer", "maximum": 9}}
        },
    },
}  # fmt: skip


@pytest.fixture
def document(tmp_path: Path) -> Path:
    path = tmp_path / "document.json"
    path.write_text(json.dumps(DOCUMENT))
    return path


def get(path: str = "/things/1", status: int | None = 200, answer: Any = None, **query: str) -> Any:
    told = {"id": 1} if answer is None and status == 200 else answer
    return Exchange("GET", path, query, None, status, told, "application/json", "")


def put(body: Any, status: int = 204) -> Any:
    return Exchange("PUT", "/things/1", {}, body, status, None, "", "")


GOOD = [
    get(at="x"),
    get(at="x", few="9", of="A,B"),
    get("/things/1/", at="x"),
    get("/things/all"),
    get(at="x", status=404),
    get(at="x", status=None),
    get(at="x", answer={"id": 1, "next": {"id": 2}}),
    put({"id": 1}),
]
BAD = [
    (get("/nothing"), "no such operation"),
    (put({"id": 1})._replace(method="POST"), "no such operation"),
    (get(), r"request \?at: it is required"),
    (get(at="x", few="10"), r"request \?few: 10 is greater"),
    (get(at="x", few="many"), r"\?few: 'many' is not of type 'integer'"),
    (get(at="x", of="A,C"), r"\?of\[1\]: 'C' is not one of"),
    (get(at="x", more="1"), r"\?more: the document has no such parameter"),
    (get(at="x", status=500, answer={}), "500 answer .*no such status"),
    (get(at="x", answer={"id": "1"}), r"200 answer \$.id: '1' is not of type 'integer'"),
    (get(at="x", answer={"id": 1, "next": {}}), r"\$.next: 'id' is a required property"),
    (get("/things/all", answer={}), "'id' is a required property"),
    (get("/things/all", answer="<p>")._replace(content_type="text/html"), "text/html is not among"),
    (get(at="x")._replace(answer=None), "an answer is expected"),
    (get(at="x")._replace(body={}), "the document has no body"),
    (put(None), "a body is required"),
    (put({"id": 1, "x": 2}), r"request \$: Additional properties"),
    (put({"id": 1}, status=422), "no such status"),
]


@pytest.mark.parametrize("exchange", GOOD)
def test_what_keeps_to_the_document(document: Path, exchange: Exchange) -> None:
    assert contract.check(document, [exchange]) == []


@pytest.mark.parametrize(("exchange", "what"), BAD)
def test_what_does_not(document: Path, exchange: Exchange, what: str) -> None:
    (found,) = contract.check(document, [exchange, exchange])
    assert re.search(what, found), found


def test_exceptions_have_reasons(document: Path) -> None:
    broken = get(at="x", answer="<p>")._replace(content_type="text/html", fault="html_200")
    assert len(contract.check(document, [broken])) == 1
    assert contract.check(document, [broken], [contract.NOT_THE_SERVICES_WORDS]) == []
    with pytest.raises(AssertionError):
        contract.check(document, [], [("x", "")])
