import json
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load, save

from mimir.config import MODEL_COPIES, Config
from mimir.data.peptides import Peptides
from mimir.errors import BadInput, Corrupt, Fenced
from mimir.output import export, model_file, model_object, target_table, vocabulary
from mimir.runs.begin import raise_attempt
from mimir.runs.commit import Attempt
from mimir.runs.status import read_head
from mimir.runs.store import open_store
from mimir.submission import enter, prepare
from mimir.training import checkpoint, early_stop
from mimir.training.assemble import build
from mimir.training.engine import Engine
from mimir.training.loop import first_record
from mimir.training.validation import ema_weights
from tests import toys
from tests.e2e import jobs
from tests.e2e.jobs import write_data
from tests.runs.memory import MemoryStore


@pytest.fixture(scope="module")
def trained() -> Engine:
    engine = toys.engine()
    engine.advance(11)
    return engine


def folder_of(engine: Engine, path: Path, data: Peptides | None = None) -> Path:
    data = data or toys.peptides()
    path.mkdir()
    (path / "model.safetensors").write_bytes(model_object.encode(export.weights(engine), []))
    body = {"format": 1, "mimir": "0", "run": "r", "step": 11}
    body |= {"data_sha256": data.digest, **engine.config.as_dict()}
    (path / "config.json").write_text(json.dumps(body))
    (path / "vocabulary.json").write_text(json.dumps(vocabulary.of(data).as_json()))
    (path / target_table.FILE).write_bytes(target_table.encode(data))
    return path


@pytest.fixture(scope="module")
def judged() -> Engine:
    """Trained on after its best validation."""
    engine = toys.engine()
    engine.advance(4)
    assert early_stop.judge(engine, 2.5)
    engine.advance(4)
    assert not early_stop.judge(engine, 2.6)
    return engine


def test_the_exported_weights_are_the_best_and_the_last_ema(judged: Engine) -> None:
    tensors = load(model_object.encode(export.weights(judged), []))
    live = judged.state.tensors()
    names = {name for name, _ in judged.model.named_parameters()}
    assert set(tensors) == names | {f"last.{name}" for name in names}
    for name in names:
        assert torch.equal(tensors[name], live[f"best.{name}"])
        assert torch.equal(tensors[f"last.{name}"], live[f"ema.{name}"])
    assert any(not torch.equal(tensors[name], tensors[f"last.{name}"]) for name in names)
    assert all(value.dtype == torch.float32 for value in tensors.values())


def test_where_nothing_selects_the_last_weights_are_the_best(trained: Engine) -> None:
    tensors = load(model_object.encode(export.weights(trained), []))
    live = trained.state.tensors()
    for name, _ in trained.model.named_parameters():
        assert torch.equal(tensors[name], live[f"ema.{name}"])


@pytest.mark.parametrize("last", [False, True])
def test_a_folder_opens_with_the_best_or_the_last_weights(
    judged: Engine, tmp_path: Path, last: bool
) -> None:
    opened = model_file.from_folder(folder_of(judged, tmp_path / "m"), last=last)
    live, found = judged.state.tensors(), opened.model.state_dict()
    assert all(
        torch.equal(found[name], live[f"{'ema' if last else 'best'}.{name}"]) for name in found
    )
    assert opened.source == f"{tmp_path / 'm'}, {'last' if last else 'best'} weights"


def test_a_folder_opens_as_the_model_that_was_trained(trained: Engine, tmp_path: Path) -> None:
    from mimir.model.objective import evaluate

    opened = model_file.from_folder(folder_of(trained, tmp_path / "m"))
    assert opened.config == trained.config
    assert opened.vocabulary.targets == ("P00000", "P00001", "P00002")
    assert opened.data_sha256 == toys.peptides().digest
    device_data = toys.device_data()
    with ema_weights(trained):
        wanted = evaluate(trained.model, device_data, 20)
    assert torch.equal(evaluate(opened.model, device_data, 20), wanted)


def test_an_unknown_target_is_refused_with_the_nearest(trained: Engine, tmp_path: Path) -> None:
    opened = model_file.from_folder(folder_of(trained, tmp_path / "m"))
    assert opened.trained_target("P00002") == 2
    with pytest.raises(BadInput, match=r"'P00004x' is not among the 3 of this model; near are P"):
        opened.trained_target("P00004x")
    with pytest.raises(
        BadInput, match=r"of this model; another protein can be given by --target-sequence$"
    ):
        opened.trained_target("~~~")


