"""Who enforces which limit of a machine: the machine itself, its service, or the user's computer.

Said before an order, and as a table on each provider's page, both from the adapter's caps: a limit
that only the limited machine enforces is none where that machine never starts.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from launch.contract import deadlines
from launch.contract.provider import Caps, Provider

HEAD = ("limit", "the machine itself", "the service", "a computer of yours that is on")
NOBODY = "no"


@dataclass(frozen=True)
class Limit:
    """A limit, and what each of the three does at it; "" for nothing."""

    what: str
    machine: str
    service: str
    computer: str


def limits(caps: Caps) -> tuple[Limit, ...]:
    """The limits of a machine of such a provider that is somebody else's; () for one's own."""
    if not caps.remote:
        return ()
    begin = f"{deadlines.BEGIN_WITHIN / 60:.0f} min"
    overtime = f"{deadlines.WATCH_OVERTIME / 60:.0f} min"
    down, late = caps.shuts_down, caps.service_deadline and f"{caps.service_deadline} the deadline"
    off = "turns itself off after the deadline, if it boots" if caps.turns_off else ""
    soon = f"unless the service deletes it within {deadlines.LEFT_ON / 60:.0f} min" if down else ""
    shuts = f"shuts itself down, {soon}" if down else ""
    if down:
        off = f"shuts itself down {begin} after its boot, {soon}"
    waits = f"`submit` while it waits, else `watch`, {begin} after the order"
    ends = "ends its work and itself" if caps.ends_itself else "ends its work; it is paid on"
    made = [
        Limit("the deadline, from --max-hours and --max-cost", ends, caps.service_deadline,
              f"`watch`, at the latest "
              f"{overtime} later" if caps.ends_itself else "`watch`"),
        Limit("the end of the run", f"ends its work and {shuts}; {down.paid}" if down else ends,
              late, "`watch`"),
        Limit("a machine that never starts", off, late, waits),
    ]  # fmt: skip
    if off or late:
        hangs = f"`watch`, {deadlines.SILENT_FOR / 60:.0f} min after its last sign"
        made.append(Limit("a machine that hangs", "", late, hangs))
    if caps.image:
        alone = "ends itself, if the image has curl or GNU wget" if caps.ends_itself else ""
        alone = "ends itself" if caps.turns_off else shuts or alone
        made.append(Limit("an image without Python 3.9", alone, late, waits))
        unfit = "an image without torch, or with a Python before 3.11"
        own = ends if caps.ends_itself else shuts
        made.append(Limit(unfit, own, late, waits))
    if caps.service_ends:
        made.append(Limit(caps.service_ends, "", "ends or stops it", "`watch` goes on elsewhere"))
    return tuple(made)


def markdown(caps: Caps) -> str:
    """The limits as a table for the provider's page."""
    rows = [HEAD, ("---",) * len(HEAD)]
    rows += [
        (each.what, *(cell or NOBODY for cell in (each.machine, each.service, each.computer)))
        for each in limits(caps)
    ]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def lines(providers: Sequence[Provider]) -> list[str]:
    """What to say of them before an order: a line for each limit, by whom it is enforced."""
    said: list[str] = []
    for provider in providers:
        for each in limits(provider.caps):
            who = [("the machine", each.machine), ("the service", each.service),
                   ("a computer of yours that is on", each.computer)]  # fmt: skip
            by = [f"{name} ({how})" for name, how in who if how]
            only = "only by " if len(by) == 1 else "by "
            name = f"{provider.name}: " if len(providers) > 1 else ""
            said.append(f"{name}{each.what}: {only}{' and '.join(by)}")
    return list(dict.fromkeys(said))
