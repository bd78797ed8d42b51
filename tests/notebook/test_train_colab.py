"""The notebook in a real Jupyter kernel, with a stub of Colab and an S3 server on 127.0.0.1.

What this does not show: Colab's own kernel and its page, its GPUs, its torch.
"""

import ast
import importlib
import importlib.metadata
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nbformat
import pytest

from launch.commands import estimate
from launch.payload import wheel
from mimir.data import target_sequences
from mimir.notebook.drive import Folder
from mimir.runs import notes
from mimir.runs.status import derive, read_head
from mimir.runs.store import open_store
from mimir.text import duration
from tests import ROOT
from tests.colab.bucket import Bucket
from tests.e2e import jobs
from tests.gates import HOOK, Gate
from tests.waiting import LIMIT, wait_for

NOTEBOOK = ROOT / "notebooks" / "train_colab.ipynb"
KEY, SECRET = "PLANTEDKEYID", "planted-secret-key"
SETTINGS = {
    **jobs.TINY, "epochs": 1000, "max_steps": 900, "log_every": 20, "eval_every": 450,
    "checkpoint_steps": 25, "preflight": "on",
}  # fmt: skip


def cells() -> list[Any]:
    return list(nbformat.read(NOTEBOOK, as_version=4).cells)


def code_cells() -> list[str]:
    return [cell.source for cell in cells() if cell.cell_type == "code"]


def test_it_is_what_its_source_gives() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "notebooks" / "make.py", "--check"], check=False, timeout=LIMIT
    )
    assert done.returncode == 0


def test_it_is_valid_and_without_outputs() -> None:
    book = json.loads(NOTEBOOK.read_text())
    nbformat.validate(book)
    assert (book["nbformat"], book["nbformat_minor"]) == (4, 5)
    assert book["metadata"]["accelerator"] == "GPU"
    ids = [cell["id"] for cell in book["cells"]]
    assert len(set(ids)) == len(ids) >= 10
    for cell in book["cells"]:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


def test_the_forms_parse() -> None:
    form = code_cells()[0]
    values = {}
    for node in ast.parse(form).body:
        assert isinstance(node, ast.Assign)
        assert isinstance(node.targets[0], ast.Name)
        values[node.targets[0].id] = ast.literal_eval(node.value)
    lines = [line for line in form.splitlines() if not line.startswith("#")]
    assert len(lines) == len(values) == 13
    for line in lines:
        kind = re.fullmatch(r'(\w+) = \S.* #@param (\[.*\](?: \{.*\})?|\{type:"\w+"\})', line)
        assert kind, line
        if kind[2].startswith("["):
            assert values[kind[1]] in ast.literal_eval(kind[2].partition("]")[0] + "]")
    for source in code_cells():
        assert re.match(r'#@title \d+\. .*\{ display-mode: "form" \}\n', source)
        compile(source, "cell", "exec")


def test_no_secret_is_asked_for_in_a_form() -> None:
    form = code_cells()[0].lower()
    assert not re.search(r"^\w*(key|secret|token|password)\w* =", form, re.MULTILINE)


def test_it_asks_for_what_a_worker_needs() -> None:
    source = next(source for source in code_cells() if "NEEDS = {" in source)
    found = re.search(r"NEEDS = (\{.*?\})", source, re.DOTALL)
    assert found
    assert ast.literal_eval(found[1]) == wheel.NEEDS
    more = re.search(r"MORE = (\{.*?\})", source)
    assert more
    assert set(ast.literal_eval(more[1]).values()) < set(wheel.BESIDE)


