"""A container engine that exists on paper, by the words of Docker's command line."""

import json
import subprocess
from typing import Any

OURS = {"Config": {"Labels": {"org.opencontainers.image.title": "mimir"}}}


class Paper:
    """An engine: containers by name, images by name. `refuses` maps a word to what it says."""

    def __init__(self) -> None:
        self.images: dict[str, Any] = {"mimir:latest": OURS}
        self.containers: dict[str, dict[str, Any]] = {}
        self.asked: list[list[str]] = []
        self.environ: dict[str, str] = {}
        self.refuses: dict[str, str] = {}
        self.slow: set[str] = set()
        self.immortal = False
        self.lines = ["one", "two"]

    def __call__(
        self, command: list[str], *, timeout: float, env: dict[str, str], **_: Any
    ) -> "subprocess.CompletedProcess[str]":
        words = command[1:]
        self.asked.append(words)
        if words[0] in self.slow:
            raise subprocess.TimeoutExpired(command, timeout)
        if words[0] in self.refuses:
            return subprocess.CompletedProcess(command, 1, "", self.refuses[words[0]])
        if words[0] == "create":
            self.environ = env
        try:
            return subprocess.CompletedProcess(command, 0, getattr(self, f"_{words[0]}")(words), "")
        except KeyError as error:
            said = f"Error: No such object: {error}"
            return subprocess.CompletedProcess(command, 1, "", said)

    def found(self, name: str) -> dict[str, Any]:
        for key, value in self.containers.items():
            if name in (key, value["Id"]):
                return value
        raise KeyError(name)

    def _container(self, words: list[str]) -> str:
        return json.dumps([self.found(words[2])])

    def _image(self, words: list[str]) -> str:
        return json.dumps([self.images[words[2]]])

    def _info(self, words: list[str]) -> str:
        return '{"SecurityOptions":["name=seccomp"]}'

    def _create(self, words: list[str]) -> str:
        name = words[words.index("--name") + 1]
        labels = dict(words[i + 1].split("=", 1) for i, w in enumerate(words) if w == "--label")
        self.containers[name] = {
            "Id": f"id-{name}", "Name": f"/{name}",
            "Image": "sha256:1", "State": {"Status": "created"},
            "Config": {"Labels": labels},
        }  # fmt: skip
        return f"id-{name}\n"

    def _start(self, words: list[str]) -> str:
        self.found(words[1])["State"]["Status"] = "running"
        return ""

    def _stop(self, words: list[str]) -> str:
        found = self.found(words[-1])
        if not self.immortal:
            found["State"]["Status"] = "exited"
        return ""

    def _rm(self, words: list[str]) -> str:
        found = self.found(words[-1])
        if not self.immortal:
            self.containers = {k: v for k, v in self.containers.items() if v is not found}
        return ""

    def _ps(self, words: list[str]) -> str:
        wanted = dict(
            words[i + 1].removeprefix("label=").split("=", 1)
            for i, word in enumerate(words) if word == "--filter"
        )  # fmt: skip
        return "\n".join(
            c["Id"] for c in self.containers.values()
            if all((c["Config"]["Labels"] or {}).get(k) == v for k, v in wanted.items())
        )  # fmt: skip

    def _logs(self, words: list[str]) -> str:
        return "\n".join([*self.lines, ""])
