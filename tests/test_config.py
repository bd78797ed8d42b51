import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from mimir.config import SECTIONS, SETTINGS, Config, load_preset, preset_names
from mimir.errors import BadInput


def test_every_preset_loads() -> None:
    assert preset_names() == ["smoke", "small", "medium", "large"]
    for name in preset_names():
        config = load_preset(name)
        assert config.preset == name
        assert Config.from_dict(json.loads(json.dumps(config.as_dict()))) == config


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("small", (128, 3, 4, 32, 20)),
        ("medium", (256, 4, 4, 64, 75)),
        ("large", (512, 6, 8, 128, 150)),
    ],
)
def test_presets_are_those_of_the_guide(name: str, sizes: tuple[int, ...]) -> None:
    config = load_preset(name)
    model, training = config.model, config.training
    assert (model.dim, model.layers, model.heads, training.batch, training.epochs) == sizes
    assert config.objective.timesteps == 20


def test_setting_names_are_unique() -> None:
    names = [field.name for section in SECTIONS.values() for field in fields(section)]
    assert len(names) == len(set(names)) == len(SETTINGS)


def test_overrides_by_name_over_all_sections() -> None:
    base = load_preset("smoke")
    config = base.with_settings(
        {"dim": 32, "target-dropout": 0.5, "lr": 1, "epochs": 3, "checkpoint_minutes": "1e-1"}
    )
    assert config.model.dim == 32
    assert config.objective.target_dropout == 0.5
    assert config.optimizer.lr == 1.0
    assert isinstance(config.optimizer.lr, float)
    assert config.training.epochs == 3
    assert config.runtime.checkpoint_minutes == 0.1
    assert config.model.layers == base.model.layers
    assert base == load_preset("smoke")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"epoch": 3}, "no setting 'epoch'; did you mean 'epochs'?"),
        ({"learning_rate": 3}, "no setting 'learning_rate'"),
        ({"warmup": 3}, "did you mean 'warmup_steps'?"),
        ({"zzzz": 3}, "known are accumulate, batch, beta1"),
        ({"epochs": 1.5}, "epochs is 1.5, but must be a whole number"),
        ({"epochs": "many"}, "epochs is 'many', but must be a whole number"),
        ({"epochs": True}, "epochs is True, but must be a whole number"),
        ({"lr": "fast"}, "lr is 'fast', but must be a number"),
        ({"lr": None}, "lr is None, but must be a number"),
        ({"lr": [1]}, r"lr is \[1\], but must be a number"),
        ({"device": 3}, "device is 3, but must be a word"),
    ],
)
def test_wrong_settings(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInput, match=words) as caught:
        Config("toy").with_settings(settings)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"dim": 16384, "layers": 1024}, r"^dim is 16384, but must be smaller: .* weights"),
        ({"batch": 1 << 24}, r"^batch is 16777216, but must be smaller, or accumulate larger: "),
        ({"batch": 1 << 24, "accumulate": 1 << 20, "dim": 4096}, ""),
        ({"lr": 10**400}, r"^lr is 10+…, which is too large"),
        ({"seed": 10**5000}, "^seed is a number of thousands of digits, but must be"),
        ({"device": "x" * 5000}, "^device is 'x+…, but must be one of"),
    ],
)
def test_numbers_that_no_machine_holds(settings: dict[str, Any], words: str) -> None:
    if not words:
        Config("toy").with_settings(settings)
        return
    with pytest.raises(BadInput, match=words) as caught:
        Config("toy").with_settings(settings)
    assert len(str(caught.value)) < 250


RULES: list[tuple[str, Any]] = [
    ("dim", 0), ("dim", 60), ("layers", 0), ("heads", 0), ("ffn", 0),
    ("timesteps", 19), ("timesteps", 1001), ("condition_dropout", 1.0),
    ("condition_dropout", -0.1), ("target_dropout", 1.0), ("lr", 0.0), ("lr", -1e-3),
    ("lr", "nan"), ("lr", "inf"), ("beta1", 1.0), ("beta2", -0.1), ("eps", 0.0), ("eps", "inf"),
    ("weight_decay", -0.1), ("weight_decay", "inf"), ("warmup_steps", -1), ("final_lr", 1.1),
    ("final_lr", -0.1), ("clip", 0.0), ("clip", "inf"), ("clip", "nan"), ("ema", 1.0),
    ("batch", 0), ("epochs", 0), ("max_steps", -1), ("accumulate", 0), ("accumulate", 3),
    ("seed", -1), ("seed", 2**63), ("eval_every", -1), ("eval_rows", 0), ("patience", -1),
    ("cooldown_steps", 0), ("pair_share", -0.1), ("pair_share", 1.0), ("composition", "yes"),
    ("hidden_counts", 1.0), ("hidden_counts", -0.1),
    ("log_every", 0), ("device", "tpu"), ("precision", "fp8"), ("compile", "yes"),
    ("checkpoint_minutes", 0.0), ("checkpoint_minutes", "inf"), ("threads", -1),
    ("graph_steps", -1), ("checkpoint_steps", -1), ("sample_every", -1), ("preflight", "yes"),
    *((name, 10**12) for name in (
        "dim", "layers", "heads", "ffn", "timesteps", "eps", "weight_decay", "warmup_steps",
        "batch", "epochs", "max_steps", "accumulate", "eval_every", "eval_rows", "patience",
        "log_every", "threads", "graph_steps", "checkpoint_minutes", "checkpoint_steps",
        "sample_every",
    )),
    *((name, 1e35) for name in ("lr", "clip")),
    *((name, 1e-40) for name in ("lr", "eps", "clip", "checkpoint_minutes")),
    ("kernels", "warp"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), RULES)
