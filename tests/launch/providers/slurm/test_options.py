"""sbatch's options: what is passed on, what is refused, and where they come from."""

from pathlib import Path

import pytest

from launch.providers.slurm import environment, options
from launch.providers.slurm.commands import Commands
from launch.providers.slurm.partitions import Partitions
from mimir.errors import BadInput
from tests.launch.providers.slurm.paper import Paper


def parsed(text: str) -> options.Options:
    return options.parse(options.given(text, {"HOME": "/nowhere"}))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 5400), ("1:30", 90), ("2:00:00", 7200), ("1-0", 86400), ("1-2:30", 95400),
     ("1-00:00:05", 86405), ("UNLIMITED", None), ("0", None)],
)  # fmt: skip
def test_slurms_ways_to_write_a_time(text: str, seconds: float | None) -> None:
    assert options.seconds(text) == seconds
    assert parsed(f"--time={text}").time == seconds


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("--gres=gpu:2", "one GPU"), ("--gres=gpu:h100:4", "one GPU"), ("-G 8", "one GPU"),
        ("--gpus=h100:2", "one GPU"), ("--nodes=2", "one GPU"), ("-N2", "one GPU"),
        ("--nodes=1-4", "one GPU"), ("--ntasks=2", "one GPU"), ("--gres=nvme:9,gpu:2", "one GPU"),
        ("--job-name=x", "--job-name"), ("-J x", "--job-name"), ("-o /tmp/log", "--output"),
        ("--export=ALL", "--export"), ("--wrap='echo'", "--wrap"), ("-a 1-3", "--array"),
        ("--chain=3", "--no-requeue"), ("--no-requeue --chain=1", "two or more"),
        ("--no-requeue --chain=3 --dependency=afterok:1", "singleton"),
        ("--signal=KILL@60", "--signal=KILL"), ("--signal=B:TERM@x", "--signal"),
        ("--time=soon", "no time"), ("--time", "expected one argument"), ("'open", "quote"),
        ("job.sh --partition=gpu", "'job.sh' is no option"), ("--hold job.sh", "no option"),
        ("--mem=8G job.sh", "no option"), ("-p gpu job.sh", "no option"),
        ("-A -- -a 0-3", "no option"),
        ("-N1 job.sh", "no option"), ("-s job.sh", "no option"), ("--exclusiv job.sh", "no option"),
        ("--arra=0-3", "--array: write it in full"), ("--gre=gpu:2", "in full"),
        ("--gpu=2", "in full"), ("--tim 9:00", "in full"), ("--requ", "in full"),
        ("--help", "submits no job"), ("-h", "--help"), ("--usage", "submits no job"),
        ("--hold --version", "submits no job"), ("-V", "--version"), ("--vers", "in full"),
        ("--help=x", "--help"), ("--parsable --parsable", "--parsable"), ("-W", "--wait"),
        ("--test-only", "--test-only"), ("-Ha 0-3", "several options"), ("-sN2", "several options"),
    ],
)  # fmt: skip
def test_what_is_refused(text: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        parsed(text)


def test_the_rest_is_passed_on_as_it_is() -> None:
    words = ("--account", "physics", "--qos=long", "--gres=gpu:h100:1", "-C", "a100&nvlink", "-N1",
             "--exclusive", "-s", "--nice=5", "--gpus", "1", "--mem", "8G", "-p", "gpu",
             "--wait-all-nodes=1")  # fmt: skip
    found = options.parse((*words, "--no-requeue", "--chain", "4"))
    assert found.words == (*words, "--no-requeue")
    assert (found.chain, found.requeue, found.signal) == (4, False, "TERM")


@pytest.mark.parametrize(
    ("limit", "text", "lead"),
    [(None, "", 120), (7200, "", 120), (240, "", 60), (7200, "--signal=B:USR1@300", 300),
     (1200, "--signal=TERM@300", 300), (1199, "--signal=TERM@300", None)],
)  # fmt: skip
def test_the_lead_fits_the_limit(limit: float | None, text: str, lead: int | None) -> None:
    asked = parsed(text)
    if lead is None:
        with pytest.raises(BadInput, match="a quarter of the time limit"):
            asked.lead_within(limit)
    else:
        assert asked.lead_within(limit) == lead


def test_a_partitions_limits() -> None:
    found = Partitions.ask(Commands({}, Paper().run))
    assert found.limit(parsed("")) == 3600
    assert found.limit(parsed("--partition=long")) is None
    assert found.limit(parsed("--partition=long --time=30")) == 1800
    found.check(parsed("--partition=gpu,long --time=9:00:00"))
    with pytest.raises(BadInput, match=r"partition gpu allows 2\.0 h"):
        found.check(parsed("--time=2:00:01"))
    with pytest.raises(BadInput, match="did you mean 'long'"):
        found.check(parsed("-p lang"))


def test_where_they_come_from(tmp_path: Path) -> None:
    own = tmp_path / ".config" / "mimir" / "slurm"
    own.parent.mkdir(parents=True)
    own.write_text("# the cluster's\n--account=physics\n--time=60\n")
    script = tmp_path / "job.sh"
    script.write_text("#!/bin/sh\n#SBATCH --qos=long\necho '--not this'\n")
    environ = {"HOME": str(tmp_path), "MIMIR_SLURM": f"@{script}"}
    asked = options.given("--time=30", environ)
    assert asked == ("--account=physics", "--time=60", "--qos=long", "--time=30")
    assert options.parse(asked).time == 1800, "the last one counts, as for sbatch"
    with pytest.raises(BadInput, match="cannot be read from"):
        options.given(f"@{tmp_path}/none", environ)


@pytest.mark.parametrize(
    ("text", "jobs", "words"),
    [
        ("", (), []),
        ("", ("7",), ["--dependency=afterany:7"]),
        ("-d afterok:3", ("7", "8"), ["--dependency=afterok:3,afterany:7:8"]),
        ("--no-requeue --chain=2", ("7",), ["--dependency=singleton,afterany:7"]),
        ("--dependency=afterok:3", (), []),
    ],
)
def test_a_job_behind_others(text: str, jobs: tuple[str, ...], words: list[str]) -> None:
    assert parsed(text).behind(jobs) == words


def test_alternatives_cannot_be_joined_to_what_a_lane_waits_for() -> None:
    with pytest.raises(BadInput, match="holds alternatives"):
        parsed("--dependency=afterok:3?afterok:4").behind(("7",))


def test_a_job_gets_variables_by_name_and_no_secret() -> None:
    environ = {
        "PATH": "/bin", "AWS_PROFILE": "cluster", "AWS_SECRET_ACCESS_KEY": "s", "SLURM_JOB_ID": "7",
        "https_proxy": "http://proxy:3128", "HTTPS_PROXY": "http://me:word@proxy:3128",
        "HTTP_PROXY": "http://token@proxy", "http_proxy": "token@proxy:1", "ALL_PROXY": "http://[bad",
        "all_proxy": "http:/token@proxy", "no_proxy": "localhost,[::1]",
        "MIMIR_SLURM_ENV": "MINE,HTTP_PROXY", "MINE": "yes", "OTHER": "no", "RUNPOD_API_KEY": "k",
    }  # fmt: skip
    found = environment.of_job(environ)
    assert found.pop("PYTHONPATH", "")
    assert found == {"PATH": "/bin", "AWS_PROFILE": "cluster", "https_proxy": "http://proxy:3128",
                     "no_proxy": "localhost,[::1]", "MINE": "yes",
                     "MIMIR_SLURM_ENV": "MINE,HTTP_PROXY"}  # fmt: skip
    for name in ("WANDB_API_KEY", "MIMIR_NOTIFY", "SLURM_CONF", "a b"):
        with pytest.raises(BadInput, match="MIMIR_SLURM_ENV"):
            environment.of_job({"MIMIR_SLURM_ENV": name})
