"""Run as a program, it is a `colab` that knows no server; what it has lies beside it.

endpoints.json    the account's sessions
answers.json      "command of asker" -> [[code, text], ...]: what it says instead, once for each
always.json       command -> [code, text]: what it says instead to everybody, always
asked.jsonl       {"words", "environ", "umask"} of each call
hangs, idle       while they are there, no cell begins, or one that does nothing
slow              makes one look at the list last until the file slow-now is deleted
content/          /content of the machine; `exec` runs its cell there, as a process

The launcher and the watch of a session call it at the same time, and a test changes what it
answers meanwhile. So files are read and written under one lock, and a one-shot answer belongs
to one of the two, "launcher" or "watch": the other cannot take it.
"""

import contextlib
import fcntl
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

VERSION = "0.7.5"
LINE = "[?] {} | Hardware: T4 | Shape: Standard | Variant: GPU"


def main(words: list[str], here: Path) -> int:
    mask = os.umask(0o077)
    told = {"words": words, "environ": dict(os.environ), "umask": mask}
    while words[0].startswith("--"):
        words = words[2:]
    with locked(here):
        with (here / "asked.jsonl").open("a") as file:
            file.write(json.dumps(told) + "\n")
        answers = json.loads((here / "answers.json").read_text())
        always = json.loads((here / "always.json").read_text())
        mine = answers.get(f"{words[0]} of {_asker()}")
        answer = mine.pop(0) if mine else always.get(words[0])
        (here / "answers.json").write_text(json.dumps(answers))
    if answer:
        print(answer[1])
        return int(answer[0])
    return int(globals()[f"_{words[0]}"](here, words[1:]) or 0)


@contextlib.contextmanager
def locked(here: Path) -> Iterator[None]:
    """Nobody else reads or writes these files meanwhile."""
    with (here / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _asker() -> str:
    """Who has started this command."""
    parent = Path(f"/proc/{os.getppid()}/cmdline").read_bytes()
    return "watch" if b"launch.providers.colab.watch" in parent else "launcher"


def _own() -> Path:
    return Path.home() / ".config" / "colab-cli" / "sessions.json"


def _endpoints(here: Path) -> list[str]:
    with locked(here):
        found: list[str] = json.loads((here / "endpoints.json").read_text())
        return found


def _version(here: Path, words: list[str]) -> None:
    print(f"Version: {VERSION}")


def _usage(here: Path, words: list[str]) -> None:
    print("Current balance: 0.00 compute units\nUsage rate: 0.00/hr")


def _new(here: Path, words: list[str]) -> None:
    with locked(here):
        there = json.loads((here / "endpoints.json").read_text())
        endpoint = f"gpu-t4-s-{len(there) + 1}"
        (here / "endpoints.json").write_text(json.dumps([*there, endpoint]))
    (here / "content").mkdir(exist_ok=True)
    _own().write_text(json.dumps({words[1]: {"name": words[1], "endpoint": endpoint}}))
    print("[colab] Session READY.")


def _sessions(here: Path, words: list[str]) -> None:
    if (here / "slow").exists():
        (here / "slow").rename(here / "slow-now")
        while (here / "slow-now").exists():
            time.sleep(0.02)
        _own().parent.mkdir(parents=True, exist_ok=True)  # as the CLI does when it begins
    there = _endpoints(here)
    known = json.loads(_own().read_text()) if _own().exists() else {}
    for name, session in known.items():
        if session["endpoint"] not in there:
            print("[colab] Pruned 1 stale local session(s).")
            _own().write_text(json.dumps({k: v for k, v in known.items() if k != name}))
    for endpoint in there:
        print(LINE.format(endpoint))


def _stop(here: Path, words: list[str]) -> None:
    known = json.loads(_own().read_text())[words[1]]["endpoint"]
    with locked(here):
        there = json.loads((here / "endpoints.json").read_text())
        left = [each for each in there if each != known]
        (here / "endpoints.json").write_text(json.dumps(left))


def _upload(here: Path, words: list[str]) -> None:
    (here / words[3]).write_bytes(Path(words[2]).read_bytes())


def _download(here: Path, words: list[str]) -> int:
    path = here / words[2]
    if not path.exists():
        print("[colab] Download failed: File or directory not found")
        return 1
    Path(words[3]).write_bytes(path.read_bytes())
    return 0


def _exec(here: Path, words: list[str]) -> None:
    while (here / "hangs").exists():
        time.sleep(0.05)
    if (here / "idle").exists():
        print("::mimir-begun::", flush=True)
        time.sleep(600)
    # A machine of its own: the end of its time is kept there by the names of run and attempt alone.
    (here / "tmp").mkdir(exist_ok=True)
    os.environ["TMPDIR"] = str(here / "tmp")
    os.chdir(here / "content")
    text = Path(words[words.index("--file") + 1]).read_text()
    exec(compile(text, "cell", "exec"), {"__name__": "__main__"})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], Path(__file__).parent))
