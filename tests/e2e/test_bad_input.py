"""What a user gets wrong gets one sentence and the right exit code, and leaves nothing behind."""

import csv
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mimir.data.peptides import of_run
from mimir.output import vocabulary
from mimir.runs.record import read_run
from mimir.runs.status import read_head
from mimir.runs.store import open_store
from tests.e2e import jobs
from tests.waiting import LIMIT

GOOD = "sequence,label,target\n" + "".join(
    f"{word},0,\n" for word in ("ACDEFGH", "CDEFGHI", "DEFGHIK", "EFGHIKL", "FGHIKLM", "GHIKLMN")
)


def run(*words: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", *words], cwd=cwd, capture_output=True, text=True, timeout=LIMIT,
        env=dict(os.environ, PYTHONPATH=str(jobs.ROOT), OMP_NUM_THREADS="1"), check=False,
    )  # fmt: skip


def assert_refused(done: "subprocess.CompletedProcess[str]", says: str, code: int = 78) -> None:
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    sentence = [line for line in done.stderr.splitlines() if line.startswith("python -m ")]
    assert len(sentence) == 1, done.stderr
    assert says in sentence[0]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("sequence,label\nACDEF,0\n", "target"),
        ("", "empty"),
        (GOOD + "ACDJFGH,0,\n", "'J'"),
        (GOOD + "ACD,0,\n", "3"),
        (GOOD + "ACDEFGHIKLMNPQRSTVWYA,0,\n", "21"),
        (GOOD + "ACDEFGHIK,2,\n", "label"),
        (GOOD + "ACDEFGHIK,1,\n", "target"),
        (GOOD, "batch is 32"),
    ],
)
def test_data(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "bad.csv").write_text(text)
    done = run(
        "mimir", "train", "--preset", "smoke", "--run-name", "x", "--data", "bad.csv",
        "--store", (tmp_path / "store").as_uri(), cwd=tmp_path,
    )  # fmt: skip
    assert_refused(done, says)
    assert not (tmp_path / "store" / "x").exists()


@pytest.mark.parametrize("program", ["mimir train --run-name x", "launch submit --name x"])
@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("--preset smal", "did you mean 'small'?"),
        ("--preset smoke --lrr 1e-3", "did you mean"),
        ("--preset smoke --lr -1", "lr is -1"),
        ("--preset smoke --epochs many", "epochs is 'many'"),
        ("--preset smoke --dim 30", "dim is 30"),
        ("--preset smoke --data nowhere.csv", "nowhere.csv"),
        ("--preset smoke --batch 999999", "batch is 999999"),
        ("--preset smoke --store nowhere", "file:///"),
        ("--preset smoke --store ftp://x/y", "ftp"),
    ],
)
def test_settings(tmp_path: Path, program: str, words: str, says: str) -> None:
    done = run(*program.split(), *words.split(), cwd=tmp_path)
    assert_refused(done, says)
    assert not list(tmp_path.iterdir())


def test_a_run_name_that_is_no_name(tmp_path: Path) -> None:
    store = (tmp_path / "store").as_uri()
    done = run("mimir", "train", "--preset", "smoke", "--run-name", "A b", "--store", store,
               cwd=tmp_path)  # fmt: skip
    assert_refused(done, "'A b'")


def test_a_store_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = (tmp_path / "file" / "below").as_uri()
    done = run("mimir", "train", "--preset", "smoke", "--store", store, cwd=tmp_path)
    assert_refused(done, "file")


def test_a_taken_name_and_unknown_things(tmp_path: Path) -> None:
    store = open_store((tmp_path / "store").as_uri())
    jobs.submit(store, "mine", jobs.write_data(tmp_path / "data.csv", 50))
    base = ("--store", store.url)
    done = run("mimir", "train", "--preset", "smoke", "--run-name", "mine", *base, cwd=tmp_path)
    assert_refused(done, "dim 16 (this command has 64)")
    assert_refused(run("mimir", "resume", "mien", *base, cwd=tmp_path), "mine")
    assert_refused(run("launch", "status", "mien", *base, cwd=tmp_path), "mine")
    assert_refused(run("mimir", "sample", "--run", "mine", *base, cwd=tmp_path), "no checkpoint")
    assert_refused(run("mimir", "sampel", cwd=tmp_path), "did you mean 'sample'?")
    assert_refused(run("launch", "submit", "--provider", "locl", cwd=tmp_path), "local")


