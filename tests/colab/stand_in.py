"""Run as a program, it is a `colab` that knows no server; what it has lies beside it.

endpoints.json    the account's sessions
answers.json      command -> [[code, text], ...]: what it says instead, once for each
asked.jsonl       {"words", "environ", "umask"} of each call
hangs, idle       while they are there, no cell begins, or one that does nothing
content/          /content of the machine; `exec` runs its cell there, as a process
"""

import json
import os
import sys
import time
from pathlib import Path

VERSION = "0.7.5"
LINE = "[?] {} | Hardware: T4 | Shape: Standard | Variant: GPU"


def main(words: list[str], here: Path) -> int:
    mask = os.umask(0o077)
    with (here / "asked.jsonl").open("a") as file:
        told = {"words": words, "environ": dict(os.environ), "umask": mask}
        file.write(json.dumps(told) + "\n")
    while words[0].startswith("--"):
        words = words[2:]
    answers = json.loads((here / "answers.json").read_text())
    if answers.get(words[0]):
        code, text = answers[words[0]].pop(0)
        (here / "answers.json").write_text(json.dumps(answers))
        print(text)
        return int(code)
    return int(globals()[f"_{words[0]}"](here, words[1:]) or 0)


def _own() -> Path:
    return Path.home() / ".config" / "colab-cli" / "sessions.json"


def _endpoints(here: Path) -> list[str]:
    found: list[str] = json.loads((here / "endpoints.json").read_text())
    return found


def _version(here: Path, words: list[str]) -> None:
    print(f"Version: {VERSION}")


def _usage(here: Path, words: list[str]) -> None:
    print("Current balance: 0.00 compute units\nUsage rate: 0.00/hr")


def _new(here: Path, words: list[str]) -> None:
    endpoint = f"gpu-t4-s-{len(_endpoints(here)) + 1}"
    (here / "endpoints.json").write_text(json.dumps([*_endpoints(here), endpoint]))
    (here / "content").mkdir(exist_ok=True)
    _own().write_text(json.dumps({words[1]: {"name": words[1], "endpoint": endpoint}}))
    print("[colab] Session READY.")


def _sessions(here: Path, words: list[str]) -> None:
    if (here / "slow").exists():
        (here / "slow").rename(here / "slow-now")
        time.sleep(2)
        _own().parent.mkdir(parents=True, exist_ok=True)  # as the CLI does when it begins
        (here / "slow-now").unlink()
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
    left = [each for each in _endpoints(here) if each != known]
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
    os.chdir(here / "content")
    text = Path(words[words.index("--file") + 1]).read_text()
    exec(compile(text, "cell", "exec"), {"__name__": "__main__"})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], Path(__file__).parent))
