"""The timer that runs `watch --once`: what it holds, and that what it starts does what it is for.

systemctl, launchctl and crontab are stand-ins that keep their state in a file.
"""

import json
import os
import plistlib
import shlex
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from launch.commands.watch import watch
from launch.providers import registry
from launch.providers.gcp import token
from launch.supervise import timed, timer
from mimir.errors import BadInput
from mimir.runs.store import open_store
from tests.launch.providers.conformance.toy.harness import ROW
from tests.waiting import LIMIT

SECRETS = {"RUNPOD_API_KEY": "rp-secret", "AWS_SECRET_ACCESS_KEY": "aws-secret"}
TOOLS = {
    "systemctl": """
case "$*" in
  *show-environment) exit 0 ;;
  *restart*) echo on > "$STATE" ;;
  *disable*) rm -f "$STATE" ;;
  *is-active*) [ -s "$STATE" ] ;;
esac""",
    "launchctl": """
case "$1" in
  bootstrap) [ ! -s "$STATE" ] && [ -s "$3" ] && echo on > "$STATE" ;;
  bootout) rm -f "$STATE" ;;
  print) [ -s "$STATE" ] ;;
esac""",
    "crontab": """
case "$1" in
  -l) [ -e "$STATE" ] || { echo "no crontab for me" >&2; exit 1; }; cat "$STATE" ;;
  -) cat > "$STATE.new"; mv "$STATE.new" "$STATE" ;;
esac""",
}
REFUSES = """\
case "$*" in *{}*) if [ -e "$REFUSE" ]; then rm "$REFUSE"; echo "it may not" >&2; exit 1; fi;; esac
"""
"""Once, if the file $REFUSE is there."""
KINDS = {
    "systemctl": (timer.Systemd, "restart"),
    "launchctl": (timer.Launchd, "bootstrap"),
    "crontab": (timer.Cron, "-"),
}


class Computer:
    """One with one of the three."""

    def __init__(self, tool: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.tool, self.folder, self.state = tool, folder, folder / "state of it"
        self.url = open_store((folder / "100% store").as_uri()).url
        tools = folder / "tools"
        tools.mkdir()
        refuses = REFUSES.format(KINDS[tool][1]).replace("*-*", "-")
        (tools / tool).write_text(f"#!/bin/sh\n{refuses}{TOOLS[tool]}\n")
        (tools / tool).chmod(0o700)
        for each in ("sh", "cat", "rm", "mv"):
            (tools / each).symlink_to(str(shutil.which(each)))
        for name in list(os.environ):
            if name.startswith(timer.PREFIXES):
                monkeypatch.delenv(name)
        for name, value in {
            **SECRETS, "PYTHONPATH": str(folder / "other code"), "HOME": str(folder),
            "PATH": str(tools), "STATE": str(self.state), "REFUSE": str(folder / "refuse"),
            "XDG_STATE_HOME": str(folder / "my state"), "XDG_CONFIG_HOME": str(folder / "config"),
            "UNRELATED_TOKEN": "unrelated",
        }.items():  # fmt: skip
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "platform", "darwin" if tool == "launchctl" else "linux")

    def held(self) -> dict[str, str]:
        """What others may read of the timer: its files, and the tool's own."""
        shown = [*self.folder.glob("config/**/*"), *self.folder.glob("Library/**/*"), self.state]
        return {path.name: path.read_text() for path in shown if path.is_file()}

    def argv(self) -> list[str]:
        """What it starts, as its own file says."""
        if self.tool == "systemctl":
            (path,) = self.folder.glob("config/systemd/user/*.service")
            (line,) = [e for e in path.read_text().splitlines() if e.startswith("ExecStart=")]
            return shlex.split(line.partition("=")[2].replace("%%", "%").replace("$$", "$"))
        if self.tool == "launchctl":
            (path,) = self.folder.glob("Library/LaunchAgents/*.plist")
            told: list[str] = plistlib.loads(path.read_bytes())["ProgramArguments"]
            return told
        (line,) = [e for e in self.state.read_text().splitlines() if "mimir" in e]
        command = line.split(" ", 5)[5].replace("\\%", "%")
        return ["/bin/sh", "-c", command]


