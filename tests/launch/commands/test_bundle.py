"""bundle: all that a report of a bug needs, and nothing private, wherever it was planted."""

import base64
import getpass
import io
import json
import platform
import zipfile
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest

from launch.commands.bundle import bundle
from launch.contract.provider import Check
from launch.report import bundle as bundles
from launch.report import private
from launch.report.private import Private
from mimir.errors import BadInput, Corrupt
from mimir.runs import layout, notes
from mimir.runs.begin import raise_attempt
from mimir.runs.commit import Attempt
from mimir.runs.hosts import Hosts
from mimir.runs.machine import Machine
from mimir.runs.notes import Heartbeat, Outcome
from mimir.runs.order import Order, Plan
from mimir.runs.parts import PartWriter
from mimir.runs.store import Store
from tests.launch.paper import offer
from tests.launch.report.made import begun

SECRETS = {
    "RUNPOD_API_KEY": "PLANTEDq8Zr2wXk4Vt6Ly0Nm3Jb5",
    "AWS_SECRET_ACCESS_KEY": "PLANTED/wJalrXUtnFEMI+K7MDENGbPxRfiCY",
    "AWS_ACCESS_KEY_ID": "PLANTEDKEYIDOFSOMEBODY",
    "MIMIR_NOTIFY": "https://ntfy.example/PLANTED-topic-of-mine",
    "MIMIR_REGISTRY_PASSWORD": "PLANTED pass word 1",
    "WHAT_IS_THIS": "PLANTEDunknown7d2c9f",
}
FILE = "PLANTEDinTheFile0123456789"
SHAPES = (
    "AKIAPLANTED012345678", "ghp_PLANTED0123456789abcdef", "hf_PLANTED0123456789abcdef",
    "xoxb-PLANTED-0123456789", "eyJhbGciOiJIUzI1.eyJQTEFOVEVEIjox.PLANTEDsignature",
    "https://me:PLANTEDword@registry.example/x", "password: PLANTEDword7",
    "https://hooks.slack.com/services/PLANTED/B0/xyz", "Authorization: Bearer PLANTED.token.9",
    "-----BEGIN RSA PRIVATE KEY-----\nPLANTEDline1\nPLANTED2\n-----END RSA PRIVATE KEY-----",
    "https://s3.example/x?X-Amz-Signature=PLANTED0123&X-Amz-Credential=PLANTED%2F2026",
    "PLANTED.person@uni.example", "arn:aws:iam::424242424242:role/mine",
)  # fmt: skip
PEPTIDE = "WWPLANTEDWW"
FORBIDDEN = ("PLANTED", "UExBTlRFR", "424242424242", "plantedperson", "plantedhost")


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A computer that is full of secrets."""
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    kept = tmp_path / "keys.ini"
    kept.write_text(f"[default]\naws_secret_access_key = {FILE}\n")
    monkeypatch.setenv("MIMIR_CREDENTIALS_FILE", str(kept))
    monkeypatch.setattr(getpass, "getuser", lambda: "plantedperson")
    monkeypatch.setattr(platform, "node", lambda: "plantedhost")
    home = tmp_path / "home" / "plantedperson"
    monkeypatch.setenv("HOME", str(home))
    return home


@pytest.fixture
def store(tmp_path: Path, home: Path) -> Store:
    """A run of which each document of people and machines has all of these somewhere."""
    store = begun(tmp_path)
    every = [
        *SECRETS.values(),
        FILE,
        *SHAPES,
        f"{home}/data.csv",
        "run by plantedperson on plantedhost",
    ]
    encoded = [quote(FILE, safe=""), base64.b64encode(FILE.encode()).decode(), json.dumps(FILE)]
    text = "\n".join((*every, *encoded))
    plan = Plan(("runpod",), hosts=Hosts(), options=tuple(every[:3]))
    order = replace(Order("runpod", plan, store.now(), offer(0.5)), by=text[:400])
    number = raise_attempt(store, "run", order)
    machine = Machine(
        "runpod", store.now(), SECRETS["RUNPOD_API_KEY"], gpu="RTX", host="plantedhost"
    )
    notes.record_machine(store, "run", number, machine)
    attempt = Attempt.claim(store, "run", number)
    log = PartWriter(store, layout.attempt_prefix("run", number), "log")
    log.flush(f"step 1\n{text}\nstep 2\n" + "\x1b[2J" + "".join(f"line {n}\n" for n in range(50)))
    rows = PartWriter(store, layout.attempt_prefix("run", number), "metrics")
    rows.flush(json.dumps({"step": 1, "loss": 2.5, "samples": [PEPTIDE]}) + "\n")
    notes.write_heartbeat(store, "run", number, Heartbeat(store.now(), 1, 10, device=text[:300]))
    attempt.commit(1, b"PLANTEDweights", None)
    notes.record_outcome(store, "run", number, Outcome(75, text[:300], store.now(), 1))
    return store


def unpacked(content: bytes) -> dict[str, str]:
    with zipfile.ZipFile(io.BytesIO(content)) as made:
        assert made.testzip() is None
        names = [info.filename for info in made.infolist()]
        assert all(name.startswith("bundle/") for name in names)
        return {name.removeprefix("bundle/"): made.read(name).decode() for name in names}


def test_nothing_that_was_planted_is_in_it(
    store: Store,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = Check("runpod", "fail", "refused: " + " ".join((*SECRETS.values(), *SHAPES)))
    monkeypatch.setattr(
        "launch.doctor.examine", lambda url, names: [told] if names == ["runpod"] else []
    )
    out = tmp_path / "bug.zip"
    bundle("run", out=str(out), store=store.url, json=True)
    files = unpacked(out.read_bytes())
    for name, text in files.items():
        for word in FORBIDDEN:
            assert word not in text, (name, text[max(0, text.find(word) - 60) :][:160])
        assert "\x1b" not in text
    body = json.loads(capsys.readouterr().out)
    assert [each["name"] for each in body["files"]] == list(files)
    for name in files:
        assert name == "README.txt" or name in files["README.txt"]
    assert "step 1" in files["log-a0001.txt"]
    assert "line 49" in files["log-a0001.txt"]
    assert json.loads(files["record.json"])["config"]["model"]["dim"] == 16
    assert json.loads(files["head.json"])["attempt"] == 1
    status = json.loads(files["status.json"])
    assert status["attempts"][0]["order"]["provider"] == "runpod"
    assert status["attempts"][0]["exit_code"] == 75
    assert json.loads(files["metrics.jsonl"]) == {"step": 1, "loss": 2.5}
    assert json.loads(files["doctor.json"])[0]["status"] == "fail"
    assert json.loads(files["versions.json"])["packages"]["numpy"]
    assert {*SECRETS} <= set(files["environment.txt"].split())
    assert "attempt 1: ordered from runpod" in files["events.txt"]


def test_lines_of_the_log_are_its_last(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "bug.zip"
    bundle("run", out=str(out), store=store.url, lines=3, checks=False)
    files = unpacked(out.read_bytes())
    assert files["log-a0001.txt"] == "line 47\nline 48\nline 49\n"
    listed = capsys.readouterr().err.splitlines()
    assert listed == next(iter(files.values())).rstrip().splitlines()


def test_what_is_broken_hides_nothing_else(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(*args: object) -> None:
        raise Corrupt(f"HEAD is damaged by {FILE}")

    monkeypatch.setattr(bundles, "read_head", lost)
    monkeypatch.setattr(bundles, "derive", lost)
    found = bundles.entries(
        store, "run", private=private.of_this_computer(), lines=5, checks=[], environ={}
    )
    told = {each.name: each.content.decode() for each in found}
    assert json.loads(told["head.json"]) == {"could not be read": "HEAD is damaged by …"}
    assert "could not be read" in told["status.json"]
    assert "line 49" in told["log-a0001.txt"]
    assert json.loads(told["record.json"])["name"] == "run"


def test_the_same_files_give_the_same_archive() -> None:
    files = [bundles.Entry("a.txt", "it", b"x")]
    assert bundles.archive(files) == bundles.archive(files)


def test_ordinary_words_stay() -> None:
    known = Private(private.secrets_of({"PATH": "/usr/bin:/bin", "LANG": "en_US.UTF-8"}), "/root",
                    {"USER": "root", "HOST": "localhost"})  # fmt: skip
    text = "root of localhost: step 12 of 300 in /root/x by en_US.UTF-8, sk-learn, hf_hub, eyJ"
    assert known.clean(text) == text.replace("/root/x", "~/x")


@pytest.mark.parametrize(
    ("words", "says"),
    [({"name": "nothing"}, "there is no run nothing"), ({"name": "../x"}, "run name"),
     ({"name": "run", "lines": -1}, "--lines is -1,"), ({"name": "run", "out": "/no/x.zip"}, "/no"),
     ({"name": "run", "out": "-", "json": True}, "leave out --json")],
)  # fmt: skip
def test_bad_words(store: Store, words: dict[str, object], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        bundle(store=store.url, **words)  # type: ignore[arg-type]