def test_the_hours_are_those_of_estimate(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(estimate, "_prices", lambda *words: ({}, [], []))
    estimate.estimate("small", gpu="T4", store=tmp_path.as_uri(), json=True)
    hours = json.loads(capsys.readouterr().out)["gpus"][0]["hours"]
    row = next(line for line in cells()[0].source.splitlines() if "| small | T4" in line)
    assert row.split("|")[4].strip() == duration(3600 * hours)
    said = estimate.told("small", {}, "", tmp_path.as_uri(), "Tesla T4, 15360 MiB")
    assert said.startswith(f"`estimate` says {duration(3600 * hours)} on T4")
    for gpu, words in (
        ("", "there is none here"),
        ("Riva 128", "does not know the GPU 'Riva 128'"),
    ):
        assert words in estimate.told("small", {}, "", tmp_path.as_uri(), gpu)


@dataclass
class Colab:
    """A session of Colab: a folder, the stub, and the notebook with a filled-in form."""

    folder: Path
    secrets: Any
    form: dict[str, Any]
    gate: Gate
    upload: str = ""
    started: list["subprocess.Popen[str]"] = field(default_factory=list)

    def start(self, first: int | None = None) -> "subprocess.Popen[str]":
        """Run all, or only the first cells."""
        self.folder.mkdir(exist_ok=True)
        book = nbformat.read(NOTEBOOK, as_version=4)
        for name, value in self.form.items():
            line = re.compile(rf"^{name} = .* #@param", re.MULTILINE)
            assert line.search(book.cells[1].source), name
            book.cells[1].source = line.sub(
                lambda _, name=name, value=value: f"{name} = {value!r} #@param",
                book.cells[1].source,
            )
        book.cells = book.cells[:first]
        nbformat.write(book, self.folder / "notebook.ipynb")
        (self.folder / "secrets.json").write_text(json.dumps(self.secrets))
        (self.folder / "kernel.pid").unlink(missing_ok=True)
        (self.folder / "calls").touch()
        process = subprocess.Popen(
            [
                sys.executable, ROOT / "tests" / "notebook" / "execute.py",
                self.folder / "notebook.ipynb", self.folder,
            ],
            env=self.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            start_new_session=True,
        )  # fmt: skip
        self.started.append(process)
        return process

    def kill_kernel(self) -> None:
        os.kill(int((self.folder / "kernel.pid").read_text()), signal.SIGKILL)

    def environment(self) -> dict[str, str]:
        kept = {
            name: value for name, value in os.environ.items()
            if not name.startswith(("AWS_", "PYTHONPATH", "MIMIR_", "COV"))
        }  # fmt: skip
        return {
            **kept, "PYTHONPATH": f"{ROOT / 'tests' / 'notebook' / 'stub'}{os.pathsep}{HOOK}",
            "MIMIR_TEST_GATE": str(self.gate.path),
            "STUB_SECRETS": str(self.folder / "secrets.json"),
            "STUB_CALLS": str(self.folder / "calls"), "STUB_UPLOAD": self.upload,
            "AWS_EC2_METADATA_DISABLED": "true", "OMP_NUM_THREADS": "1",
            "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        }  # fmt: skip

    def run(self, first: int | None = None) -> str:
        """The sentence that it ended with; "" if all went well."""
        process = self.start(first)
        out, err = process.communicate(timeout=LIMIT)
        assert process.returncode in (0, 4), err
        return out.strip() if process.returncode else ""

    def printed(self) -> str:
        """All that the cells showed as text."""
        book = json.loads((self.folder / "executed.ipynb").read_text())
        outputs = [out for cell in book["cells"] for out in cell.get("outputs", [])]
        texts = [out.get("text") or out.get("data", {}).get("text/html", "") for out in outputs]
        return "\n".join("".join(text) for text in texts)

    def pictures(self) -> int:
        """How many pictures the cells show."""
        book = json.loads((self.folder / "executed.ipynb").read_text())
        outputs = [out for cell in book["cells"] for out in cell.get("outputs", [])]
        return sum("image/png" in out.get("data", {}) for out in outputs)

    def calls(self) -> list[str]:
        return (self.folder / "calls").read_text().splitlines()


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    for name, value in (("AWS_ACCESS_KEY_ID", KEY), ("AWS_SECRET_ACCESS_KEY", SECRET)):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    server = Bucket("notebooks")
    yield server
    server.close()


@pytest.fixture
def colab(tmp_path: Path) -> Iterator[Colab]:
    code = tmp_path / wheel.file_name()
    code.write_bytes(wheel.content())
    options = " ".join(f"--{name.replace('_', '-')} {value}" for name, value in SETTINGS.items())
    form = {
        "preset": "smoke", "run_name": "book", "options": options, "allow_cpu": True,
        "data_from": "upload", "code": str(code),
    }  # fmt: skip
    secrets = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
    data = jobs.write_data(tmp_path / "data.csv", 200)
    target_sequences.path_of(data).unlink()  # a notebook takes one file
    gate = Gate(tmp_path / "gate")
    gate.open()
    session = Colab(tmp_path / "session", secrets, form, gate, str(data))
    yield session
    for process in session.started:  # those of its copies too: the list is shared
        if process.poll() is None:
            session.kill_kernel()
            process.kill()
            process.communicate(timeout=LIMIT)


@pytest.mark.slow
def test_interrupted_resumed_and_done(bucket: Bucket, colab: Colab, tmp_path: Path) -> None:
    url = f"s3://notebooks/mimir?endpoint={bucket.url}&region=us-east-1"
    store, calm = open_store(url), open_store((tmp_path / "calm").as_uri())
    colab.form["store"] = url

    def interrupt(method: str, path: str) -> None:
        """The kernel dies with the first commit."""
        if (method, path[-5:]) == ("PUT", "/HEAD") and read_head(store, "book").step:
            bucket.after = lambda method, path: None
            colab.kill_kernel()

    bucket.after = interrupt
    colab.gate.open(450)
    process = colab.start()
    out, err = process.communicate(timeout=LIMIT)
    assert process.returncode == 3, f"the kernel was not killed: {out}\n{err}"

    colab.gate.open()
    # Another session: another machine's empty folder, and the code comes from the store.
    again = replace(colab, folder=tmp_path / "again", form={**colab.form, "code": ""})
    assert again.run(first=10) == ""
    shown = again.printed()
    status = derive(store, "book", time.time())
    assert (status.state, status.step, status.attempt) == ("done", 900, 2)
    first = notes.read_outcome(store, "book", 1)
    assert first is not None  # the worker was not left behind by its kernel
    assert (first.exit_code, first.step) == (75, status.attempts[1].from_step)
    assert f"Going on from step {first.step:,}" in shown
    assert "what works has been seen" in shown
    assert again.pictures() == 1
    assert "Samples at step " in shown
    ticks = [line for line in shown.splitlines() if re.match(r"\[[ x]\] ", line)]
    assert len(ticks) == 7
    assert all(line.startswith("[x] ") for line in ticks), ticks
    assert again.calls() == ["download book.zip"]

    assert again.run(first=8) == ""  # and a third time, without work
    assert "nothing is left to train" in again.printed()
    assert read_head(store, "book").attempt == 2

    jobs.submit(calm, "calm", Path(colab.upload), **SETTINGS)
    assert jobs.train(calm, "calm")[0]
    jobs.assert_same(store, "book", "calm", calm)

    assert "preflight of preset smoke passed" in colab.printed()
    assert colab.calls() == ["upload"]
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) > 20
    holding = [path for path in written if SECRET.encode() in path.read_bytes()]
    assert [path.name for path in holding] == ["secrets.json", "secrets.json"]
    kept = [key for key in store.list("") if SECRET.encode() in store.get(key, limit=1 << 24)]
    assert not kept


@pytest.mark.slow
def test_kept_on_drive(colab: Colab, tmp_path: Path) -> None:
    """A machine is lost with its store; another one goes on from what was copied."""
    settings = {**SETTINGS, "max_steps": 100, "eval_every": 50, "checkpoint_steps": 10}
    options = " ".join(f"--{name.replace('_', '-')} {value}" for name, value in settings.items())
    colab.form |= {"drive_folder": str(tmp_path / "drive"), "options": options}
    copies = Folder(tmp_path / "drive" / "book", "book", tmp_path)
    colab.gate.open(60)
    process = colab.start()
    wait_for(lambda: process.poll() is not None or any(each.step for each in copies.archives()))
    colab.kill_kernel()
    out, err = process.communicate(timeout=LIMIT)
    assert process.returncode == 3, f"the kernel was not killed: {out}\n{err}"

    colab.gate.open()
    newest = copies.archives()[0]
    again = replace(colab, folder=tmp_path / "again", form={**colab.form, "code": ""})
    assert again.run() == ""
    shown = again.printed()
    assert f"Taken from Drive: run book at step {newest.step:,}" in shown
    assert f"Going on from step {newest.step:,}, as attempt 2" in shown
    assert "not fenced against each other" in shown
    assert "On Drive: step 100 is there" in shown
    assert again.calls() == ["download book.zip"]
    for words in ("score_se", "over_background", "Tick measure", "Fill in compare_with"):
        assert words in shown, words

    store = open_store((again.folder / "mimir-runs").as_uri())
    calm = open_store((tmp_path / "calm").as_uri())
    jobs.submit(calm, "calm", Path(colab.upload), **settings)
    assert jobs.train(calm, "calm")[0]
    jobs.assert_same(store, "book", "calm", calm)


def test_no_gpu_is_said_with_what_to_click(colab: Colab) -> None:
    colab.form["allow_cpu"] = False
    assert colab.run(first=3) == (
        "RuntimeError: This session has no GPU. Click Runtime > Change runtime type, choose T4 GPU "
        "(A100 for the large preset), Save, and then Runtime > Run all; or tick allow_cpu in the "
        "form to train on the CPU, which is slow."
    )


FAILED = "NVIDIA-SMI has failed because it could not communicate with the NVIDIA driver."


@pytest.mark.parametrize(("script", "gpu", "says"), [
    ("echo 'Tesla T4, 15360 MiB'", "Tesla T4, 15360 MiB", ""),
    (f"echo '{FAILED}'; exit 9", "", f"no GPU that works: nvidia-smi failed ({FAILED[:-1]})"),
    ("echo 'no driver' >&2; exit 9", "", "no GPU that works: nvidia-smi failed (no driver)"),
    ("echo", "", "This session has no GPU. Click"),
])  # fmt: skip
@pytest.mark.parametrize("allow_cpu", [False, True])
def test_only_a_gpu_that_answers_is_one(
    script: str, gpu: str, says: str, allow_cpu: bool, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("MIMIR_GPU", "")
    if says and not allow_cpu:
        with pytest.raises(RuntimeError, match=re.escape(says)):
            run_cell("nvidia-smi", allow_cpu=allow_cpu)
    else:
        run_cell("nvidia-smi", allow_cpu=allow_cpu)
        said = capsys.readouterr().out
        assert f"GPU: {gpu or 'none'}\n" in said
        assert says in said
    assert os.environ["MIMIR_GPU"] == gpu


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Colab's stub in this process: a kernel for each sentence would take seconds.

    What was imported of it is forgotten afterwards, or Colab would seem to be here for other tests.
    """
    import google

    folder = ROOT / "tests" / "notebook" / "stub" / "google"
    monkeypatch.setattr(google, "__path__", [*google.__path__, str(folder)])
    monkeypatch.setenv("STUB_SECRETS", str(tmp_path / "secrets.json"))
    monkeypatch.setenv("STUB_CALLS", str(tmp_path / "calls"))
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name in [name for name in sys.modules if f"{name}.".startswith("google.colab.")]:
        del sys.modules[name]
    vars(google).pop("colab", None)


def run_cell(words: str, **names: Any) -> dict[str, Any]:
    """Run the cell that holds these words; its names after."""
    source = next(source for source in code_cells() if words in source)
    exec(source, names)
    return names


@pytest.mark.parametrize(("secrets", "why"), [
    ({}, "AWS_ACCESS_KEY_ID from Colab's secrets: add it there"),
    ({"AWS_ACCESS_KEY_ID": KEY}, "AWS_SECRET_ACCESS_KEY from Colab's secrets: add it there"),
    ({"AWS_ACCESS_KEY_ID": None}, "AWS_ACCESS_KEY_ID from Colab's secrets: allow this notebook"),
    ("no UI", "AWS_ACCESS_KEY_ID from Colab's secrets: open the notebook in the browser"),
])  # fmt: skip
def test_missing_secrets_are_said(
    secrets: Any, why: str, stub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "environ", dict(os.environ))
    (stub / "secrets.json").write_text(json.dumps(secrets))
    with pytest.raises(RuntimeError, match=re.escape(why)) as caught:
        run_cell("userdata", os=os, store="s3://bucket/mimir")
    assert KEY not in str(caught.value)


def test_blanks_around_the_store_are_none_of_its_name(stub: Path) -> None:
    assert run_cell("userdata", os=os, store=" file:///srv/x ")["store"] == "file:///srv/x"


def test_code_that_is_not_what_was_submitted(stub: Path) -> None:
    (stub / "store" / "run" / "code").mkdir(parents=True)
    (stub / "store" / "run" / "code" / "x.whl").write_bytes(b"other")
    record = {"code": {"key": "run/code/x.whl", "size": 5, "sha256": "0" * 64}}
    (stub / "store" / "run" / "run.json").write_text(json.dumps(record))
    names = {
        "os": os,
        "run_name": "run",
        "code": "",
        "store": (stub / "store").as_uri(),
        "keep": None,
    }
    with pytest.raises(RuntimeError, match=r"run/code/x\.whl in the store is not what"):
        run_cell("def wheel_of_run", subprocess=subprocess, importlib=importlib, **names)
    names["run_name"] = "new"
    with pytest.raises(RuntimeError, match="That is no wheel"):
        run_cell("def wheel_of_run", subprocess=subprocess, importlib=importlib, **names)
    assert (stub / "calls").read_text() == "upload\n"


@pytest.mark.parametrize("source", ["upload", "drive", "store", "sample"])
def test_where_data_comes_from(source: str, stub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = jobs.write_data(stub / "data.csv", 20)
    store = open_store((stub / "store").as_uri())
    store.put("data/there.csv", b"sequence,label,target\n")
    (stub / "session").mkdir()
    (stub / "upload").mkdir()
    monkeypatch.chdir(stub / "upload")
    monkeypatch.setenv("STUB_UPLOAD", str(file))
    path = {"drive": "/content/drive/MyDrive/my.csv", "store": "data/there.csv"}.get(source, "")
    found = run_cell(
        "data_from ==", store=store.url, run_name="run",
        preset="smoke", options="", session_folder=stub / "session", data_from=source,
        data_path=path, keep=None, from_drive=None, wheel=None,
    )  # fmt: skip
    expected = {
        "upload": "data.csv", "drive": path, "store": str(stub / "session" / "there.csv"),
    }.get(source, "")  # fmt: skip
    assert found["data"] == expected
    assert expected in ("", path) or Path(expected).is_file()
    calls = stub / "calls"
    assert (calls.read_text() if calls.exists() else "") == {
        "upload": "upload\n", "drive": "mount /content/drive\n",
    }.get(source, "")  # fmt: skip


@pytest.mark.parametrize(("state", "store", "on_drive", "calls"), [
    ("done", "s3://b/p", None, "unassign\n"),
    ("running", "s3://b/p", None, ""),
    ("done", "file:///x", None, ""),
    ("done", "file:///x", True, "flush\nunassign\n"),
    ("done", "file:///x", False, ""),
])  # fmt: skip
def test_a_session_is_ended_when_all_is_safe(
    state: str, store: str, on_drive: bool | None, calls: str, stub: Path
) -> None:
    run_cell(
        "unassign", end_session=True, status=SimpleNamespace(state=state), store=store,
        keep=None if on_drive is None else stub, session=None,
        recall=SimpleNamespace(is_on_drive=lambda session: on_drive),
    )  # fmt: skip
    (stub / "calls").touch()
    assert (stub / "calls").read_text() == calls
