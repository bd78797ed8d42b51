"""Vast.ai: keys, their rights, and what `doctor` finds."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from launch.contract.errors import AuthFailed
from launch.contract.offer import Need
from launch.providers.vastai import errors
from launch.providers.vastai.adapter import Vast
from mimir.errors import BadInput
from tests.clouds.fake_vast import FakeVast
from tests.launch.providers.vastai.case import NAME, ON_DEMAND, SLEEP, adapter


def test_no_key(service: FakeVast) -> None:
    cloud = adapter(service, HOME="/nowhere")
    with pytest.raises(AuthFailed, match=r"VAST_API_KEY") as caught:
        cloud.instances()
    assert "manage-keys" in str(caught.value)
    assert "instance_write" in str(caught.value)
    assert [(each.name, each.status) for each in cloud.checks()] == [("key", "fail")]
    assert service.requests == []


def test_the_key_of_the_vendors_tool(service: FakeVast, tmp_path: Path) -> None:
    file = tmp_path / ".config/vastai/vast_api_key"
    file.parent.mkdir(parents=True)
    file.write_text(service.token + "\n")
    assert adapter(service, HOME=str(tmp_path)).instances() == []


@pytest.mark.parametrize("key", ["no-such-key", "with space", "böse"])
def test_a_wrong_key_is_named_but_not_shown(service: FakeVast, key: str) -> None:
    cloud = adapter(service, VAST_API_KEY=key)
    acts: list[Callable[[], Any]] = [
        lambda: cloud.offers(Need()), cloud.instances, lambda: cloud.get("7"),
        lambda: cloud.create(ON_DEMAND, SLEEP, NAME), lambda: cloud.terminate("7"),
    ]  # fmt: skip
    for act in acts:
        with pytest.raises(AuthFailed) as caught:
            act()
        assert key not in str(caught.value)
    assert key not in repr(vars(cloud).get("_made"))


def test_a_key_goes_to_no_plain_http_address() -> None:
    cloud = Vast(environ={"VAST_API_KEY": "k", "MIMIR_VAST_URL": "http://vast.invalid"})
    with pytest.raises(BadInput, match="https"):
        cloud.instances()


def test_checks(service: FakeVast, cloud: Vast) -> None:
    def found() -> dict[str, str]:
        return {each.name: each.status for each in cloud.checks()}

    fine = {"key": "ok", "credit": "ok", "rights": "ok", "machines": "ok"}
    assert found() == fine
    service.credit = 2.0
    assert found() == {**fine, "credit": "warn"}
    service.credit = 0.0
    assert found() == {**fine, "credit": "fail"}
    service.credit = 50.0
    service.rights.discard("instance_write")
    assert found() == {**fine, "rights": "fail"}
    assert any("instance_write" in each.details for each in cloud.checks())
    service.fault("html_403", path="apikeys")
    assert found() == {**fine, "rights": "warn"}
    assert service.ledger == []


def test_a_key_without_the_right_to_create(service: FakeVast, cloud: Vast) -> None:
    service.rights.discard("instance_write")
    with pytest.raises(AuthFailed, match=r"lacks a right.*instance_write"):
        cloud.create(ON_DEMAND, SLEEP, NAME)


def test_what_is_asked_for_stays_in_one_line(service: FakeVast) -> None:
    error = errors.refusal(400, {"error": "x", "msg": "a\n" * 900})
    assert re.fullmatch(r"[^\n]{1,400}", str(error))
