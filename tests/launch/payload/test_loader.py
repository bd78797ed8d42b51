"""The loader of a machine: by its digest or not at all, and then the machine is ended."""

import ast
import hashlib
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from launch.payload import by_link, loader
from tests.launch.payload.test_container import SECRETS, Service, service

__all__ = ["service"]
TOLD = json.dumps({"command": ["sh", "-c", "true"], "env": {"A": "1", "B": "2"}}).encode()


class Became(Exception):
    pass


class Slept(Exception):
    pass


@pytest.fixture(autouse=True)
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    return tmp_path


def variables(disk: Path, content: bytes = TOLD, **more: str) -> dict[str, str]:
    """Of a machine whose link leads to a file, in two parts."""
    (disk / "told").write_bytes(content)
    link = (disk / "told").as_uri()
    own = {"MIMIR_LINK_0": link[:9], "MIMIR_LINK_1": link[9:]}
    return {**own, "MIMIR_SHA256": hashlib.sha256(TOLD).hexdigest(), **more}


def started(own: dict[str, str]) -> tuple[Any, ...]:
    found: list[Any] = []

    def become(*what: Any) -> None:
        found.extend(what)
        raise Became

    with pytest.raises(Became):
        loader.main(own, become, stop_at(300))
    return tuple(found)


def test_the_machines_own_variables_count_first(disk: Path) -> None:
    own = variables(disk, B="own")
    program, words, env = started(own)
    assert (program, words) == ("sh", ["sh", "-c", "true"])
    assert env == {"A": "1", **own}


def test_started_again_it_needs_no_link_and_a_spoilt_copy_is_fetched_again(disk: Path) -> None:
    own = variables(disk)
    first = started(own)
    (copy,) = (disk / "tmp").iterdir()
    told = (disk / "told").rename(disk / "away")
    assert started(own) == first
    copy.write_bytes(b"spoilt")
    told.rename(disk / "told")
    assert started(own) == first
    assert copy.read_bytes() == TOLD


def test_what_is_not_what_was_ordered_is_never_started_and_the_machine_ends(
    disk: Path, service: Service, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = {"POD_ID": "p-1", "POD_KEY": SECRETS[2]}
    own = variables(disk, b"other", MIMIR_END=json.dumps(service.ending), **ids)
    with pytest.raises(Slept):
        loader.main(own, pytest.fail, stop_at(300))
    body = {"action": "terminate", "of": ["p-1"]}
    assert service.asked == [("POST", "/pods/p-1/action", f"Bearer {SECRETS[2]}", body)]
    shown = capsys.readouterr().out
    assert "cannot fetch what this machine is to start (another digest)" in shown
    assert "file:" not in shown
    assert list((disk / "tmp").iterdir()) == []

    (disk / "told").unlink()
    service.status = 302
    with pytest.raises(Slept):
        loader.main(own, pytest.fail, stop_at(300))
    assert [path for _, path, *_ in service.asked] == ["/pods/p-1/action"] * 2
    assert "mimir: not ended (HTTPError)" in capsys.readouterr().out


def test_a_machine_without_a_key_of_its_own_just_ends(disk: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        loader.main(variables(disk, b"other"), pytest.fail, lambda seconds: None)
    assert ended.value.code == 75


def stop_at(most: float) -> Any:
    def sleep(seconds: float) -> None:
        if seconds >= most:
            raise Slept

    return sleep


def test_its_text_is_bare_and_imports_nothing_that_an_image_may_lack() -> None:
    text = by_link._bare(Path(loader.__file__))
    assert '"' * 3 not in text
    assert "Mapping" not in text
    names = {
        name.name.split(".")[0]
        for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Import) for name in node.names
    }  # fmt: skip
    assert names <= sys.stdlib_module_names
