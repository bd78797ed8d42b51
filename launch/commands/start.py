"""submit and resume: two ways to begin an attempt."""

import json as json_text
import time

from launch.commands import options
from mimir.errors import BadInput


def submit(
    preset: str = "small",
    *,
    name: str = "",
    provider: str = "local",
    gpu: str = "",
    spot: bool = False,
    image: str = "",
    store: str = "",
    data: str = "",
    yes: bool = False,
    max_price: float = 0.0,
    max_hours: float = 0.0,
    max_cost: float = 0.0,
    max_failures: int = 3,
    max_sessions: int = 0,
    role: str = "",
    static_keys: bool = False,
    watch: bool = False,
    dry_run: bool = False,
    json: bool = False,
    **settings: object,
) -> int:
    """Train a preset on a machine; the terminal may be closed at any time.

    A name that exists with the same configuration goes on from its last checkpoint.

    Args:
        preset: smoke, small, medium, large, or a YAML file of your own.
        name: name of the run (default: a fresh one).
        provider: where to train: local (this computer), docker (a container on it), or where
            machines are rented: runpod, vastai, lambda, several as A,B, or any.
        gpu: a GPU to rent, such as "RTX 4090", several as A,B (default: the cheapest way).
        spot: rent machines that may be taken away, too.
        image: a container image with Python and torch to train in (default: Mimir's own, or a
            public one with PyTorch where machines are rented).
        store: where runs live (default: $MIMIR_STORE or a folder in your data directory).
        data: a CSV (sequence,label,target) or a packed data set (default: the shipped sample).
        yes: do not ask before ordering a machine that costs money.
        max_price: rent nothing that costs more, in $/h.
        max_hours: hours of machines over all attempts of the run, after which it commits and
            ends; 0: no limit. `resume` goes on.
        max_cost: dollars over all attempts of the run (default for rented machines: twice the
            forecast).
        max_failures: machines or workers that may break before the run is given up.
        max_sessions: machines that the run may have in all (default: no limit, but on Colab
            one: its free sessions are not chained unless you say so).
        role: for an s3:// store, the ARN of a role whose keys, cut down to this attempt, the
            machine gets (default: $MIMIR_ROLE_ARN); this computer's own stay here.
        static_keys: hand your own keys to the machine all the same.
        watch: keep the run alive and follow its log until it ends; exit with 0 only if it is
            done.
        dry_run: show the plan and order nothing.
        json: print JSON.
        settings: any setting of the preset, such as --lr 3e-4 or --epochs 2.

    Example:
        python -m launch submit --preset small --name first --epochs 2
    """
    from launch.payload import code_in_store
    from launch.providers import registry
    from launch.provision import choose
    from launch.provision.plan import Plan
    from launch.ui import confirm
    from launch.ui.terminal import say
    from mimir.config import SETTINGS
    from mimir.runs.store import open_store
    from mimir.submission import default_store, enter, fresh_name, prepare

    options.check_settings(settings, SETTINGS)
    limits = options.limits_of(max_price, max_hours, max_cost, max_failures, max_sessions)
    names = registry.several(provider)
    places = [registry.get(name) for name in names]
    limits = options.with_sessions(limits, places)
    options.check_image(places, image)
    opened = open_store(store or default_store())
    options.check_store(places, opened.url)
    job = prepare(preset, settings, data)
    plan = Plan(
        names, limits, options.gpus_of(gpu), spot, image, options.wish_of(role, static_keys),
        job.steps,
    )  # fmt: skip
    name, now = name or fresh_name(preset), time.time()
    options.check_name(opened, name, places, store)
    found = choose.find(opened, plan, None, job.config, job.steps, now)
    plan = confirm.limited(plan, found)
    if plan.limits != limits:
        found = choose.find(opened, plan, None, job.config, job.steps, now, found.ranked)
    table = confirm.rows(job, name, opened.url, plan, found, now)
    say("\n".join(f"  {what:<9} {value}" for what, value in table))
    for line in confirm.warnings(places, spot=plan.spot):
        say(line)
    for line in found.problems if found.choices else ():
        say(line)
    choose.must_fit(plan, found)
    if not found.choices:
        raise choose.nothing(plan, found)
    if dry_run:
        if json:
            body = confirm.as_json(job, name, opened.url, plan, found)
            print(json_text.dumps(body, indent=2))
        else:
            say("a dry run: nothing was ordered")
        return 0
    confirm.agree(places, yes=yes)
    with code_in_store.file() as wheel:
        enter(opened, name, job, wheel)
    known = options.check_free(opened, name, store)
    if known.attempt:
        say(f"run {name} is {known.state} and goes on from step {known.committed_step}")
    return options.Start(opened, name, plan, store, watch, json).begin(known, found)


