"""reap: ends machines that are paid and that no run uses."""

import json as json_text
import sys
from typing import TYPE_CHECKING

from mimir.errors import INTERRUPTED, BadInput

if TYPE_CHECKING:
    from launch.supervise.reaper import Stray


def reap(
    *,
    provider: str = "any",
    machine: str = "",
    yes: bool = False,
    foreign: bool = False,
    store: str = "",
    json: bool = False,
) -> int:
    """End machines that this store ordered and that work for none of its runs.

    Lists every machine named mimir-<run>-a<attempt>-o<store> of every provider that has a key
    here. One of this store whose run is over, gone, or at a later attempt, is ended after asking.
    Machines of other stores, and those whose names tell no store, are listed and stay.

    Args:
        provider: which, several as A,B (default: all that have a key here).
        machine: end this one machine of the provider, by its id there and whatever its name.
        yes: do not ask. It never means machines of other stores.
        foreign: end those of other stores too, whatever they do: a colleague's may be at work.
        store: where runs live (default: $MIMIR_STORE or a folder in your data directory).
        json: print JSON: for each machine `provider`, `id`, `name`, `price`, `why` ("" if a
            run uses it), `foreign` (another store's, perhaps) and `ended`.

    Example:
        python -m launch reap
    """
    from launch.providers import registry
    from launch.supervise import reaper
    from launch.ui.terminal import say
    from mimir.runs.store import open_store
    from mimir.submission import default_store

    opened = open_store(store or default_store())
    places = [registry.rented(name) for name in registry.several(provider)]
    if machine and len(places) != 1:
        raise BadInput("--machine is an id of one service: name it by --provider")
    if machine:
        found, problems = [reaper.by_id(places[0], machine)], list[str]()
    else:
        found, problems = reaper.find(opened, places, opened.now())
    for problem in problems:
        say(problem)
    strays = [one for one in found if one.why and (foreign or not one.foreign)]
    others = [one for one in found if one.foreign and not foreign]
    if others:
        say("not touched, because another store may have ordered them (--foreign ends them too):")
        say(*_table(others))
    ended: list[str] = []
    if strays:
        say(*_table(strays))
        if not yes:
            _agree(len(strays))
        ended, failures = reaper.end(opened, strays, opened.now, say)
        problems += failures
    if json:
        rows = [{**one.as_json(), "ended": one.instance.id in ended} for one in found]
        print(json_text.dumps(rows, indent=2))
    else:
        stay = len(found) - len(strays) - len(others)
        theirs = f", {len(others)} of other stores not touched" if others else ""
        print(f"{len(ended)} ended, {stay} at work for a run of {opened.url}{theirs}")
    return INTERRUPTED if problems or len(ended) < len(strays) else 0


def _agree(count: int) -> None:
    if not sys.stdin.isatty():
        raise BadInput(f"{count} machines would be ended: say --yes to end them")
    print(f"End these {count} machines? [y/N] ", end="", file=sys.stderr)
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise BadInput("nothing was ended")


def _table(strays: "list[Stray]") -> list[str]:
    lines = []
    for one in strays:
        price = f"${one.instance.price:.2f}/h" if one.instance.price is not None else "? $/h"
        lines.append(
            f"  {one.provider.name} {one.instance.id}  {one.instance.name}  "
            f"{one.instance.said or one.instance.state}  {price}  {one.why}"
        )
    return lines