@pytest.fixture(params=list(KINDS))
def computer(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Computer:
    return Computer(request.param, tmp_path, monkeypatch)


def test_what_it_installs_runs_a_round(
    computer: Computer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert timer.check(computer.url).status == "warn"
    watch(install=True, store=computer.url)
    said = capsys.readouterr().out
    assert KINDS[computer.tool][0].title in said
    assert "RUNPOD_API_KEY" in said
    file = timer.file_of(computer.url)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    given = json.loads(file.read_text())["environ"]
    assert given["MIMIR_STORE"] == computer.url
    assert SECRETS.items() <= given.items()
    assert "UNRELATED_TOKEN" not in given
    everything = "".join([said, *computer.held().values(), *computer.argv()])
    assert not [secret for secret in SECRETS.values() if secret in everything]
    assert "has not run yet" in timer.check(computer.url).details
    bare = {"HOME": str(computer.folder), "PATH": os.defpath}
    # Another Mimir stands first where the user's Python looks: it is not what was installed.
    other = computer.folder / "other code" / "launch"
    other.mkdir(parents=True)
    (other / "__main__.py").write_text("raise SystemExit('another Mimir')")
    (other / "__init__.py").touch()
    done = subprocess.run(
        computer.argv(), env=bare, cwd=computer.folder, check=False, timeout=LIMIT
    )
    assert done.returncode == 0
    assert "no run of file:///" in timed.log(file).read_text()
    found = timer.check(computer.url)
    assert (found.status, "last ran" in found.details) == ("ok", True)


def test_its_rounds_get_what_providers_and_store_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A provider's row says what; nothing here knows it by name."""
    known = ["AWS_PROFILE", "CLOUDSDK_CONFIG", "COLAB_CLI_PATH", "GOOGLE_APPLICATION_CREDENTIALS",
             "LAMBDA_API_KEY", "MIMIR_STORE", "SLURM_CONF"]  # fmt: skip
    new = ["TOY_API_KEY", "TOY_HOME", "TOY_ZONE_A"]
    environ = dict.fromkeys([*known, *new, "TOY_ZONE", "OTHER"], "set")
    assert sorted(timer.variables(environ)) == known
    monkeypatch.setitem(registry.ROWS, "toy", replace(ROW, reads=("TOY_HOME", "TOY_ZONE_")))
    assert sorted(timer.variables(environ)) == sorted([*known, *new])
    registry.get.cache_clear()


def test_a_second_one_replaces_the_first_and_none_is_left(computer: Computer) -> None:
    computer.state.write_text("0 1 * * * mine\n" if computer.tool == "crontab" else "")
    timer.install(computer.url, {"VAST_API_KEY": "old"})
    first = computer.held()
    timer.install(computer.url, {"VAST_API_KEY": "new"})
    assert computer.held() == first
    assert "new" in timer.file_of(computer.url).read_text()
    assert timer.uninstall(computer.url) is True
    left = "0 1 * * * mine\n" if computer.tool == "crontab" else ""
    assert "".join(computer.held().values()) == left
    assert not list((computer.folder / "my state").rglob("*.json"))
    assert timer.uninstall(computer.url) is False


@pytest.mark.parametrize("earlier", [False, True])
def test_what_is_refused_leaves_all_as_it_was(earlier: bool, computer: Computer) -> None:
    if earlier:
        timer.install(computer.url, {"VAST_API_KEY": "old"})
    before = computer.held()
    (computer.folder / "refuse").touch()
    with pytest.raises(BadInput, match="it may not"):
        timer.install(computer.url, {"VAST_API_KEY": "new"})
    file = timer.file_of(computer.url)
    assert file.exists() is earlier
    assert not earlier or "old" in file.read_text()
    assert {name: text for name, text in computer.held().items() if text.strip()} == before


def test_a_crontab_that_cannot_be_read_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    computer = Computer("crontab", tmp_path, monkeypatch)
    tool = tmp_path / "tools" / "crontab"
    tool.write_text(
        f'#!/bin/sh\n[ "$1" = - ] && echo > "{computer.state}"\necho busy >&2; exit 1\n'
    )
    with pytest.raises(BadInput, match="cannot be read: busy"):
        timer.install(computer.url, {})
    assert not computer.state.exists()
    assert not timer.file_of(computer.url).exists()


def test_a_computer_with_none_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(BadInput, match="keep `python -m launch watch` running"):
        timer.install("s3://bucket/runs", {})


@pytest.mark.parametrize(
    ("age", "code", "status", "words"),
    [
        (60, 0, "ok", "last ran 1.0 min ago"),
        (60, 75, "fail", "ended with 75: there is no key"),
        (timer.LATE + 1, 0, "warn", "crontab"),
    ],
)
def test_doctor_says_whether_it_ran(
    age: float, code: int, status: str, words: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    computer = Computer("crontab", tmp_path, monkeypatch)
    timer.install(computer.url, {})
    made = {"time": 1000.0, "code": code, "said": "there is no key"}
    timed.record(timer.file_of(computer.url)).write_text(json.dumps(made))
    found = timer.check(computer.url, lambda: 1000.0 + age)
    assert found.status == status
    assert words in found.details


TOKEN = {"MIMIR_GCP_PROJECT": "p", "CLOUDSDK_AUTH_ACCESS_TOKEN": "t"}


@pytest.mark.parametrize(
    ("environ", "signed_in", "said"),
    [
        (TOKEN, False, True),
        (TOKEN, True, False),
        ({**TOKEN, "GOOGLE_APPLICATION_CREDENTIALS": "key.json"}, False, False),
        ({**TOKEN, "MIMIR_GCP_PROJECT": ""}, False, False),
        ({"MIMIR_GCP_PROJECT": "p"}, False, False),
    ],
)
def test_a_credential_that_ends_before_the_rounds_is_told(
    environ: dict[str, str], signed_in: bool, said: bool, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """No round gets the token: it lasts for an hour."""
    monkeypatch.setattr(token, "has_google_auth", lambda: True)
    for name in ("GOOGLE_APPLICATION_CREDENTIALS", "CLOUDSDK_CONFIG", *TOKEN):
        monkeypatch.delenv(name, raising=False)
    computer = Computer("crontab", tmp_path, monkeypatch)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    if signed_in:
        (tmp_path / ".config" / "gcloud").mkdir(parents=True)
        (tmp_path / ".config" / "gcloud" / token.SIGNED_IN).write_text("{}")
    watch(install=True, store=computer.url)
    assert "CLOUDSDK_AUTH_ACCESS_TOKEN" not in timer.file_of(computer.url).read_text()
    told = [line for line in capsys.readouterr().out.splitlines() if "only credential" in line]
    assert len(told) == (1 if said else 0)
    remedy = "sign in by `gcloud auth application-default login`"
    assert all(line.startswith("note: ") and remedy in line for line in told)


def test_a_login_that_no_library_can_read_lasts_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environ = {"HOME": str(tmp_path), "GOOGLE_APPLICATION_CREDENTIALS": "key.json"}
    monkeypatch.setattr(token, "has_google_auth", lambda: False)
    assert not token.lasts(environ)


@pytest.mark.parametrize("words", [{"install": True, "uninstall": True}, {"once": True}])
def test_it_is_for_the_whole_store(words: dict[str, bool], tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="for the whole store"):
        watch(**{"install": True, **words}, store=tmp_path.as_uri())


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze")
def test_systemd_takes_the_units(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verify: Callable[[Path], str]
) -> None:
    computer = Computer("systemctl", tmp_path, monkeypatch)
    timer.install(computer.url, {})
    for path in (tmp_path / "config" / "systemd" / "user").iterdir():
        assert verify(path) == ""


@pytest.fixture
def verify() -> Callable[[Path], str]:
    """What systemd says of a unit of ours, "" if it is content."""
    tool = str(shutil.which("systemd-analyze"))

    def verified(path: Path) -> str:
        done = subprocess.run(
            [tool, "--user", "verify", str(path)], capture_output=True, text=True, check=False,
            env={**os.environ, "PATH": os.defpath}, timeout=LIMIT,
        )  # fmt: skip
        return "".join(line for line in done.stderr.splitlines() if path.name in line)

    return verified