def resume(
    name: str,
    *,
    provider: str = "",
    gpu: str = "",
    spot: bool = False,
    image: str = "",
    store: str = "",
    max_price: float = 0.0,
    max_hours: float = 0.0,
    max_cost: float = 0.0,
    max_failures: int = -1,
    max_sessions: int = 0,
    role: str = "",
    static_keys: bool = False,
    take_over: bool = False,
    yes: bool = False,
    watch: bool = False,
    json: bool = False,
) -> int:
    """Go on with a run on a new machine, from its last checkpoint.

    Args:
        name: of the run.
        provider: where to train, as for submit (default: where it trained last, or local).
        gpu: a GPU to rent, several as A,B (default: as last time).
        spot: rent machines that may be taken away, too.
        image: a container image with Python and torch (default: that of last time).
        store: where runs live (default: $MIMIR_STORE or a folder in your data directory).
        max_price: rent nothing that costs more, in $/h (default, as of all limits that are not
            given: as last time where machines are rented).
        max_hours: hours of machines over all attempts of the run; 0: no limit.
        max_cost: dollars over all attempts of the run, those it has had included.
        max_failures: machines or workers that may break, from now on, before the run is given
            up; less than 0: as last time, at first 3.
        max_sessions: machines that the run may have in all (default: no limit, but on Colab
            one: its free sessions are not chained unless you say so).
        role: for an s3:// store, the ARN of a role whose keys, cut down to this attempt, the
            machine gets (default: $MIMIR_ROLE_ARN); this computer's own stay here.
        static_keys: hand your own keys to the machine all the same.
        take_over: also if a machine works on it; that machine is ended.
        yes: do not ask before ordering a machine that costs money.
        watch: keep the run alive and follow its log until it ends; exit with 0 only if it is
            done.
        json: print JSON.

    Example:
        python -m launch resume first --watch
    """
    from dataclasses import replace

    from launch.pricing import budget as limits
    from launch.providers import registry
    from launch.provision import choose
    from launch.provision.plan import newest_plan
    from launch.provision.resume_plan import Words, renewed
    from launch.ui import confirm
    from launch.ui.terminal import say
    from mimir.config import Config
    from mimir.runs.record import read_run
    from mimir.runs.status import derive
    from mimir.runs.store import open_store
    from mimir.submission import default_store

    said = {"max_price": max_price, "max_hours": max_hours, "max_cost": max_cost,
            "max_attempts": max_sessions}  # fmt: skip
    said = {each: value for each, value in said.items() if value}
    if max_failures >= 0:
        said["max_failures"] = max_failures
    wish = options.wish_of(role, static_keys)
    words = Words(provider, options.gpus_of(gpu), spot, image, wish, said)
    opened = open_store(store or default_store())
    if take_over:
        known = derive(opened, name, time.time())
        options.check_not_done(known, store)
    else:
        known = options.check_free(opened, name, store)
    plan = renewed(newest_plan(opened, name, known.attempt), known, words)
    places = [registry.get(each) for each in plan.providers]
    options.check_image(places, image)
    options.check_store(places, opened.url)
    if not max_sessions:
        had = limits.machines(known)
        plan = replace(plan, limits=options.with_sessions(plan.limits, places, had))
    if any(place.caps.paid for place in places):
        plan = replace(plan, steps=choose.steps_of(opened, plan, known))
    config = Config.from_dict(read_run(opened, name).config)
    left, wanted = max(1, plan.steps - known.committed_step), plan.limits
    found = choose.find(opened, plan, known, config, left, time.time())
    plan = confirm.limited(plan, found, choose.spent(known, time.time()))
    if plan.limits != wanted:
        found = choose.find(opened, plan, known, config, left, time.time(), found.ranked)
    for line in confirm.warnings(places, spot=plan.spot):
        say(line)
    for line in found.problems if found.choices else ():
        say(line)
    if found.room.why:
        raise BadInput(
            f"run {name} cannot go on: {found.room.why}; say a higher --max-cost or --max-hours "
            "(they count over all attempts of the run)"
        )
    choose.must_fit(plan, found)
    if not found.choices:
        raise choose.nothing(plan, found)
    confirm.agree(places, yes=yes)
    return options.Start(opened, name, plan, store, watch, json).begin(known, found)
