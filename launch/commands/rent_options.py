"""The options that submit, resume and sweep share: their defaults, their meanings, and what they
come to. `shared` puts them into a command's signature and help."""

import functools
import inspect
from collections.abc import Callable, Collection
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from launch.commands import options
from mimir import cli
from mimir.errors import BadInput

if TYPE_CHECKING:
    from mimir.runs.order import KeySource, Limits, Plan

PARAMETER = "rent"
"""The parameter of a command that gets them."""
ALWAYS = ("notify",)
"""Options whose default is the same for every attempt, whatever was said for the last one."""
BESIDE = {
    "max_sessions": " where machines are rented, else no limit, but on Colab one more",
    "max_cost_month": ", or $MIMIR_MAX_COST_MONTH where that was no limit",
    "max_cost_store": ", or $MIMIR_MAX_COST_STORE where that was no limit",
}
"""What holds beside the last order where these options are not said."""
DEFAULT = " (default: "
"""Begins what holds where an option is not said, at the end of its meaning."""


@dataclass(frozen=True)
class RentOptions:
    """Where and how a run is to get its machines; "", None and False for what was not said.

    Args:
        provider: where to train: local (this computer), docker (a container on it), slurm (the
            cluster of this login node), or where machines are rented: runpod, vastai, lambda, aws,
            gcp, several as A,B, or any (default: local).
        gpu: a GPU to rent, such as "RTX 4090", several as A,B (default: the cheapest way).
        spot: rent machines that may be taken away, too.
        hosts: whose machines to rent: datacenter (data centres that the service vouches for; for
            data that is not public), verified (hosts that the service has verified), any
            (default: RunPod's two clouds, Vast.ai's verified hosts; docs/concepts/trust.md).
        region: where machines may be, by the services' names, countries' codes, or eu; several as
            A,B; any: anywhere (default: anywhere).
        min_reliability: least share of time, 0 to 1, that a host was there, where that is told, as
            by Vast.ai (default: 0.95).
        min_download: least Mbit/s of a host's line down, where that is told (default: 100).
        min_upload: least Mbit/s of its line up, where that is told; 0: any (default: any).
        image: a container image with Python and torch to train in; on slurm a .sif or .sqfs file
            or a folder (default: Mimir's own, or a public one with PyTorch where machines are
            rented; on slurm none).
        slurm: options for sbatch, such as '--partition=gpu --gres=gpu:1 --time=4:00:00', or @FILE;
            docs/guides/cluster.md (default: $MIMIR_SLURM).
        max_price: rent nothing that costs more, in $/h; 0: no limit (default: no limit).
        max_hours: hours of machines of a run over all its attempts, after which it commits and
            ends; `resume` goes on; 0: no limit (default: no limit).
        max_cost: dollars of a run over all its attempts; 0: twice the forecast beside what is
            spent, where machines are rented without --max-hours, else no limit (default: as 0).
        max_cost_month: dollars of all runs of the store in a calendar month (UTC), with what live
            machines may yet cost; 0: no limit (default: $MIMIR_MAX_COST_MONTH).
        max_cost_store: the same over all times (default: $MIMIR_MAX_COST_STORE).
        max_failures: machines or workers of a run that may break, from now on, before it is given
            up (default: 3).
        max_sessions: machines that the run may have in all; 0: no limit (default: no limit, but on
            Colab one: its free sessions are not chained unless you say so).
        role: for an s3:// store, the ARN of a role whose keys, cut down to this attempt, the
            machine gets; this computer's own stay here (default: $MIMIR_ROLE_ARN).
        static_keys: hand your own keys to the machine, not cut down to the attempt.
        watch: keep the run alive and follow its log until it ends; exit with 0 only if it is done.
        notify: with --watch: URL of a webhook (Slack, Discord, ntfy) that is told how the run
            ended; docs/notify.md (default: $MIMIR_NOTIFY).
        notify_from_machine: the machine itself tells the webhook how this attempt ended, also
            without --watch; its host and its service then learn the URL.
    """

    provider: str = ""
    gpu: str = ""
    spot: bool = False
    hosts: str = ""
    region: str = ""
    min_reliability: float | None = None
    min_download: float | None = None
    min_upload: float | None = None
    image: str = ""
    slurm: str = ""
    max_price: float | None = None
    max_hours: cli.Hours | None = None
    max_cost: float | None = None
    max_cost_month: float | None = None
    max_cost_store: float | None = None
    max_failures: int | None = None
    max_sessions: int | None = None
    role: str = ""
    static_keys: bool = False
    watch: bool = False
    notify: str = ""
    notify_from_machine: bool = False

    def __post_init__(self) -> None:
        for each in fields(self):
            if each.type is str:  # of a program, which no command line has checked
                text = options.text_of(each.name, getattr(self, each.name))
                object.__setattr__(self, each.name, text)

    @property
    def gpus(self) -> tuple[str, ...]:
        return options.gpus_of(self.gpu)

    @property
    def keys(self) -> "KeySource":
        return options.keys_of(self.role, self.static_keys)

    @property
    def of_hosts(self) -> dict[str, object]:
        """What was said of the hosts, as fields of `Hosts`."""
        return options.hosts_of(
            self.hosts, self.region, self.min_reliability, self.min_download, self.min_upload
        )

    @property
    def limits(self) -> dict[str, float]:
        """What was said of a run's own limits, as fields of `Limits`."""
        said = {
            "max_price": self.max_price, "max_hours": self.max_hours, "max_cost": self.max_cost,
            "max_failures": self.max_failures, "max_attempts": self.max_sessions,
        }  # fmt: skip
        return {name: value for name, value in said.items() if value is not None}

    def with_budgets(self, limits: "Limits") -> "Limits":
        return options.with_budgets(limits, self.max_cost_month, self.max_cost_store)

    def onto(self, plan: "Plan") -> "Plan":
        """The plan, but for what was said. BadInput for what it cannot be."""
        from launch.providers import registry
        from mimir.runs.order import KeySource

        limits = replace(plan.limits, **self.limits)  # type: ignore[arg-type]  # it is checked
        hosts = replace(plan.hosts, **self.of_hosts)  # type: ignore[arg-type]
        keys = self.keys
        return replace(
            plan,
            providers=registry.several(self.provider) if self.provider else plan.providers,
            limits=self.with_budgets(limits), gpus=self.gpus or plan.gpus,
            spot=self.spot or plan.spot, image=self.image or plan.image,
            keys=keys if keys != KeySource() else plan.keys, hosts=hosts,
        )  # fmt: skip


