"""The cluster's partitions and their time limits, which sbatch itself does not check."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from launch.contract.errors import ProviderError
from launch.providers.slurm import options
from launch.providers.slurm.commands import Commands
from launch.providers.slurm.options import Options
from mimir.errors import BadInput
from mimir.text import duration, nearest


@dataclass(frozen=True)
class Partitions:
    """name -> (DefaultTime, MaxTime) in seconds, None for none. default: the one by default."""

    times: Mapping[str, tuple[float | None, float | None]]
    default: str

    @classmethod
    def ask(cls, commands: Commands) -> "Partitions":
        """Raises:
        BadInput: there is no Slurm here.
        ProviderError: it does not tell.
        """
        code, out, err = commands.ask("scontrol", "show", "partition", "-o")
        if code != 0:
            raise ProviderError(f"Slurm does not tell its partitions: {commands.words(err)}")
        times, default = {}, ""
        for line in out.splitlines():
            said = dict(re.findall(r"(\w+)=(\S*)", line))
            name = said.get("PartitionName", "")
            if name:
                longest = options.seconds(said.get("MaxTime", "UNLIMITED"))
                usual = options.seconds(said.get("DefaultTime", "NONE"))
                times[name] = (usual, longest)
            if said.get("Default") == "YES":
                default = name
        return cls(times, default)

    def check(self, asked: Options) -> None:
        """BadInput for a partition that is none, a time that it does not allow, a long lead."""
        names = self._names(asked)
        for name in names:
            if self.times and name not in self.times:
                raise BadInput(
                    f"the cluster has no partition {name!r}{nearest(name, self.times)}: "
                    "`sinfo --summarize` lists them"
                )
        most = [self.times[name][1] for name in names if name in self.times]
        limits = [each for each in most if each is not None]
        limited = limits and len(limits) == len(most)
        if asked.time is not None and limited and asked.time > max(limits):
            where = " and ".join(names)
            raise BadInput(
                f"--time is {duration(asked.time)}, but partition {where} allows "
                f"{duration(max(limits))} at most: such a job would wait for ever"
            )
        asked.lead_within(self.limit(asked))

    def limit(self, asked: Options) -> float | None:
        """The time limit in seconds that a job with these options gets; None for none."""
        if asked.time is not None:
            return asked.time
        known = [self.times[name] for name in self._names(asked) if name in self.times]
        found = [usual if usual is not None else longest for usual, longest in known]
        return min((each for each in found if each is not None), default=None)

    def _names(self, asked: Options) -> list[str]:
        text = asked.partition or self.default
        return [name for name in text.split(",") if name]