def test_sampling(tmp_path: Path) -> None:
    store = open_store((tmp_path / "store").as_uri())
    data = jobs.write_data(tmp_path / "data.csv", 50)
    with data.open("a") as file:  # whole targets are held out: some of these
        file.writelines(f"WWWW{letter},1,P2000{letter}\n" for letter in "ACDE")
    jobs.submit(store, "mine", data, epochs=1)
    assert jobs.train(store, "mine")[0]
    base = ("mimir", "sample", "--run", "mine", "--store", store.url)
    assert_refused(run(*base, "--target", "P1000", cwd=tmp_path), "near are P1000")
    assert_refused(run(*base, "--min-length", "9", "--max-length", "8", cwd=tmp_path), "9 to 8")
    assert_refused(run(*base, "--pattern", "..1..", cwd=tmp_path), "'1'")
    assert_refused(run(*base, "-n", "0", cwd=tmp_path), "--n is 0,")
    assert_refused(run(*base, "--out", "no/where.fasta", cwd=tmp_path), "no/where.fasta")
    never = run(*base, "--target", "P10002", "--label", "background", cwd=tmp_path)
    assert_refused(never, "a target was only ever trained with interacting peptides")
    good = run(*base, "-n", "3", "--target", "P10002", "--format", "csv", cwd=tmp_path)
    assert good.returncode == 0
    assert len(good.stdout.splitlines()) == 4
    words = vocabulary.of(of_run(store, read_run(store, "mine")))
    unseen = words.targets[words.pairs.index(0)]
    without = run(*base, "-n", "3", "--format", "csv", cwd=tmp_path)
    mapped = run(*base, "-n", "3", "--target", unseen, "--format", "csv", cwd=tmp_path)

    def drawn(done: "subprocess.CompletedProcess[str]") -> list[str]:
        return [row["sequence"] for row in csv.DictReader(done.stdout.splitlines())]

    assert drawn(mapped) == drawn(without) != drawn(good)
    assert f"trained on no pair of {unseen}" in mapped.stderr


@pytest.mark.parametrize(
    "words", ["launch status", "launch logs", "launch resume", "launch pull", "mimir resume"]
)
def test_a_head_of_a_newer_format(tmp_path: Path, words: str) -> None:
    store = open_store((tmp_path / "store").as_uri())
    jobs.submit(store, "mine", jobs.write_data(tmp_path / "data.csv", 50))
    path = tmp_path / "store" / "mine" / "HEAD"
    newer = path.read_bytes().replace(b'"format":1', b'"format":2')
    path.write_bytes(newer)
    done = run(*words.split(), "mine", "--store", store.url, cwd=tmp_path)
    assert_refused(done, "HEAD has format 2, this Mimir knows up to 1")
    assert path.read_bytes() == newer
    assert not list(store.list("mine/a0"))


@pytest.mark.parametrize("damage", [lambda b: b[:-10], lambda b: b[:-10] + b"0123456789"])
def test_a_run_whose_checkpoints_are_all_damaged(tmp_path: Path, damage: Any) -> None:
    store = open_store((tmp_path / "store").as_uri())
    jobs.submit(store, "mine", jobs.write_data(tmp_path / "data.csv", 50))
    assert not jobs.train(store, "mine", steps=3)[0]
    kept = read_head(store, "mine").kept  # how many there are depends on the store's haste
    for each in kept:
        path = tmp_path / "store" / each.key
        path.write_bytes(damage(path.read_bytes()))
    base = ("mine", "--store", store.url)
    assert_refused(run("launch", "pull", *base, cwd=tmp_path), "can be used: the newest", 75)
    assert_refused(run("mimir", "sample", "--run", *base, cwd=tmp_path), "the newest", 75)
    trained = run("mimir", "resume", *base, cwd=tmp_path)
    assert trained.returncode == 75
    assert f"none of the {len(kept)} checkpoints of run mine can be used" in trained.stdout
    assert "Traceback" not in trained.stdout + trained.stderr
