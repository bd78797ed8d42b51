"""resume: goes on with a run on a new machine."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from launch.commands import begin, options
from launch.commands.rent_options import RentOptions, shared
from mimir.errors import BadInput

if TYPE_CHECKING:
    from launch.contract.provider import Provider


@shared("as last time")
def resume(
    name: str,
    *,
    rent: RentOptions,
    device: str = "",
    store: str = "",
    take_over: bool = False,
    yes: bool = False,
    json: bool = False,
) -> int:
    """Go on with a run on a new machine, from its last checkpoint.

    What you do not say is as last time: the limits only where machines are rented now as then, and
    else those of a new run. They count over all attempts of the run, those it has had included.

    Args:
        name: of the run.
        device: cuda:1 for the second GPU of this computer, for local and docker (default: as last
            time).
        store: where runs live (default: $MIMIR_STORE or a folder in your data directory).
        take_over: also if a machine works on it; that machine is ended.
        yes: do not ask before ordering a machine that costs money.
        json: print JSON.

    Example:
        python -m launch resume first --watch
    """
    from dataclasses import replace

    from launch.pricing import budget
    from launch.providers import registry
    from launch.provision import choose, kept_plan, settle
    from launch.provision.plan import newest_plan
    from launch.provision.resume_plan import Words, renewed
    from launch.supervise import timer
    from launch.supervise.notify import from_machine, must_be_sent, url_of
    from launch.ui import confirm, enforcement
    from launch.ui.terminal import say
    from mimir.config import Config
    from mimir.runs.record import read_run
    from mimir.runs.status import derive
    from mimir.runs.store import open_store
    from mimir.submission import default_store

    given = options.given(resume, {**vars(rent), **locals()})
    must_be_sent(rent.notify, watches=rent.watch or rent.notify_from_machine)
    url = url_of(rent.notify)
    note = from_machine(url, rent.notify_from_machine)
    words = Words(
        rent.provider, rent.gpus, rent.spot, rent.image, rent.keys, rent.limits, rent.of_hosts
    )
    opened = open_store(store or default_store())
    if take_over:
        known = derive(opened, name, opened.now())
        options.check_not_done(known, store)
    else:
        known = options.check_free(opened, name, store)
    if known.sweep:
        say(
            f"note: run {name} is of sweep {known.sweep}: what you say here of its limits counts "
            f"for this run alone; `python -m launch sweep {known.sweep} --resume` keeps those of "
            "the sweep"
        )
    if settle.run(opened, known):
        known = derive(opened, name, opened.now())
    last = kept_plan.before(opened.url, name, newest_plan(opened, name, known.attempt))
    plan = renewed(last, known, words)
    plan = replace(plan, limits=rent.with_budgets(plan.limits))
    places = [registry.get(each) for each in plan.providers]
    if device:
        plan = replace(plan, card=_card(device, places))
    elif plan.card is not None and not all(place.caps.cards for place in places):
        plan = replace(plan, card=None)
    options.check_gpu(places, rent.gpu)
    options.check_works(places)
    if rent.image:
        plan = replace(plan, image=options.check_image(places, rent.image))
    options.check_keys(places, plan.keys)
    options.check_notify(places, rent.notify_from_machine)
    say(*note)
    plan = replace(plan, options=options.settled(places, rent.slurm, plan.options))
    options.check_store(places, opened.url)
    if rent.max_sessions is None:
        had = budget.machines(known)
        plan = replace(plan, limits=options.with_sessions(plan.limits, places, had))
    if any(place.caps.paid for place in places):
        plan = replace(plan, steps=choose.steps_of(opened, plan, known))
    now = opened.now()
    left = choose.remaining(plan, known, now)
    if left.why:
        raise BadInput(
            f"run {name} cannot go on: {left.why}; say a higher --max-cost or --max-hours "
            "(they count over all attempts of the run)"
        )
    config = Config.from_dict(read_run(opened, name).config)
    options.check_fits(places, config, plan, name)
    steps = max(1, plan.steps - known.done_steps)
    market = choose.ask(opened, plan, config, steps, name, known)
    plan = confirm.limited(plan, choose.preferred(market, known), choose.spent(known, now))
    found = choose.within(plan, market, known, opened.now())
    noted = confirm.warnings(places, plan, store=opened.url, given=given, found=[found])
    for line in (*enforcement.lines(places), *noted):
        say(line)
    if not rent.watch:
        say(*confirm.unwatched(places, timer.is_installed(opened.url)))
    for line in market.problems if found.choices else ():
        say(line)
    choose.must_fit(plan, found)
    if not found.choices:
        raise choose.nothing(plan, found)
    confirm.agree(places, found, yes=yes)
    return begin.Start(
        opened, name, plan, store, rent.watch, json, url, rent.notify_from_machine
    ).begin(known, found)


def _card(device: str, places: Sequence["Provider"]) -> int | None:
    """Which card --device names, None for any; BadInput for another device than the run's."""
    name, card = options.card_of(device, places)
    if name != "cuda":
        raise BadInput(
            f"--device {device}: a run keeps the device that it was submitted with, and `resume` "
            "only says which card: --device cuda:1, or cuda for any"
        )
    return card
