"""resume: goes on with a run on a new machine."""

from launch.commands import begin, options
from mimir import cli
from mimir.errors import BadInput


def resume(
    name: str,
    *,
    provider: str = "",
    gpu: str = "",
    spot: bool = False,
    hosts: str = "",
    region: str = "",
    min_reliability: float = -1.0,
    min_download: float = -1.0,
    min_upload: float = -1.0,
    device: str = "",
    image: str = "",
    slurm: str = "",
    store: str = "",
    max_price: float = 0.0,
    max_hours: cli.Hours = 0.0,
    max_cost: float = 0.0,
    max_cost_month: float = -1.0,
    max_cost_store: float = -1.0,
    max_failures: int = -1,
    max_sessions: int = 0,
    role: str = "",
    static_keys: bool = False,
    take_over: bool = False,
    yes: bool = False,
    watch: bool = False,
    notify: str = "",
    notify_from_machine: bool = False,
    json: bool = False,
) -> int:
    """Go on with a run on a new machine, from its last checkpoint.

    Args:
        name: of the run.
        provider: where to train, as for submit (default: where it trained last, or local).
        gpu: a GPU to rent, several as A,B (default: as last time).
        spot: rent machines that may be taken away, too.
        hosts: whose machines to rent, as for submit (default: as last time).
        region: where machines may be, as for submit; any: anywhere (default: as last time).
        min_reliability, min_download, min_upload: as for submit; less than 0: as last time.
        device: cuda:1 for the second GPU of this computer, for local and docker (default: as last
            time).
        image: a container image with Python and torch (default: that of last time).
        slurm: options for sbatch, as for submit (default: those of last time).
        store: where runs live (default: $MIMIR_STORE or a folder in your data directory).
        max_price: rent nothing that costs more, in $/h (default, as of all limits that are not
            given: as last time where machines are rented).
        max_hours: hours of machines over all attempts of the run; 0: no limit.
        max_cost: dollars over all attempts of the run, those it has had included.
        max_cost_month, max_cost_store: dollars of all runs of the store, as for submit; less than
            0: as last time.
        max_failures: machines or workers that may break, from now on, before the run is given
            up; less than 0: as last time, at first 3.
        max_sessions: machines that the run may have in all (default: no limit, but on Colab
            one: its free sessions are not chained unless you say so).
        role: for an s3:// store, the ARN of a role whose keys, cut down to this attempt, the
            machine gets (default: $MIMIR_ROLE_ARN); this computer's own stay here.
        static_keys: hand your own keys to the machine, not cut down to the attempt.
        take_over: also if a machine works on it; that machine is ended.
        yes: do not ask before ordering a machine that costs money.
        watch: keep the run alive and follow its log until it ends; exit with 0 only if it is
            done.
        notify: with --watch: URL of a webhook (Slack, Discord, ntfy) that is told how the run
            ended (default: $MIMIR_NOTIFY); docs/notify.md.
        notify_from_machine: the machine itself tells the webhook how this attempt ended, also
            without --watch; its host and its service then learn the URL.
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

    must_be_sent(notify, watches=watch or notify_from_machine)
    url = url_of(notify)
    note = from_machine(url, notify_from_machine)
    said = {"max_price": max_price, "max_hours": max_hours, "max_cost": max_cost,
            "max_attempts": max_sessions}  # fmt: skip
    said = {each: value for each, value in said.items() if value}
    if max_failures >= 0:
        said["max_failures"] = max_failures
    keys = options.keys_of(role, static_keys)
    chosen = options.hosts_of(hosts, region, min_reliability, min_download, min_upload)
    words = Words(provider, options.gpus_of(gpu), spot, image, keys, said, chosen)
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
    limits = options.with_budgets(plan.limits, max_cost_month, max_cost_store)
    plan = replace(plan, limits=limits)
    places = [registry.get(each) for each in plan.providers]
    if device:
        plan = replace(plan, card=options.card_of(device, places)[1])
    elif plan.card is not None and not all(place.caps.cards for place in places):
        plan = replace(plan, card=None)
    options.check_gpu(places, gpu)
    options.check_works(places)
    if image:
        plan = replace(plan, image=options.check_image(places, image))
    options.check_keys(places, plan.keys)
    options.check_notify(places, notify_from_machine)
    say(*note)
    plan = replace(plan, options=options.settled(places, slurm, plan.options))
    options.check_store(places, opened.url)
    if not max_sessions:
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
    steps = max(1, plan.steps - known.done_steps)
    market = choose.ask(opened, plan, config, steps, name, known)
    plan = confirm.limited(plan, choose.preferred(market, known), choose.spent(known, now))
    found = choose.within(plan, market, known, opened.now())
    for line in (*enforcement.lines(places), *confirm.warnings(places, plan)):
        say(line)
    if not watch:
        say(*confirm.unwatched(places, timer.is_installed(opened.url)))
    for line in market.problems if found.choices else ():
        say(line)
    choose.must_fit(plan, found)
    if not found.choices:
        raise choose.nothing(plan, found)
    confirm.agree(places, found, yes=yes)
    return begin.Start(opened, name, plan, store, watch, json, url, notify_from_machine).begin(
        known, found
    )