def test_out_of_range(name: str, value: Any) -> None:
    with pytest.raises(BadInput, match=f"^{name} is .*, but must be ") as caught:
        Config("toy").with_settings({name: value})
    assert caught.value.exit_code == 78


def test_every_setting_has_a_rule_that_is_tested() -> None:
    assert {name for name, _ in RULES} == set(SETTINGS)


def test_the_hash_is_of_what_decides_the_weights() -> None:
    base = load_preset("small")
    same = [
        Config("other", base.model, base.objective, base.optimizer, base.training, base.runtime),
        base.with_settings({"precision": "bf16", "checkpoint_steps": 5, "threads": 1}),
    ]
    assert {config.sha256() for config in same} == {base.sha256()}
    other: dict[str, Any] = {
        "dim": 64, "layers": 9, "heads": 2, "ffn": 2, "timesteps": 30, "condition_dropout": 0.3,
        "target_dropout": 0.2, "lr": 0.5, "beta1": 0.5, "beta2": 0.5, "eps": 1e-3,
        "weight_decay": 0.7, "warmup_steps": 7, "final_lr": 0.7, "clip": 7.0, "ema": 0.7,
        "batch": 16, "epochs": 7, "max_steps": 7, "accumulate": 2, "seed": 7, "eval_every": 7,
        "eval_rows": 7, "patience": 7, "cooldown_steps": 7, "log_every": 7, "pair_share": 0.1,
        "composition": "off", "hidden_counts": 0.1,
    }  # fmt: skip
    hashes = {base.with_settings({name: value}).sha256() for name, value in other.items()}
    assert len(hashes - {base.sha256()}) == len(other)
    assert {*other, *(f.name for f in fields(SECTIONS["runtime"]))} == set(SETTINGS)


def test_from_dict_is_the_inverse() -> None:
    config = load_preset("large").with_settings({"seed": 2**63 - 1, "lr": 1.25e-4})
    body = config.as_dict()
    assert Config.from_dict(body) == config
    assert Config.from_dict(body).sha256() == config.sha256()
    with pytest.raises(BadInput, match="no section 'modell'; did you mean 'model'"):
        Config.from_dict({"preset": "x", "modell": {}})
    with pytest.raises(BadInput, match="section model has no setting 'lr'"):
        Config.from_dict({"preset": "x", "model": {"lr": 1}})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("model: [dim", "is not a YAML file"),
        ("- 3", "must map sections"),
        ("", "must map sections"),
        ("model: 3", "must map sections"),
        ("model:\n  dims: 3", "section model has no setting 'dims'; did you mean 'dim'"),
        ("modle:\n  dim: 64", "no section 'modle'; did you mean 'model'"),
        ("on: {}", "there is no section True"),
        ("model:\n  on: 3", "section model has no setting True"),
        ("model:\n  dim: wide", "dim is 'wide'"),
        ("training:\n  batch: 32\n  accumulate: 5", "accumulate is 5"),
        ("preset: {}", "no section 'preset'"),
        ("training:\n  batch: 010", r"own.yaml, line 2: 010 is 8 to YAML"),
    ],
)
def test_wrong_files(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(text)
    with pytest.raises(BadInput, match=words) as caught:
        load_preset(str(path))
    assert "\n" not in str(caught.value)


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text("optimizer:\n  lr: 3e-4\n")
    config = load_preset(str(path))
    assert config.preset == "own"
    assert config.optimizer.lr == 3e-4
    assert config.model == Config("x").model
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadInput, match="is not a YAML file"):
        load_preset(str(path))
    with pytest.raises(BadInput, match=r"there is no preset file /no/such\.yaml"):
        load_preset("/no/such.yaml")
    with pytest.raises(BadInput, match="there is no preset 'smal'; did you mean 'small'"):
        load_preset("smal")


def test_yaml_reads_on_and_off_as_it_likes() -> None:
    config = Config("toy").with_settings({"compile": False, "preflight": True})
    assert (config.runtime.compile, config.runtime.preflight) == ("off", "on")
