"""pull: what a run leaves, as files."""

import json as json_text


def pull(name: str, *, out: str = "", store: str = "", json: bool = False) -> None:
    """Fetch a run's model, metrics and log; of an unfinished run, its newest checkpoint.

    Args:
        name: of the run.
        out: folder to put the files into (default: ./NAME).
        store: where runs live (default: $MIMIR_STORE or a folder in your data directory).
        json: print JSON.

    Example:
        python -m launch pull first --out models/first
    """
    from pathlib import Path

    from launch.download import collect, write_all
    from launch.ui.runs import command
    from launch.ui.terminal import Transfers, say
    from mimir.runs.store import open_store
    from mimir.submission import default_store

    opened = open_store(store or default_store())
    folder = Path(out or name).expanduser()
    with Transfers() as transfers:
        gift = collect(opened, name, transfers.begin)
    write_all(folder, gift.files)
    for warning in gift.warnings:
        say(warning)
    if json:
        body = {
            "run": name,
            "finished": gift.finished,
            "step": gift.step,
            "out": str(folder.resolve()),
            "files": sorted(gift.files),
            "warnings": gift.warnings,
        }
        print(json_text.dumps(body, indent=2))
        return
    print(f"{len(gift.files)} files in {folder}: {', '.join(sorted(gift.files))}")
    if gift.finished:
        say(f"draw peptides: python -m mimir sample --model {folder} -n 10")
    else:
        named = [file for file in gift.files if file.startswith("checkpoint-")]
        weights = f"this is the checkpoint of step {gift.step}" if named else "it has no weights"
        again = command("status", name, store)
        say(f"run {name} is not finished, {weights}; see `{again}`")
