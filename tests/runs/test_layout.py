import pytest

from mimir.errors import BadInput
from mimir.runs import layout


@pytest.mark.parametrize("name", ["a", "0", "demo-1_b", "x" * 41])
def test_legal_run_names(name: str) -> None:
    assert layout.check_run(name) == name


@pytest.mark.parametrize("name", ["", "A", "-a", "_a", "a/b", "..", "a b", "ä", "x" * 42, "a\n"])
def test_illegal_run_names(name: str) -> None:
    with pytest.raises(BadInput, match="is not allowed"):
        layout.check_run(name)
    with pytest.raises(BadInput):
        layout.head_key(name)


def test_keys_are_where_the_tree_says() -> None:
    nonce = "3f9c2a" + "0" * 26
    assert layout.record_key("r") == "r/run.json"
    assert layout.head_key("r") == "r/HEAD"
    assert (
        layout.checkpoint_key("r", 1, 12000, nonce) == "r/a0001/s00012000-3f9c2a000000.safetensors"
    )
    assert layout.heartbeat_key("r", 1) == "r/a0001/heartbeat.json"
    assert layout.machine_key("r", 2) == "r/launcher/a0002/machine.json"
    assert layout.outcome_key("r", 2) == "r/a0002/outcome.json"
    assert layout.stop_key("r", 12345) == "r/launcher/a12345/stop.json"
    assert layout.order_key("r", 2) == "r/launcher/a0002/order.json"
    assert layout.gone_key("r", 2) == "r/launcher/a0002/gone.json"
    assert layout.final_key("r") == "r/launcher/final.json"
    assert layout.replay_key("r") == "r/launcher/replay.json"
    assert layout.model_key("r", 2, nonce, "m.tar") == "r/a0002/model-3f9c2a000000-m.tar"
    assert layout.unended_key("r", 2) == "r/a0002/unended.json"
    assert layout.handover_key("r", 2, "f00") == "_keys/r/a0002-f00.json"
    assert layout.parse_handover("r", "_keys/r/a0002-f00.json") == 2
    assert layout.parse_handover("r", "_keys/r2/a0002-f00.json") is None


def test_keys_on_their_way_are_in_no_run_and_no_others_prefix() -> None:
    with pytest.raises(BadInput):
        layout.check_run(layout.HANDOVER)
    with pytest.raises(BadInput):
        layout.handover_key("../r", 1, "f00")
    whose = [("r", 1), ("r", 10), ("r-a0001", 1), ("r-a0001-x", 1), ("s", 1)]
    for one in whose:
        keys = [layout.handover_key(*other, "f00") for other in whose if other != one]
        assert not [key for key in keys if key.startswith(layout.handover_prefix(*one))]


def test_a_checkpoint_key_tells_attempt_and_step() -> None:
    key = layout.checkpoint_key("r", 12, 34, "ab" * 16)
    assert layout.parse_checkpoint("r", key) == (12, 34)
    for other in ("r/HEAD", "r/a0012/log/000001.txt", "r/a0001/model-ab-x.safetensors"):
        assert layout.parse_checkpoint("r", other) is None


def test_an_orders_key_tells_its_attempt() -> None:
    assert layout.parse_order("r", layout.order_key("r", 12)) == 12
    for other in ("r/launcher/a0012/gone.json", "r/launcher/final.json", "r/a0012/order.json"):
        assert layout.parse_order("r", other) is None


def test_a_wheel_keeps_the_name_that_pip_wants() -> None:
    key = layout.code_key("r", "0" * 64, "mimir_peptides-0.1.0-py3-none-any.whl")
    assert key == f"r/code/{'0' * 64}-mimir_peptides-0.1.0-py3-none-any.whl"
    assert layout.data_key("r", "0" * 64, "my data.npz").endswith("-my_data.npz")


def test_attempts_begin_at_one() -> None:
    with pytest.raises(ValueError, match="numbered from 1"):
        layout.attempt_prefix("r", 0)
