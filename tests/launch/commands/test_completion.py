"""The completion scripts: bash's is asked for words by a real bash, the others by their shells
where these are installed."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from launch.commands import TREE
from launch.commands.completion import completion
from launch.ui.shells import SCRIPTS
from mimir import cli, commands, config
from mimir.errors import BadInput
from mimir.output.samples import FORMATS
from tests import ROOT
from tests.waiting import LIMIT

ASK = """
source "$1"; shift
for line; do
    COMP_LINE="$line"; COMP_POINT=${#line}
    read -ra COMP_WORDS <<<"${line//=/ = }"
    [[ $line == *" " || $line == *= ]] && COMP_WORDS+=("")
    COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); COMPREPLY=()
    _mimir
    echo "${COMPREPLY[*]}"
done
"""
"""As bash calls the function: words are split at `=`, too."""


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("completion")
    made = {}
    for shell in SCRIPTS:
        done = subprocess.run(
            [sys.executable, "-c", "from launch.__main__ import mimir; mimir()", "completion",
             shell],
            cwd=ROOT, capture_output=True, text=True, timeout=LIMIT, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        made[shell] = folder / shell
        made[shell].write_text(done.stdout)
    return made


@pytest.fixture
def home(tmp_path: Path) -> Path:
    runs = tmp_path / "home" / ".local" / "share" / "mimir" / "runs"
    for name in ("first", "second-0_1", "_launcher", "Odd;touch x", "$(touch y)"):
        (runs / name).mkdir(parents=True)
    (tmp_path / "other store" / "third").mkdir(parents=True)
    (tmp_path / "files").mkdir()
    for name in ("own.yaml", "my data.csv"):
        (tmp_path / "files" / name).write_text("")
    return tmp_path


def asked(script: Path, home: Path, *lines: str, **more: str) -> list[set[str]]:
    done = subprocess.run(
        ["bash", "--norc", "-c", ASK, "bash", str(script), *lines], cwd=home / "files", text=True,
        env={"HOME": str(home / "home"), "PATH": "/usr/bin:/bin", **more}, capture_output=True,
        timeout=LIMIT, check=False,
    )  # fmt: skip
    assert done.stderr == ""
    assert sorted(each.name for each in (home / "files").iterdir()) == ["my data.csv", "own.yaml"]
    return [set(line.split()) for line in done.stdout.splitlines()]


def test_bash_completes_commands_options_and_values(scripts: dict[str, Path], home: Path) -> None:
    presets = set(config.preset_names())
    wanted = {
        "mimir ": {*TREE, *commands.TREE, "--on", "--via", "--help", "--version"},
        "mimir su": {"submit"},
        "mimir data ve": {"verify"},
        "mimir --on me@login sta": {"status"},
        "mimir submit --max-h": {"--max-hours"},
        "mimir submit --checkpoint-m": {"--checkpoint-minutes"},  # a setting
        "mimir submit --yes --preset ": presets | {"own.yaml", "my", "data.csv"},
        "mimir submit --preset sm": {"small", "smoke"},
        "mimir train --preset=sm": {"small", "smoke"},
        "mimir submit --provider run": {"runpod"},
        "mimir submit --provider runpod,va": {"runpod,vastai"},
        "mimir runs --state ali": {"alive"},
        "mimir runs --sort na": {"name"},
        "mimir submit --max-hours ": set(),
        "mimir status ": {"first", "second-0_1"},
        "mimir status first se": {"second-0_1"},
        "mimir sample --run fi": {"first"},
        "mimir sample --format c": {"csv"},
        "mimir sample --label int": {"interacting"},
        "mimir runs --label ": set(),  # one of the same name, with words of the user's own
        "mimir sweep --name ": set(),
        "mimir data verify o": {"own.yaml"},
        "mimir cluster setup --no": {"--no-probe"},
        "mimir completion z": {"zsh"},
        "mimir cluster ": {"setup", "probe"},
        f"mimir status --store file://{home}/other%20store ": {"third"},
        "mimir status --store s3://bucket/prefix ": set(),
        "mimir nothing ": {*TREE, *commands.TREE, "--on", "--via", "--help", "--version"},
    }
    found = asked(scripts["bash"], home, *wanted)
    assert dict(zip(wanted, found, strict=True)) == wanted


def test_bash_finds_the_store_that_the_environment_names(
    scripts: dict[str, Path], home: Path
) -> None:
    (found,) = asked(scripts["bash"], home, "mimir logs ", XDG_DATA_HOME=str(home / "none"))
    assert found == set()
    store = (home / "other store").as_uri()
    assert asked(scripts["bash"], home, "mimir logs ", MIMIR_STORE=store) == [{"third"}]
    assert asked(scripts["bash"], home, "mimir logs ", MIMIR_STORE="s3://bucket/x") == [set()]


@pytest.mark.parametrize("shell", SCRIPTS)
def test_each_script_is_one_of_its_shell(scripts: dict[str, Path], shell: str) -> None:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"no {shell} here")
    done = subprocess.run(
        [program, "-n", str(scripts[shell])], capture_output=True, text=True, check=False,
        timeout=LIMIT,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


def test_no_function_of_a_script_is_another_ones(scripts: dict[str, Path]) -> None:
    """A command's name must not hide a helper of the same name."""
    for script in scripts.values():
        names = re.findall(r"^(?:function )?(_\w+)(?:\(\) \{)?$", script.read_text(), re.M)
        assert len(set(names)) == len(names) > 1, script


