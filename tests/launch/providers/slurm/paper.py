"""Slurm's commands on paper: jobs that exist in a list, and faults that a test arms."""

import subprocess
from typing import Any

HEAD = ("PartitionName=gpu Default=YES DefaultTime=01:00:00 MaxTime=2:00:00 State=UP\n"
        "PartitionName=long Default=NO DefaultTime=NONE MaxTime=UNLIMITED State=UP\n")  # fmt: skip
SLOW, LOST, DOWN = "slow", "lost", "slurm_load_jobs error: Unable to contact slurm controller"


class Paper:
    """A `subprocess.run`. jobs: number -> what squeue shows of it, and `batch`: what it asked for.

    once, always: command -> a fault, or what it prints to stderr while it fails. immortal: jobs
    stay whatever is asked. calls: argv and environment of all commands.
    """

    def __init__(self) -> None:
        self.jobs: dict[str, dict[str, Any]] = {}
        self.once: dict[str, str] = {}
        self.always: dict[str, str] = {}
        self.immortal = False
        self.calls: list[tuple[list[str], dict[str, str]]] = []
        self.broken_line = ""

    def orders(self) -> int:
        return sum(
            1 for words, _ in self.calls if words[0] == "sbatch" and "--test-only" not in words
        )

    def run(self, words: list[str], **how: Any) -> "subprocess.CompletedProcess[str]":
        self.calls.append((words, how["env"]))
        command = words[0]
        asks_only = "--test-only" in words
        fault = None if asks_only else self.once.pop(command, None) or self.always.get(command)
        if fault == SLOW:
            raise subprocess.TimeoutExpired(words, 60)
        if fault not in (None, LOST):
            return subprocess.CompletedProcess(words, 1, "", f"{command}: error: {fault}\n")
        out = "" if asks_only else getattr(self, f"_{command}")(words[1:], how.get("input", ""))
        if fault == LOST:
            raise subprocess.TimeoutExpired(words, 60)
        return subprocess.CompletedProcess(words, 0, out, "")

    def add(self, name: str, word: str = "RUNNING", **more: str) -> str:
        number = str(len(self.jobs) + 1)
        self.jobs[number] = {"name": name, "word": word, "reason": "None", **more}
        return number

    def _sbatch(self, words: list[str], text: str) -> str:
        name = next(word for word in words if word.startswith("--job-name=")).partition("=")[2]
        return f"{self.add(name, batch=text)}\n"

    def _squeue(self, words: list[str], text: str) -> str:
        asked = [word.partition("=")[2] for word in words if word.startswith("--name=")]
        shown = self.broken_line
        for number, job in self.jobs.items():
            if not asked or job["name"] == asked[0]:
                fields = (number, job["word"], job["reason"], job.get("begin", "N/A"),
                          "gpu1", job["name"], job.get("comment", "(null)"))  # fmt: skip
                shown += "|".join(fields) + "\n"
        return shown

    def _scontrol(self, words: list[str], text: str) -> str:
        if words[:2] == ["show", "partition"]:
            return HEAD
        return "ClusterName             = paper\n" if words[:2] == ["show", "config"] else ""

    def _scancel(self, words: list[str], text: str) -> str:
        number = words[-1]
        if not self.immortal and "--signal=TERM" not in words and number in self.jobs:
            del self.jobs[number]
        return ""
