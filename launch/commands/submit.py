"""submit: trains a preset on a machine."""

import json as json_text

from launch.commands import begin, lineage, options
from launch.commands.rent_options import RentOptions, shared
from mimir.errors import BAD_CONFIG
from mimir.text import one_line


@shared()
def submit(
    name: str = "",
    *,
    preset: str = "",
    rent: RentOptions,
    store: str = "",
    data: str = "",
    init_from: str = "",
    continue_from: str = "",
    label: str = "",
    yes: bool = False,
    dry_run: bool = False,
    json: bool = False,
    **settings: object,
) -> int:
    """Train a preset on a machine; the terminal may be closed once it has begun.

    A name that exists with the same configuration goes on from its last checkpoint. A rented
    machine that gives no sign within 25 minutes is ended; Ctrl-C before that asks whether to end
    the machine. Exits with 0 once it trains; 75: it did not begin, `resume` may begin it; 78:
    something must be changed first.

    Args:
        name: name of the run (default: a fresh one).
        preset: smoke, small, medium, large, or a YAML file of your own (default: small; with
            --init-from or --continue-from that run's configuration).
        store: where runs live (default: $MIMIR_STORE or a folder in your data directory).
        data: a CSV (sequence,label,target) or a packed data set (default: the shipped sample;
            with --init-from or --continue-from that run's data).
        init_from: begin with the averaged weights of this run: the best, or with RUN@STEP those of
            a checkpoint that it keeps. Steps count from 0.
        continue_from: go on with the whole training state of this run, for longer: RUN or
            RUN@STEP. docs/guides/training.md.
        label: labels by which `runs --label` finds it, as KEY=VALUE,KEY=VALUE; `label` sets more.
        yes: do not ask before ordering a machine that costs money.
        dry_run: show the plan, ask the services for key, rights, balance and quota, and order
            nothing; exits with 78 if they would refuse.
        json: print JSON.
        settings: any setting of the preset, such as --lr 3e-4 or --epochs 2. --device cuda:1 is
            the second GPU of this computer, for local and docker.

    Example:
        python -m launch submit first --preset small --epochs 2
        python -m launch submit second --continue-from first --epochs 4
    """
    from dataclasses import asdict, replace

    from launch import doctor
    from launch.payload import code_in_store
    from launch.providers import registry
    from launch.provision import choose
    from launch.supervise import timer
    from launch.supervise.notify import from_machine, must_be_sent, url_of
    from launch.ui import confirm
    from launch.ui.terminal import say
    from mimir.runs import about
    from mimir.runs.order import Plan
    from mimir.runs.store import open_store
    from mimir.submission import Entry, check_no_preset, default_store, enter, fresh_name

    given = options.given(submit, {**vars(rent), **locals()})
    options.check_settings(settings, submit)
    check_no_preset(name, "submit", said=bool(preset or init_from or continue_from))
    options.check_words(preset, data, name)
    labels = about.pairs(filter(None, options.text_of("label", label).split(",")), "--label")
    must_be_sent(rent.notify, watches=rent.watch or rent.notify_from_machine)
    url = url_of(rent.notify)
    note = from_machine(url, rent.notify_from_machine)
    plan = rent.onto(Plan(("local",)))
    places = [registry.get(each) for each in plan.providers]
    if rent.max_sessions is None:
        plan = replace(plan, limits=options.with_sessions(plan.limits, places))
    options.check_gpu(places, rent.gpu)
    options.check_works(places)
    plan = replace(plan, image=options.check_image(places, rent.image))
    options.check_keys(places, plan.keys)
    options.check_notify(places, rent.notify_from_machine)
    say(*note)
    if "device" in settings:
        settings["device"], card = options.card_of(settings["device"], places)
        plan = replace(plan, card=card)
    opened = open_store(store or default_store())
    options.check_store(places, opened.url)
    plan = replace(plan, options=options.settled(places, rent.slurm))
    job, start = lineage.prepared(opened, preset, settings, data, init_from, continue_from)
    plan = replace(plan, steps=job.steps)
    name, now = name or fresh_name(job.config.preset), opened.now()
    entry = Entry(job.config)
    if "name" in given:
        entry = options.check_name(opened, name, job, start, settings, store)
    say(*entry.notes)
    options.check_fits(places, entry.config, plan, entry.known)
    left = job.steps - (start.origin.done if start else 0)
    market = choose.ask(opened, plan, job.config, left, name)
    plan = confirm.limited(plan, choose.preferred(market, None))
    found = choose.within(plan, market, None, now)
    table = confirm.rows(job, name, opened.url, plan, found, now, places)
    table[2:2] = lineage.lines(job, start)
    table[1:1] = [("labels", label)] if labels else []
    say(*(f"  {what:<9} {value}" for what, value in table))
    say(*confirm.warnings(places, plan, store=opened.url, given=given, found=[found]))
    if not rent.watch:
        say(*confirm.unwatched(places, timer.is_installed(opened.url)))
    for line in market.problems if found.choices else ():
        say(line)
    choose.must_fit(plan, found)
    if not found.choices:
        raise choose.nothing(plan, found)
    if dry_run:
        checks = doctor.services(plan.providers)
        if json:
            told = [asdict(check) for check in checks]
            body = {**confirm.as_json(job, name, opened.url, plan, found), "checks": told}
            body["origin"] = asdict(start.origin) if start else None
            print(json_text.dumps(body, indent=2))
        else:
            say(*(f"  {c.status:<9} {c.name}: {one_line(c.details)}" for c in checks))
            say("a dry run: nothing was ordered")
        return 0 if doctor.healthy(checks) else BAD_CONFIG
    confirm.agree(places, found, yes=yes)
    with code_in_store.file() as wheel:
        enter(opened, name, job, wheel, start)
    if labels:
        about.label(opened, name, labels)
    status = options.check_free(opened, name, store)
    if status.attempt:
        say(f"run {name} is {status.state} and goes on from step {status.committed_step}")
    return begin.Start(
        opened, name, plan, store, rent.watch, json, url, rent.notify_from_machine
    ).begin(status, found)