def shared(
    last: str = "", before: str = "", without: Collection[str] = ()
) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Give a command with a parameter `rent` the shared options in its place, each by its name.

    Args:
        last: what holds where an option is not said, for people, in place of a new run's default.
        before: what holds then where there is an earlier order, beside that default.
        without: names of options that the command does not have.
    """
    own = {each.name: each for each in fields(RentOptions) if each.name not in without}

    def give(command: Callable[..., int]) -> Callable[..., int]:
        @functools.wraps(command)
        def called(*args: Any, **said: Any) -> int:
            if PARAMETER in said:
                raise BadInput(f"there is no option or setting --{PARAMETER}")
            rent = RentOptions(**{name: said.pop(name) for name in own if name in said})
            return command(*args, rent=rent, **said)

        signature = inspect.signature(command)
        parameters: list[inspect.Parameter] = []
        for each in signature.parameters.values():
            parameters += (
                [each]
                if each.name != PARAMETER
                else [
                    inspect.Parameter(
                        option.name, each.kind, default=option.default, annotation=option.type
                    )
                    for option in own.values()
                ]
            )
        called.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        told = "".join(f"\n    {name}: {_meaning(name, last, before)}" for name in own)
        called.__doc__ = (inspect.getdoc(command) or "").replace("\nArgs:", f"\nArgs:{told}", 1)
        return called

    return give


def _meaning(name: str, last: str, before: str) -> str:
    """What an option means, with what holds where it is not said."""
    told = cli.sections(inspect.getdoc(RentOptions) or "")[1][name]
    meaning, said, default = told.removesuffix(").").partition(DEFAULT)
    if not said or name in ALWAYS:
        return told
    earlier = [f"{each}{BESIDE.get(name, '')}" for each in (last, before) if each]
    return f"{meaning}{said}{'; '.join(earlier if last else [default, *earlier])})."