@pytest.mark.parametrize(
    "name", ["model.safetensors", "config.json", "vocabulary.json", "targets.safetensors"]
)
def test_a_folder_without_a_file(trained: Engine, tmp_path: Path, name: str) -> None:
    folder = folder_of(trained, tmp_path / "m")
    (folder / name).unlink()
    with pytest.raises(BadInput, match=f"holds no {name}"):
        model_file.from_folder(folder)


@pytest.mark.parametrize(("name", "content", "error", "words"), [
    ("model.safetensors", b"", Corrupt, "does not fit config.json"),
    ("model.safetensors", save({"a": torch.zeros(2)}), Corrupt, "does not fit config.json"),
    ("config.json", b"{", Corrupt, "config.json is not JSON"),
    ("config.json", b"[]", Corrupt, "holds a JSON list"),
    ("config.json", b"{}", Corrupt, "has no format number"),
    ("config.json", b'{"format": 1}', BadInput, "does not name its preset"),
    ("config.json", b'{"format": 9, "preset": "x"}', BadInput, "has format 9, this Mimir knows up"),
    ("config.json", b'{"format": 1, "preset": "x", "model": {"dim": 32}}', Corrupt, "not fit"),
    ("config.json", b'{"format": 1, "preset": "x", "mode": {}}', BadInput, "no section 'mode'"),
    ("vocabulary.json", b"\xff", Corrupt, "vocabulary.json is not JSON"),
    ("vocabulary.json", b"{}", Corrupt, "has no format number"),
    ("vocabulary.json", b"[]", Corrupt, "holds a JSON list"),
    ("vocabulary.json", b"[" * 100_000, Corrupt, "nested more than 32 deep"),
])  # fmt: skip
def test_damaged_folders(
    trained: Engine, tmp_path: Path, name: str, content: bytes, error: type, words: str
) -> None:
    folder = folder_of(trained, tmp_path / "m")
    (folder / name).write_bytes(content)
    with pytest.raises(error, match=words):
        model_file.from_folder(folder)


def test_quality_counts_and_shows_a_few(trained: Engine) -> None:
    before = toys.tensors(trained)
    row = export.quality(trained, toys.peptides())
    assert len(row["samples"]) == 5
    assert 0 < row["samples_unique"] <= 1
    assert row["samples_kl"] > 0
    assert 0 <= row["samples_novel"] <= 1
    after = toys.tensors(trained)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert row == export.quality(trained, toys.peptides())


class Trained:
    """A run in a file store, trained in this process for some steps."""

    def __init__(self, tmp_path: Path, trained: bool = True) -> None:
        self.store = open_store((tmp_path / "store").as_uri())
        data = write_data(tmp_path / "data.csv", 60)
        job = prepare("smoke", {**toys.TINY, "threads": 1}, str(data))
        self.record = enter(self.store, "run", job)
        self.config = Config.from_dict(self.record.config)
        self.engine, self.peptides = build(self.store, self.record, self.config)
        if trained:
            self.engine.advance(3)
            early_stop.judge(self.engine, 2.5)
            self.engine.advance(1)
        number = raise_attempt(self.store, "run")
        self.attempt = Attempt.claim(self.store, "run", number)

    def commit(self) -> None:
        record = first_record(self.engine, self.peptides.digest, self.attempt.number)
        content = checkpoint.take(self.engine.state, record).encode()
        self.attempt.commit(self.engine.step, content, None)


def test_weights_that_know_nothing_are_told(tmp_path: Path) -> None:
    run = Trained(tmp_path, trained=False)
    run.commit()
    early = model_file.from_run(run.store, "run")
    assert early.warning == "run run has committed no step yet, so these weights know nothing"


