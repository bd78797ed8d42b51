"""sbatch's options: the cluster's are passed on as they are, Mimir's own are refused.

Nothing is asked for by default, because sites refuse jobs that name what they give by themselves.
They come from a file, from $MIMIR_SLURM and from the command line; of an option that is given
twice, sbatch takes the last.
"""

import argparse
import itertools
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from launch.contract import one_gpu
from mimir.errors import BadInput

VARIABLE = "MIMIR_SLURM"
LEAD = 120
"""Seconds before the time limit at which a job is told. Slurm may be a minute early."""
SHARE = 4
"""The lead is at most this part of the time limit: a job that is told at its start and asks to be
started again would do nothing else."""
SIGNALS = ("TERM", "USR1", "USR2")
_OURS = {
    "--job-name": "-J", "--output": "-o", "--error": "-e", "--array": "-a", "--export": "",
    "--export-file": "", "--open-mode": "", "--wait": "-W", "--wrap": "", "--clusters": "-M",
    "--get-user-env": "", "--input": "-i", "--test-only": "", "--parsable": "", "--comment": "",
    "--batch": "",
}  # fmt: skip
"""What Mimir says to sbatch itself, or what one job that is found by its name cannot have."""
_NO_JOB = {"--help": "-h", "--usage": "", "--version": "-V"}
"""With what sbatch prints something and submits nothing."""
_READ = ("--partition -p", "--time -t", "--signal", "--dependency -d")
_COUNTED = (
    "--nodes -N", "--ntasks -n", "--ntasks-per-node", "--gpus -G", "--gpus-per-node",
    "--gpus-per-task", "--gpus-per-socket", "--ntasks-per-gpu",
)  # fmt: skip
_KNOWN = (
    *_OURS, *_NO_JOB, *(each.split()[0] for each in (*_READ, *_COUNTED)),
    "--gres", "--requeue", "--no-requeue", "--chain",
)  # fmt: skip
_FLAGS = (
    "--consolidate-segments", "--contiguous", "--exclusive", "--help", "--hold", "--ignore-pbs",
    "--nice", "--no-kill", "--no-requeue", "--oom-kill-step", "--overcommit", "--oversubscribe",
    "--propagate", "--quiet", "--reboot", "--requeue", "--resv-ports", "--share", "--spread-job",
    "--spread-segments", "--stepmgr", "--usage", "--use-min-nodes", "--verbose", "--version",
    "--x11",
)  # fmt: skip
"""Of sbatch: what takes no value, or one after "=" alone. The word after it is none of its own."""
_SHORT_FLAGS = "HOQVhksv"


@dataclass(frozen=True)
class Options:
    """words: for sbatch. time: its limit in seconds, None if none is asked for. lead: seconds.

    requeue: whether the site may start the job again; else `chain` jobs go one after another.
    """

    words: tuple[str, ...]
    partition: str
    time: float | None
    signal: str
    lead: int
    lead_given: bool
    requeue: bool
    chain: int
    dependency: str

    def behind(self, jobs: Sequence[str]) -> list[str]:
        """The words for a job that may begin after the end of these, however they end.

        BadInput for a --dependency of the user's own that cannot be joined to that.
        """
        if not jobs:
            return []
        if "?" in self.dependency:
            raise BadInput(
                f"--dependency={self.dependency} holds alternatives, to which the sweep's own "
                "--at-once cannot be added: leave one of the two out"
            )
        own = "singleton" if self.chain else self.dependency
        return [f"--dependency={','.join(filter(None, (own, 'afterany:' + ':'.join(jobs))))}"]

    def lead_within(self, limit: float | None) -> int:
        """The lead for this limit in seconds, None for no limit; BadInput if it is too long."""
        if limit is None or self.lead <= limit / SHARE:
            return self.lead
        if not self.lead_given:
            return int(limit / SHARE)
        raise BadInput(
            f"--signal={self.signal}@{self.lead} is more than a quarter of the time limit "
            f"({limit:.0f} s), so that the job would hardly train: take a shorter lead or a longer "
            "--time"
        )


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise BadInput(f"Slurm's options are wrong: {message}")


