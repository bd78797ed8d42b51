"""cluster: Mimir on a cluster's login node, installed from the laptop, and what its nodes see."""

from typing import TYPE_CHECKING

from mimir import cli
from mimir.errors import BadInput

if TYPE_CHECKING:
    from launch.cluster.setup import Wanted

WAITS = 10.0
"""Minutes that the job which probes may wait in the queue."""


def setup(
    login: str,
    *,
    path: str = "~/mimir",
    python: str = "",
    site_packages: bool = False,
    wheelhouse: str = "",
    store: str = "",
    slurm: str = "",
    probe: bool = True,
    wait_minutes: cli.Minutes = WAITS,
    via: str = "",
) -> int:
    """Install Mimir on a cluster's login node by SSH, and ask a compute node what it sees.

    Run again it does only what is missing: after a loss of the connection it goes on, and a newer
    Mimir is installed beside the one that waiting jobs use. Afterwards `mimir --on LOGIN COMMAND`
    runs any command there.

    Args:
        login: [USER@]HOST[:PORT] as for `ssh`; its host key must be known here.
        path: a folder that login node and compute nodes share.
        python: a Python 3.11 to 3.13 there (default: the newest of its PATH).
        site_packages: take torch and the rest from that Python, as a site's module offers them,
            and install only what it lacks.
        wheelhouse: a folder of wheels on this computer, which is copied there, for login nodes
            without internet (default: pip's own index there).
        store: where runs live there, such as file:///scratch/me/mimir; the node's probe tries it,
            and `mimir --on` uses it from then on.
        slurm: options for sbatch of the job that probes, as for submit; write --slurm='…'.
        probe: --no-probe: ask no node.
        wait_minutes: that the job may wait in the queue.
        via: a jump host (default: what ~/.ssh/config says).

    Example:
        python -m launch cluster setup me@login.uni.edu --store file:///scratch/me/mimir
    """
    from launch.cluster import login as logins
    from launch.cluster import remote, setup
    from launch.ui.terminal import say
    from mimir.atomic_file import path_of

    wheels = path_of(wheelhouse, "--wheelhouse") if wheelhouse else None
    wanted = setup.Wanted(path, python, site_packages, wheels)
    _check_minutes(wait_minutes)
    where = logins.Login.parse(login, "LOGIN")
    with logins.connect(where, via) as connection:
        say(f"packages: {_source(wanted)}")
        place = setup.install(connection, wanted, say)
        if probe:
            said = {"--store": store, "--slurm": slurm, "--wait-minutes": str(wait_minutes)}
            words = [f"{name}={text}" for name, text in said.items() if text]
            say("4/4 asks a compute node what it sees")
            code = remote.run(connection, ["cluster", "probe", *words], terminal=False)
            if code != 0:
                say(
                    f"Mimir is installed in {place}, but the probe failed: once that is mended, "
                    "the same command probes again"
                )
                return code
        if store:
            setup.keep_store(connection, store)
    seen = "" if probe else ", and no node was asked what it sees"
    print(f"Mimir is installed in {place}{seen}; `mimir --on {where} COMMAND` runs it there")
    return 0


def probe(*, store: str = "", slurm: str = "", wait_minutes: cli.Minutes = WAITS) -> int:
    """Ask a compute node by a tiny job what it sees, on a login node (`mimir --on LOGIN …`).

    It must see this installation, the folder of the jobs' logs and the store, which login node and
    node then write in turn. Exits with 0 if it does, 78 with what it does not see, 75 if the job
    did not begin in time.

    Args:
        store: to try; without one only the folders are.
        slurm: options for sbatch, as for submit (default: $MIMIR_SLURM and the file).
        wait_minutes: that the job may wait in the queue.

    Example:
        python -m launch cluster probe --store file:///scratch/me/mimir --slurm=--partition=gpu
    """
    from launch.cluster.probe import Prober
    from launch.providers.slurm.commands import Commands
    from launch.ui.terminal import say

    _check_minutes(wait_minutes)
    print(Prober(Commands(), say, 60 * wait_minutes).ask(store, slurm))
    if not store:
        say("no --store was given, so that the probe covers the folders alone")
    return 0


def _check_minutes(minutes: float) -> None:
    if not 0 < minutes <= 10_000:
        raise BadInput(f"--wait-minutes is {minutes:g}, but must be more than 0, 10,000 at most")


def _source(wanted: "Wanted") -> str:
    what = f"those of {wanted.python or 'the Python there'}, and " if wanted.site_packages else ""
    if wanted.wheelhouse:
        return f"{what}wheels of {wanted.wheelhouse} on this computer, without an index"
    return f"{what}pip's index there, as its own settings say"
