"""prune: removes the runs that have ended long ago, and finishes removals that were cut off."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from mimir.errors import BadInput

if TYPE_CHECKING:
    from mimir.runs.listing import Listed
    from mimir.runs.store import Store

FINISHED = ("done", "failed", "stopped")
STATES = (*FINISHED, "interrupted", "queued")
"""What may be pruned: a queued run only if it never began."""


def prune(
    *, state: str = "finished", older_than: str = "30d", provider: str = "", yes: bool = False,
    dry_run: bool = False, store: str = "", json: bool = False,
) -> int:  # fmt: skip
    """Remove old runs with their checkpoints, models, logs and records; asks first.

    Also finishes removals that were cut off, and deletes what machines of removed runs have
    written since. Each run is removed as `rm` removes it, and none that is at work. Runs of sweeps
    are left: `python -m launch sweep NAME --remove` removes a sweep. Exits with 75 if something
    could not be removed now.

    Args:
        state: finished (done, failed or stopped), or some of done, failed, stopped, interrupted,
            queued (never begun), as A,B.
        older_than: since a run's last commit or end, such as 12h, 30d or 8w.
        provider: only runs whose newest attempt was ordered there.
        yes: do not ask.
        dry_run: only show what would go.
        store: where runs live (default: $MIMIR_STORE or a folder in your data directory).
        json: print JSON, as `rm`.

    Example:
        python -m launch prune --state failed,stopped --older-than 7d --dry-run
    """
    from launch.commands.rm import carry_out
    from launch.providers import registry
    from launch.supervise import removal
    from launch.ui.terminal import say
    from mimir.runs import sweep as sweeps
    from mimir.runs.listing import list_runs
    from mimir.runs.store import open_store
    from mimir.submission import default_store
    from mimir.text import seconds_in

    wanted, age = _states(state), seconds_in(older_than, "--older-than")
    if provider:
        registry.check_on_record(provider)
    opened = open_store(store or default_store())
    now = opened.now()
    kept = set(sweeps.names(opened))
    every = list_runs(opened, now)
    listed = [each for each in every if not each.status or each.status.sweep not in kept]
    begun, leftovers = removal.cut_off(opened, say)
    names = list(dict.fromkeys([*begun, *_old(opened, listed, wanted, now - age)]))
    found = []
    for name in names:
        try:
            each = removal.look(opened, name, say)
            ordered = _provider(opened, name) if provider and each.target.exists else provider
        except Exception as error:  # noqa: BLE001 - told; the others are looked at
            say(f"run {name} stays: {error}")
            continue
        if each.refused:
            say(f"run {name} stays: {each.refused}")
        elif ordered == provider:
            found.append(each)
    whole = {each.run for each in found}
    found += [each for each in leftovers if each.run not in whole]
    if kept:
        say(f"runs of sweeps stay ({', '.join(sorted(kept))}): see `python -m launch sweep --help`")
    if not found and not json:
        print(f"nothing to remove in {opened.url}: no such run is older than {older_than}")
        return 0
    return carry_out(opened, found, "launch prune", yes=yes, dry_run=dry_run, json=json)


def _states(words: str) -> tuple[str, ...]:
    from mimir.text import all_of

    found: list[str] = []
    for word in (each.strip() for each in words.split(",")):
        if word == "finished":
            found += FINISHED
        elif word in STATES:
            found.append(word)
        else:
            known = ("finished", *STATES)
            raise BadInput(f"--state {word!r} is no state of runs to remove{all_of(known)}")
    return tuple(found)


def _old(
    store: "Store", listed: "list[Listed]", wanted: tuple[str, ...], before: float
) -> Iterator[str]:
    """The runs of these states, or whose removal was begun, that did not change since then."""
    from mimir.runs import layout
    from mimir.runs.head import REMOVED

    for each in listed:
        status = each.status
        if status is None:
            continue
        if status.state == REMOVED:
            yield each.run
        elif status.state in wanted and status.created <= before:
            if status.state == "queued" and status.attempt:
                continue
            head = store.read(layout.head_key(each.run))
            if head is None or head.written <= before:
                yield each.run


def _provider(store: "Store", run: str) -> str:
    from mimir.runs import notes, orders

    newest = orders.newest_order(store, run)
    order = notes.read_order(store, run, newest) if newest else None
    return order.provider if order else ""