def test_fish_completes_the_same(scripts: dict[str, Path], home: Path) -> None:
    program = shutil.which("fish")
    if program is None:
        pytest.skip("no fish here")
    wanted = {
        "mimir data ve": {"verify"}, "mimir submit --preset sm": {"small", "smoke"},
        "mimir --on me@login sta": {"status"}, "mimir submit --max-h": {"--max-hours"},
        "mimir status ": {"first", "second-0_1"}, "mimir submit --max-hours ": set(),
        "mimir sample --run fi": {"first"}, "mimir completion z": {"zsh"},
    }  # fmt: skip
    ask = "source $argv[1]; for line in $argv[2..]; echo (complete -C $line | cut -f 1); end"
    done = subprocess.run(
        [program, "--no-config", "-c", ask, str(scripts["fish"]), *wanted], cwd=home / "files",
        env={**os.environ, "HOME": str(home / "home")}, capture_output=True, text=True,
        timeout=LIMIT, check=False,
    )  # fmt: skip
    found = [set(line.split()) for line in done.stdout.splitlines()]
    assert (dict(zip(wanted, found, strict=True)), done.stderr) == (wanted, "")


@pytest.mark.parametrize("shell", SCRIPTS)
def test_each_script_has_every_option(scripts: dict[str, Path], shell: str) -> None:
    text = scripts[shell].read_text()
    for tree in (TREE, commands.TREE):
        for name in tree:
            assert name in text
    dashes = "-l {}" if shell == "fish" else "--{}"
    for name in ("max-hours", "lr", "peptides", "targets-fasta", "no-probe"):
        assert dashes.format(name) in text


def test_words_that_stand_twice_agree() -> None:
    from launch.ui.completion import values

    assert set(values()["format"]) == set(FORMATS)
    for words in values().values():
        assert all(word.replace("-", "").isalnum() for word in words), "no shell needs a quote"


def test_it_imports_nothing_heavy(scripts: dict[str, Path]) -> None:
    code = (
        "import sys; from launch.commands.completion import completion; completion('bash')\n"
        "assert not {'torch', 'boto3', 'numpy', 'httpx'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False,
        timeout=LIMIT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_another_shell_is_refused() -> None:
    with pytest.raises(BadInput, match="there is no script for 'zhs'; did you mean 'zsh'"):
        completion("zhs")
    with pytest.raises(BadInput, match="needs SHELL"):
        cli.check_words("mimir completion", completion, [])