def test_a_run_opens_from_its_checkpoint_and_from_what_it_left(tmp_path: Path) -> None:
    run = Trained(tmp_path)
    with pytest.raises(BadInput, match="run run has no checkpoint yet"):
        model_file.from_run(run.store, "run")
    run.commit()
    early = model_file.from_run(run.store, "run")
    assert early.source == "run run, unfinished, at step 4, best weights (step 3)"
    said: list[str] = []
    model = export.leave(run.attempt, run.engine, run.peptides, said.append)
    run.attempt.finish("done", "finished", model)
    late = model_file.from_run(run.store, "run")
    assert late.source == "run run, finished at step 4, best weights (step 3)"
    assert late.config == early.config == run.config
    assert late.vocabulary == early.vocabulary
    assert late.data_sha256 == early.data_sha256 == run.peptides.digest
    one, two = early.model.state_dict(), late.model.state_dict()
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert re.match(r"256 samples: \d+% not in the training data, 100% unique", said[1])

    stored = read_head(run.store, "run").model
    assert stored is not None
    content = run.store.get(stored.key)
    record = model_object.record_in(content, "it")
    assert (len(record.samples), record.best_step) == (256, 3)
    assert [len(some) for some in record.told.values()] == [64] * 5
    assert set(load(content)) == set(one) | {f"last.{name}" for name in one}
    run.config.check_size("model", len(content), MODEL_COPIES)
    last = model_file.from_run(run.store, "run", last=True)
    assert last.source == "run run, finished at step 4, last weights"
    assert any(not torch.equal(last.model.state_dict()[name], one[name]) for name in one)
    assert not [key for key in run.store.list("run/") if key.endswith((".html", ".png", ".tar"))]

    # The model goes bad: what it was made from still serves, and that is said.
    (tmp_path / "store" / stored.key).write_bytes(b"torn")
    old = model_file.from_run(run.store, "run")
    assert old.source == "run run, at its last checkpoint, at step 4, best weights (step 3)"
    assert "the model of run run cannot be used" in old.warning
    three = old.model.state_dict()
    assert all(torch.equal(one[name], three[name]) for name in one)
    same = model_file.from_run(run.store, "run", last=True).model.state_dict()
    assert all(torch.equal(same[name], last.model.state_dict()[name]) for name in one)


def test_a_zombie_leaves_nothing(tmp_path: Path) -> None:
    run = Trained(tmp_path)
    number = raise_attempt(run.store, "run")
    Attempt.claim(run.store, "run", number)
    before = list(run.store.list(""))
    with pytest.raises(Fenced):
        export.leave(run.attempt, run.engine, run.peptides, lambda text: None)
    assert list(run.store.list("")) == before


def test_an_unreadable_newest_checkpoint_gives_way_to_the_one_before(tmp_path: Path) -> None:
    store = open_store(tmp_path.as_uri())
    jobs.submit(store, "run", jobs.write_data(tmp_path / "data.csv", 50))
    assert not jobs.train(store, "run", steps=4)[0]
    kept = read_head(store, "run").kept
    (tmp_path / kept[-1].key).write_bytes(b"torn")
    found = model_file.from_run(store, "run")
    assert f"at step {kept[-2].step}, " in found.source
    assert f"checkpoint of step {kept[-1].step} cannot be used" in found.warning
    for other in kept[:-1]:
        (tmp_path / other.key).unlink()
    with pytest.raises(Corrupt, match="no checkpoint of run run can be read"):
        model_file.from_run(store, "run")


@pytest.mark.parametrize(
    "value",
    [torch.tensor([1, 2]), torch.tensor(torch.nan), torch.tensor(5), torch.tensor(-2), None],
    ids=["two", "NaN", "to come", "negative", "missing"],
)
def test_a_best_step_that_is_none(value: torch.Tensor | None) -> None:
    named = {} if value is None else {"loop.best_step": value}
    with pytest.raises(Corrupt, match=r"loop\.best_step"):
        model_file._best_step(named, 4)


def test_a_checkpoint_with_a_wrong_best_step_gives_way_to_the_one_before(tmp_path: Path) -> None:
    run = Trained(tmp_path)
    run.commit()
    run.engine.advance(1)
    run.engine.state.best_step = torch.tensor([1, 2])
    run.commit()
    found = model_file.from_run(run.store, "run")
    assert found.source == "run run, unfinished, at step 4, best weights (step 3)"
    assert "checkpoint of step 5 cannot be used: its loop.best_step" in found.warning


def test_a_run_that_is_not_there() -> None:
    with pytest.raises(BadInput, match="nothing"):
        model_file.from_run(MemoryStore(), "nothing")
