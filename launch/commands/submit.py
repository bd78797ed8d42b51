"""submit: trains a preset on a machine."""

import json as json_text

from launch.commands import begin, lineage, options
from mimir import cli
from mimir.errors import BAD_CONFIG
from mimir.text import one_line


def submit(
    preset: str = "",
    *,
    name: str = "",
    provider: str = "local",
    gpu: str = "",
    spot: bool = False,
    hosts: str = "",
    region: str = "",
    min_reliability: float = 0.95,
    min_download: float = 100.0,
    min_upload: float = 0.0,
    image: str = "",
    slurm: str = "",
    store: str = "",
    data: str = "",
    init_from: str = "",
    continue_from: str = "",
    label: str = "",
    yes: bool = False,
    max_price: float = 0.0,
    max_hours: cli.Hours = 0.0,
    max_cost: float = 0.0,
    max_cost_month: float = -1.0,
    max_cost_store: float = -1.0,
    max_failures: int = 3,
    max_sessions: int = 0,
    role: str = "",
    static_keys: bool = False,
    watch: bool = False,
    notify: str = "",
    notify_from_machine: bool = False,
    dry_run: bool = False,
    json: bool = False,
    **settings: object,
) -> int:
    """Train a preset on a machine; the terminal may be closed once it has begun.

    A name that exists with the same configuration goes on from its last checkpoint. A rented
    machine that gives no sign within 25 minutes is ended; Ctrl-C before asks what to do with it.
    Exits with 0 once it trains, 75 if it did not begin and may by `resume`, 78 if something must
    be changed first.

    Args:
        preset: smoke, small, medium, large, or a YAML file of your own (default: small; with
            --init-from or --continue-from that run's configuration).
        name: name of the run (default: a fresh one).
        provider: where to train: local (this computer), docker (a container on it), slurm (the
            cluster of this login node), or where machines are rented: runpod, vastai, lambda, aws,
            gcp, several as A,B, or any.
        gpu: a GPU to rent, such as "RTX 4090", several as A,B (default: the cheapest way).
        spot: rent machines that may be taken away, too.
        hosts: whose machines to rent: datacenter (data centres that the service vouches for; for
            data that is not public), verified (hosts that the service has looked at), any
            (default: RunPod's two clouds, Vast.ai's verified hosts; docs/concepts/trust.md).
        region: where machines may be, by the services' names, countries' codes, or eu; several as
            A,B (default: anywhere).
        min_reliability: least share of time, 0 to 1, that a host was there, where that is told
            (Vast.ai).
        min_download: least Mbit/s of a host's line down, where that is told.
        min_upload: least Mbit/s of its line up, where that is told; 0: any.
        image: a container image with Python and torch to train in (default: Mimir's own, or a
            public one with PyTorch where machines are rented); on slurm a .sif or .sqfs file or a
            folder (default: none).
        slurm: options for sbatch, such as '--partition=gpu --gres=gpu:1 --time=4:00:00', or @FILE
            (default: $MIMIR_SLURM; docs/guides/cluster.md).
        store: where runs live (default: $MIMIR_STORE or a folder in your data directory).
        data: a CSV (sequence,label,target) or a packed data set (default: the shipped sample;
            with --init-from or --continue-from that run's data).
        init_from: begin with the averaged weights of this run: the best, or with RUN@STEP those of
            a checkpoint that it keeps. Steps count from 0.
        continue_from: go on with the whole training state of this run, for longer: RUN or
            RUN@STEP. docs/guides/training.md.
        label: labels by which `runs --label` finds it, as KEY=VALUE,KEY=VALUE; `label` sets more.
        yes: do not ask before ordering a machine that costs money.
        max_price: rent nothing that costs more, in $/h.
        max_hours: hours of machines over all attempts of the run, after which it commits and
            ends; 0: no limit. `resume` goes on.
        max_cost: dollars over all attempts of the run (default for rented machines: twice the
            forecast).
        max_cost_month: dollars of all runs of the store in a calendar month (UTC), with what live
            machines may yet cost; 0: no limit (default: $MIMIR_MAX_COST_MONTH).
        max_cost_store: the same over all times (default: $MIMIR_MAX_COST_STORE).
        max_failures: machines or workers that may break before the run is given up.
        max_sessions: machines that the run may have in all (default: no limit, but on Colab
            one: its free sessions are not chained unless you say so).
        role: for an s3:// store, the ARN of a role whose keys, cut down to this attempt, the
            machine gets (default: $MIMIR_ROLE_ARN); this computer's own stay here.
        static_keys: hand your own keys to the machine, not cut down to the attempt.
        watch: keep the run alive and follow its log until it ends; exit with 0 only if it is
            done.
        notify: with --watch: URL of a webhook (Slack, Discord, ntfy) that is told how the run
            ended (default: $MIMIR_NOTIFY); docs/notify.md.
        notify_from_machine: the machine itself tells the webhook how this attempt ended, also
            without --watch; its host and its service then learn the URL.
        dry_run: show the plan, ask the services for key, rights, balance and quota, and order
            nothing; exits with 78 if they would refuse.
        json: print JSON.
        settings: any setting of the preset, such as --lr 3e-4 or --epochs 2. --device cuda:1 is
            the second GPU of this computer, for local and docker.

    Example:
        python -m launch submit --preset small --name first --epochs 2
        python -m launch submit --name second --continue-from first --epochs 4
    """
    from dataclasses import asdict

    from launch import doctor
    from launch.payload import code_in_store
    from launch.providers import registry
    from launch.provision import choose
    from launch.supervise import timer
    from launch.supervise.notify import from_machine, must_be_sent, url_of
    from launch.ui import confirm
    from launch.ui.terminal import say
    from mimir.runs import about
    from mimir.runs.hosts import Hosts
    from mimir.runs.order import Plan
    from mimir.runs.store import open_store
    from mimir.submission import default_store, enter, fresh_name

    options.check_settings(settings, submit)
    labels = about.pairs(filter(None, label.split(",")), "--label")
    must_be_sent(notify, watches=watch or notify_from_machine)
    url = url_of(notify)
    note = from_machine(url, notify_from_machine)
    limits = options.limits_of(max_price, max_hours, max_cost, max_failures, max_sessions)
    limits = options.with_budgets(limits, max_cost_month, max_cost_store)
    names = registry.several(provider)
    places = [registry.get(name) for name in names]
    limits = options.with_sessions(limits, places)
    options.check_gpu(places, gpu)
    options.check_works(places)
    image = options.check_image(places, image)
    keys = options.keys_of(role, static_keys)
    options.check_keys(places, keys)
    options.check_notify(places, notify_from_machine)
    say(*note)
    card = None
    if "device" in settings:
        settings["device"], card = options.card_of(settings["device"], places)
    chosen = options.hosts_of(hosts, region, min_reliability, min_download, min_upload)
    opened = open_store(store or default_store())
    options.check_store(places, opened.url)
    words = options.settled(places, slurm)
    job, start = lineage.prepared(opened, preset, settings, data, init_from, continue_from)
    plan = Plan(
        names, limits, options.gpus_of(gpu), spot, image, keys,
        job.steps, Hosts(**chosen), card, words,  # type: ignore[arg-type]  # by name
    )  # fmt: skip
    name, now = name or fresh_name(job.config.preset), opened.now()
    options.check_name(opened, name, places, store)
    left = job.steps - (start.origin.done if start else 0)
    market = choose.ask(opened, plan, job.config, left, name)
    plan = confirm.limited(plan, choose.preferred(market, None))
    found = choose.within(plan, market, None, now)
    table = confirm.rows(job, name, opened.url, plan, found, now, places)
    table[2:2] = lineage.lines(job, start)
    table[1:1] = [("labels", label)] if labels else []
    say(*(f"  {what:<9} {value}" for what, value in table))
    say(*confirm.warnings(places, plan))
    if not watch:
        say(*confirm.unwatched(places, timer.is_installed(opened.url)))
    for line in market.problems if found.choices else ():
        say(line)
    choose.must_fit(plan, found)
    if not found.choices:
        raise choose.nothing(plan, found)
    if dry_run:
        checks = doctor.services(names)
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
    known = options.check_free(opened, name, store)
    if known.attempt:
        say(f"run {name} is {known.state} and goes on from step {known.committed_step}")
    return begin.Start(opened, name, plan, store, watch, json, url, notify_from_machine).begin(
        known, found
    )
