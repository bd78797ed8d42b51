"""note: writes down what is to be remembered of a run."""

import json as json_text

from mimir.errors import BadInput


def note(
    name: str, text: str = "", *, remove: int = 0, store: str = "", json: bool = False
) -> None:
    """Add a note to a run, or show its notes; `status` and `report` show them too.

    At most 50, of 1,000 characters. No machine can write them.

    Args:
        name: of the run.
        text: the note. None: show all notes, with their numbers.
        remove: take away the note of this number, in place of adding one (default: none).
        store: where runs live (default: $MIMIR_STORE or a folder in your data directory).
        json: print JSON: a list with `time` (unix s) and `text` of each note.

    Example:
        python -m launch note first "lost its GPU twice; the loss is fine"
    """
    from dataclasses import asdict

    from mimir.runs import about
    from mimir.runs.record import read_run
    from mimir.runs.store import open_store
    from mimir.submission import default_store
    from mimir.text import moment, one_line

    if text and remove:
        raise BadInput("give a text to add or --remove, not both")
    opened = open_store(store or default_store())
    read_run(opened, name)
    if remove:
        found = about.without_note(opened, name, remove)
    else:
        found = about.note(opened, name, text) if text else about.read(opened, name)
    if json:
        print(json_text.dumps([asdict(each) for each in found.notes], indent=2))
        return
    for number, each in enumerate(found.notes, start=1):
        print(one_line(f"{number}  {moment(each.time)}  {each.text}"))
    if not found.notes:
        print(f"run {name} has no notes")