def given(words: str, environ: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """All that was asked for: the user's own file, $MIMIR_SLURM and these words, in this order."""
    base = environ.get("XDG_CONFIG_HOME") or Path(environ.get("HOME") or Path.home()) / ".config"
    own = Path(base) / "mimir" / "slurm"
    texts = [_file(own) if own.is_file() else "", _text(environ.get(VARIABLE, "")), _text(words)]
    try:
        return tuple(word for text in texts for word in shlex.split(text, comments=True))
    except ValueError as error:
        raise BadInput(f"Slurm's options cannot be read: {error} (a quote is missing?)") from None


def parse(words: Sequence[str]) -> Options:
    """BadInput, naming it, for an option that Mimir sets itself or that asks for several GPUs, and
    for what sbatch might read otherwise than Mimir does."""
    _must_be_options(words)
    parser = _Parser(prog="sbatch", add_help=False, allow_abbrev=False)
    for name, short in _NO_JOB.items():
        parser.add_argument(*filter(None, (name, short)), dest=name, action="store_true")
    for name, short in _OURS.items():
        flags = [name, short] if short else [name]
        parser.add_argument(*flags, dest=name, nargs="?", const="", default=None)
    for name in _READ:
        parser.add_argument(*name.split())
    for name in _COUNTED:
        parser.add_argument(*name.split(), dest=name.split()[0])
    parser.add_argument("--gres", action="append", default=[])
    parser.add_argument("--requeue", action="store_true")
    parser.add_argument("--no-requeue", action="store_true")
    parser.add_argument("--chain", type=int, default=0)
    found, _ = parser.parse_known_args(list(words))
    for name in _OURS:
        if getattr(found, name) is not None:
            raise BadInput(f"{name} is what Mimir says to sbatch itself: leave it out")
    for name in _NO_JOB:
        if getattr(found, name):
            raise BadInput(f"with {name} sbatch submits no job: leave it out")
    for name in (each.split()[0] for each in _COUNTED):
        value = getattr(found, name)
        if value is not None:
            one_gpu.only(_last_number(value, name), f"{name}={value}")
    for gres in found.gres:
        for each in gres.split(","):
            if each.split(":")[0].removeprefix("gres/") == "gpu":
                one_gpu.only(_last_number(each, "--gres"), f"--gres={each}")
    if found.chain < 0 or (found.chain and not found.no_requeue) or found.chain == 1:
        raise BadInput("--chain is for sites that start no job again: say --no-requeue --chain=N, "
                       "N jobs of two or more, one after the other")  # fmt: skip
    if found.chain and found.dependency:
        raise BadInput("--chain makes --dependency=singleton: leave your own --dependency out")
    signal, lead = _signal(found.signal)
    return Options(
        _without_chain(words), found.partition or "", seconds(found.time) if found.time else None,
        signal, lead or LEAD, bool(lead), not found.no_requeue, found.chain,
        found.dependency or "",
    )  # fmt: skip


def without_own(words: Sequence[str]) -> list[str]:
    """The words without what Mimir says to sbatch from what was parsed of it."""
    kept, skip = [], False
    for word in words:
        if skip:
            skip = False
        elif word == "--signal":
            skip = True
        elif not (word in ("--requeue", "--no-requeue") or word.startswith("--signal=")):
            kept.append(word)
    return kept


def _must_be_options(words: Sequence[str]) -> None:
    """BadInput for a word that is neither an option nor its value, for an abbreviation of what
    Mimir reads, and for several short options in one word: nothing of these would be checked."""
    takes = False
    for word in words:
        name, equals, _ = word.partition("=")
        if not word.startswith("-") or word in ("-", "--"):
            if not takes or word == "--":
                raise BadInput(
                    f"{word!r} is no option of sbatch, which would take it as the job's script: "
                    "leave it out (--slurm @FILE reads the #SBATCH lines of a script)"
                )
            takes = False
        elif word.startswith("--"):
            full = [each for each in _KNOWN if each.startswith(name)]
            if full and name not in full:
                raise BadInput(f"{name} is short for {' or '.join(full)}: write it in full")
            takes = not equals and not any(flag.startswith(name) for flag in _FLAGS)
        elif word[1] in _SHORT_FLAGS and len(word) > 2:
            raise BadInput(f"{word} is several options in one word: write each as one of its own")
        else:
            takes = len(word) == 2 and word[1] not in _SHORT_FLAGS


def seconds(text: str) -> float | None:
    """Slurm's way to write a time: minutes, M:S, H:M:S, D-H, D-H:M, D-H:M:S; None for no limit."""
    if text.upper() in ("UNLIMITED", "INFINITE", "NONE"):
        return None
    match = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", text)
    if not match:
        raise BadInput(f"--time={text} is no time: write it as H:M:S or D-H:M:S")
    days, *rest = match.groups()
    numbers = [int(each) for each in rest if each is not None]
    if days is not None:
        hours, minutes, secs = [*numbers, 0, 0][:3]
    elif len(numbers) == 3:
        hours, minutes, secs = numbers
    else:
        hours, minutes, secs = 0, numbers[0], [*numbers, 0][1]
    found = 86400.0 * int(days or 0) + 3600 * hours + 60 * minutes + secs
    return found or None  # Slurm takes 0 for no limit


def _signal(text: str | None) -> tuple[str, int]:
    """(name, seconds) of --signal, seconds 0 where none are said."""
    if not text:
        return "TERM", 0
    match = re.fullmatch(r"(?:[RB]{1,2}:)?(?:SIG)?([A-Z0-9]+)(?:@(\d{1,5}))?", text)
    if not match or match[1] not in SIGNALS:
        raise BadInput(f"--signal={text}: write it as {'|'.join(SIGNALS)}@SECONDS")
    return match[1], int(match[2] or 0)


def gpu_of(words: Sequence[str]) -> str:
    """What these options call the GPU that they ask for, "" if they name none."""
    found = ""
    for word, value in itertools.zip_longest(words, words[1:], fillvalue=""):
        name, equals, after = word.partition("=")
        asked = after if equals else value
        if name == "--gres":
            for each in asked.split(","):
                kind, *rest = each.removeprefix("gres/").split(":")
                if kind == "gpu" and len(rest) > 1:
                    found = rest[0]
        elif name in ("--gpus", "-G", "--gpus-per-node", "--gpus-per-task") and ":" in asked:
            found = asked.split(":")[0]
    return found


def _last_number(value: str, name: str) -> int:
    """The count in "2", "h100:2", "gpu:h100:2(S:0)", "1-4"; 1 where there is none."""
    last = re.sub(r"\(.*\)$", "", value).split(":")[-1].rpartition("-")[2]
    return int(last) if last.isascii() and last.isdigit() else 1


def _without_chain(words: Sequence[str]) -> tuple[str, ...]:
    kept, skip = [], False
    for word in words:
        if skip:
            skip = False
        elif word == "--chain":
            skip = True
        elif not word.startswith("--chain="):
            kept.append(word)
    return tuple(kept)


def _text(words: str) -> str:
    """The words, or what stands in the file that "@FILE" names."""
    return _file(Path(words[1:]).expanduser()) if words.startswith("@") else words


def _file(path: Path) -> str:
    """Of a job script, its #SBATCH lines; else lines of options, with # for comments."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"Slurm's options cannot be read from {path}: {error}") from None
    marked = [line.removeprefix("#SBATCH") for line in lines if line.startswith("#SBATCH")]
    return "\n".join(marked or (line for line in lines if not line.startswith("#")))
