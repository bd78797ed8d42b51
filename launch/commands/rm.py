"""rm: removes runs with all that they left."""

import json as json_text
from typing import TYPE_CHECKING

from mimir.errors import INTERRUPTED, BadInput

if TYPE_CHECKING:
    from launch.supervise.removal import Leaving
    from mimir.runs.store import Store

SHOWN = 20
"""Runs that are shown before they are removed."""


def rm(
    *names: str, yes: bool = False, dry_run: bool = False, store: str = "", json: bool = False
) -> int:
    """Remove runs with their checkpoints, models, logs and records; asks first.

    A run that is at work is not removed: stop it first. Its machines are ended and seen to be gone
    before anything is deleted. A removal that was cut off is finished by the same command. What
    the run cost still counts for --max-cost-month and --max-cost-store. Exits with 75 if
    something could not be removed now, 78 if nothing was.

    Args:
        names: of the runs.
        yes: do not ask.
        dry_run: only show what would go.
        store: where runs live (default: $MIMIR_STORE or a folder in your data directory).
        json: print JSON: for each run what `--dry-run` shows, `removed` (objects; null if it was
            not removed) and `error`.

    Example:
        python -m launch rm first --dry-run
    """
    from launch.supervise import removal
    from launch.ui.terminal import say
    from mimir.runs import tombstone
    from mimir.runs.store import open_store
    from mimir.submission import default_store

    if not names:
        raise BadInput("name the runs to remove; `python -m launch prune` chooses by state and age")
    opened = open_store(store or default_store())
    found = [removal.look(opened, str(name), say) for name in dict.fromkeys(names)]
    for each in found:
        if each.refused:
            raise BadInput(f"nothing was removed: {each.refused}")
    for each in found:
        buried = None if each.objects else tombstone.find(opened, each.run)
        if buried is not None and buried.word == tombstone.OVER and not each.target.exists:
            say(f"{buried.sentence} already: nothing is left of it")
            found = found if json else [other for other in found if other is not each]
    if not found:
        return 0
    return carry_out(opened, found, "launch rm", yes=yes, dry_run=dry_run, json=json)


def carry_out(
    store: "Store", found: "list[Leaving]", why: str, *, yes: bool, dry_run: bool, json: bool
) -> int:
    """Show what goes, ask, and remove it; the exit code. Every run is tried."""
    from launch.supervise import removal
    from launch.ui.terminal import say
    from mimir.errors import sentence
    from mimir.text import one_line

    say(*(each.words for each in found[:SHOWN]))
    if found[SHOWN:]:
        say(f"… and {len(found) - SHOWN} more")
    rows = {each.run: {**each.as_json(), "removed": None, "error": ""} for each in found}
    failed = []
    if found and not dry_run:
        _agree(found, yes=yes)
        for each in found:
            try:
                rows[each.run]["removed"] = removal.carry_out(store, each, why, say)
            except Exception as error:  # noqa: BLE001 - told; the others are removed
                rows[each.run]["error"] = sentence(error)
                failed.append(each.run)
                say(f"run {each.run} is not removed: {one_line(sentence(error))}")
    if json:
        print(json_text.dumps(list(rows.values()), indent=2))
    elif dry_run:
        say("a dry run: nothing was removed")
    else:
        objects = sum(row["removed"] or 0 for row in rows.values())
        print(f"removed {len(found) - len(failed)} of {len(found)} runs, {objects} objects")
    return INTERRUPTED if failed else 0


def _agree(found: "list[Leaving]", *, yes: bool) -> None:
    """Ask before anything is deleted. BadInput without a yes."""
    from launch.ui.confirm import agree_to_delete
    from mimir.text import size

    dollars = sum(each.dollars or 0.0 for each in found)
    what = f"{len(found)} runs" if len(found) > 1 else f"run {found[0].run}"
    what += f" ({sum(each.step or 0 for each in found):,} steps"
    what += f", at least {size(sum(each.bytes for each in found))}"
    what += f", ${dollars:.2f} spent)" if dollars else ")"
    agree_to_delete(what, yes=yes)
