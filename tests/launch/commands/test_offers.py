"""`offers` and `estimate`, as a user sees them."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from launch.commands import SUMMARY, TREE
from launch.contract.errors import AuthFailed, NoCapacity
from launch.contract.offer import Hosts, Need, Offer
from launch.pricing import catalogue, forecast, gpus, measured
from launch.pricing.workload import GUIDE_ROWS, Workload
from launch.providers import registry
from launch.providers.colab import sessions
from mimir import cli, console
from mimir.config import load_preset

GUIDE = ("--rows", str(GUIDE_ROWS))
PLATEAU = ("plateau_steps", "plateau_hours", "plateau_cost")


class Fake:
    """A provider that rents, and its adapter in one."""

    def __init__(self, name: str, answer: list[Offer] | Exception | None) -> None:
        self.name, self.answer, self.cloud = name, answer, self
        self.key_variable = f"{name.upper()}_API_KEY"
        self.catalogue_name = {"lambda": "lambdalabs"}.get(name, "")
        self.asked: list[Need] = []

    def configured(self) -> bool:
        return self.answer is not None

    def regions(self) -> list[str]:
        return ["EU-RO-1", "EUR-IS-1", "US-TX-3", "se"]

    def offers(self, need: Need) -> list[Offer]:
        self.asked.append(need)
        if isinstance(self.answer, Exception):
            raise self.answer
        return list(self.answer or ())


@pytest.fixture
def clouds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Fake]:
    """RunPod and Vast.ai have offers, Lambda has no key."""
    made = {
        "runpod": Fake("runpod", [Offer("runpod", "1", "RTX 4090", 24, 0.60, "EU-RO-1")]),
        "vastai": Fake(
            "vastai",
            [
                Offer("vastai", "7", "RTX 4090", 24, 0.30, "SE", spot=True),
                Offer("vastai", "8", "A100 80GB", 80, 0.90, "US"),
                Offer("vastai", "9", "GTX 480", 2, 0.02, "SE"),
            ],
        ),
        "lambda": Fake("lambda", None),
    }
    real = registry.rented
    monkeypatch.setattr(registry, "rented", lambda n: made[n] if n in made else real(n))
    monkeypatch.setenv("MIMIR_STORE", (tmp_path / "store").as_uri())
    monkeypatch.setitem(sys.modules, "gpuhunt", Package([]))
    # What the bench of this checkout has measured grows.
    monkeypatch.setattr(measured, "from_bench", lambda *_: {})
    return made


def run(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> tuple[str, str]:
    with pytest.raises(SystemExit) as ended:
        cli.main("python -m launch", SUMMARY, TREE, words)
    out, err = capsys.readouterr()
    assert ended.value.code == code, err
    return out, err


def columns(out: str) -> list[list[str]]:
    """The table under the title."""
    lines = out.splitlines()[1:]
    apart = (" left out", "Early stopping", "evictions are expected")
    return [line.split() for line in lines if not any(words in line for words in apart)]


def test_offers_by_total_cost(clouds: dict[str, Fake], capsys: pytest.CaptureFixture[str]) -> None:
    out, err = run(capsys, "offers", "--preset", "large", *GUIDE, "--spot")
    assert out.startswith("large: 21.47M parameters, 1,003,470 training peptides, 7,839 steps")
    assert "Early stopping is expected to end the run at step " in out
    head, *rows = columns(out)
    assert head[:4] == ["PROVIDER", "GPU", "GB", "$/H"]
    assert [row[0] for row in rows] == ["vastai", "vastai", "runpod"]
    assert rows[0][:5] == ["vastai", "RTX", "4090", "24", "0.300"]
    assert "A100 80GB" in out
    assert "1 offer is left out, because GTX 480 with 2 GB is too small: " in out
    assert err == ""
    need = clouds["vastai"].asked[0]
    assert need.spot
    assert 2 < need.memory_gb < 8


def test_options_are_passed_on(clouds: dict[str, Fake], capsys: pytest.CaptureFixture[str]) -> None:
    words = ("offers", *GUIDE, "--provider", "runpod", "--gpu", "4090", "--max-price", "0.7")
    out, _ = run(capsys, *words, "--json")
    body = json.loads(out)
    assert [one["id"] for one in body["offers"]] == ["1"]
    assert body["offers"][0]["hours"] > 0
    assert clouds["vastai"].asked == []
    need = clouds["runpod"].asked[0]
    assert (need.gpus, need.spot) == (("RTX 4090",), False)
    assert need.hosts == Hosts()
    words = ("offers", *GUIDE, "--hosts", "datacenter", "--region", "EU,us-tx-3")
    run(capsys, *words, "--min-reliability", "0.99", "--min-download", "0", "--min-upload", "50")
    need = clouds["vastai"].asked[0]
    assert need.hosts == Hosts("datacenter", ("eu", "us-tx-3"), 0.99, 0, 50)
    assert 0.4 < need.upload_gb < 0.6, "the small preset's checkpoints, and not the large one's"


def test_what_nobody_offers_says_what_is_needed(
    clouds: dict[str, Fake], capsys: pytest.CaptureFixture[str]
) -> None:
    clouds["runpod"].answer = clouds["vastai"].answer = []
    out, _ = run(capsys, "offers", "--preset", "large", "--batch", "16384", *GUIDE)
    assert "no offer can take it now; 74." in out


def test_one_provider_down_hides_no_other(
    clouds: dict[str, Fake], capsys: pytest.CaptureFixture[str]
) -> None:
    clouds["vastai"].answer = AuthFailed("Vast.ai does not accept the key")
    out, err = run(capsys, "offers", *GUIDE)
    assert columns(out)[1][0] == "runpod"
    assert err == "vastai: Vast.ai does not accept the key\n"
    run(capsys, "offers", *GUIDE, "--provider", "vastai", code=78)
    clouds["runpod"].answer = NoCapacity("nothing")
    run(capsys, "offers", *GUIDE, code=75)


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (("offers", "--preset", "larg"), "did you mean 'large'?"),
        (("estimate", "--preset", "larg"), "did you mean 'large'?"),
        (("offers", "--gpu", "4091"), "did you mean 'RTX 4090'?"),
        (("estimate", "--gpu", "h100 sx"), "did you mean 'H100 SXM'?"),
        (("offers", "--provider", "runpd"), "did you mean 'runpod'?"),
        (("offers", "--provider", "local"), "rents nothing"),
        (("offers", "--provider", "lambda", *GUIDE), "no key here for lambda: set"),
        (("offers", "--max-price", "-1"), "must be 0 (no limit) or more"),
        (("offers", "--prise", "1"), "did you mean '--"),
        (
            ("offers", *GUIDE, "--region", "eu-ro-2"),
            "no region 'eu-ro-2' at runpod or vastai; did you mean 'eu-ro-1'?",
        ),
        (
            ("offers", *GUIDE, "--region", "se,mars"),
            "no region 'mars' at runpod or vastai; known are EU-RO-1, EUR",
        ),
        (("offers", "--hosts", "verifed"), "hosts is 'verifed'; did you mean 'verified'?"),
        (
            ("offers", "--min-reliability", "95"),
            "--min-reliability is 95, but must be a number from",
        ),
        (("offers", "--min-upload", "-3"), "--min-upload is -3, but must be a number from 0"),
        (("estimate", "--epohcs", "1"), "did you mean '--epochs'?"),
        (("estimate", "--rows", "5"), "batch is 32, but there are only 5"),
        (("estimate", "--rows", "-5"), "must be a number of peptides"),
        (("estimate", "--rows", "5000", "--data", "x.csv"), "one of --data and --rows"),
        (("estimate", "--data", "no.csv"), "no data file"),
    ],
)
def test_bad_words(
    words: tuple[str, ...], wanted: str, clouds: dict[str, Fake], capsys: pytest.CaptureFixture[str]
) -> None:
    _, err = run(capsys, *words, code=78)
    assert wanted in err
    assert err.count("\n") == 1
    assert not any(fake.asked for fake in clouds.values())


def test_estimate_is_the_guides_table(
    clouds: dict[str, Fake], capsys: pytest.CaptureFixture[str]
) -> None:
    out, err = run(capsys, "estimate", "--preset", "medium", *GUIDE)
    rows = {row[0]: row for row in columns(out)}
    assert set(rows) >= {"T4", "V100", "L4", "H200", "B200"}
    assert " fits " in next(line for line in out.splitlines() if line.startswith("T4"))
    assert "too old" not in out
    # the price on demand, never a spot one
    assert "0.600 runpod" in next(line for line in out.splitlines() if line.startswith("RTX 4090"))
    assert "not measured on that GPU itself" in out
    assert err == ""


def test_the_model_is_held_against_what_was_measured(
    clouds: dict[str, Fake], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    work = Workload(load_preset("large"), GUIDE_ROWS)
    gpu = gpus.find("H200")
    known = forecast.Measured(1.5 * forecast.step_seconds(work, gpu), "bench/results/gpu-h200.json")
    monkeypatch.setattr(measured, "from_bench", lambda *_: {"H200": known})
    out, _ = run(capsys, "estimate", "--preset", "large", *GUIDE)
    sources = {line.split()[0]: line for line in out.splitlines()}
    assert "measured (bench/results/gpu-h200.json)" in sources["H200"]
    assert sources["B200"].endswith("model x 1.50, as measured on H200")
    assert sources["T4"].endswith("  model")  # which takes another way
    assert "Where steps were measured, they took 1.5x the estimate on H200" in out
    out, _ = run(capsys, "estimate", "--preset", "large", "--gpu", "h200", *GUIDE)
    assert "roofline" not in out


@pytest.mark.parametrize(("width", "without"), [
    (200, ""), (90, "COLAB PRO"), (80, "COLAB PRO, COLAB FREE"),
    (60, "COLAB PRO, COLAB FREE, EPOCH"),
])  # fmt: skip
def test_an_estimate_on_a_narrow_terminal(
    clouds: dict[str, Fake], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    width: int, without: str,
) -> None:  # fmt: skip
    monkeypatch.setattr(console, "width_of", lambda stream: width)
    # Of another decay no plateau was measured, whose column would be one more.
    out, _ = run(capsys, "estimate", "--preset", "medium", "--ema", "0.99", *GUIDE)
    assert max(map(len, out.splitlines())) <= width
    assert f"too narrow for {without}" in out or not without
    head = next(line for line in out.splitlines() if line.startswith("GPU "))
    assert {"GPU", "HOURS", "COST"} <= set(head.split())
    assert all((name in head) != (name in without) for name in ("COLAB PRO", "COLAB FREE"))


@pytest.mark.parametrize(("width", "has_from", "is_whole"), [
    (200, True, True), (90, True, False), (40, False, True),
])  # fmt: skip
def test_what_is_cut_from_a_source_on_a_narrow_terminal_is_said(
    clouds: dict[str, Fake], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    width: int, has_from: bool, is_whole: bool,
) -> None:  # fmt: skip
    known = forecast.Measured(1e-3, "bench/results/gpu-h200.json")
    monkeypatch.setattr(measured, "from_bench", lambda *_: {"H200": known})
    monkeypatch.setattr(console, "width_of", lambda stream: width)
    out, _ = run(capsys, "estimate", "--preset", "medium", *GUIDE)
    head = next(line for line in out.splitlines() if line.startswith("GPU "))
    assert ("FROM" in head) == has_from
    assert ("measured (bench/results/gpu-h200.json)" in out) == (has_from and is_whole)
    assert ("too narrow for all that FROM says; `--json`" in out) == (not is_whole)


def test_estimate_json(clouds: dict[str, Fake], capsys: pytest.CaptureFixture[str]) -> None:
    clouds["vastai"].answer = AuthFailed("no")
    out, _ = run(capsys, "estimate", "--preset", "large", "--gpu", "4090,t4", *GUIDE, "--json")
    body = json.loads(out)
    assert (body["steps_per_epoch"], body["epochs"]) == (7839, 150)
    card, free = body["gpus"]
    assert (card["gpu"], card["price"], card["provider"]) == ("RTX 4090", 0.6, "runpod")
    assert card["cost"] == pytest.approx(0.6 * card["hours"], rel=1e-3)
    assert (free["gpu"], free["price"], free["cost"]) == ("T4", None, None)
    assert body["problems"] == ["no"]


def test_estimate_leaves_out_cards_that_would_refuse_the_kernels(
    clouds: dict[str, Fake], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("estimate", *GUIDE, "--kernels", "norm", "--gpu", "t4,l4")
    out, err = run(capsys, *words)
    assert [row[0] for row in columns(out)][:2] == ["GPU", "L4"]
    assert not any(line.startswith("T4") for line in out.splitlines())
    assert "left out: --kernels norm cannot run on T4: norm needs compute capability 8.0" in err
    body = json.loads(run(capsys, *words, "--json")[0])
    assert [one["gpu"] for one in body["gpus"]] == ["L4"]
    assert "T4" in body["notes"][0]


def test_an_estimate_of_a_cpu_shows_no_gpu(
    clouds: dict[str, Fake], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("estimate", *GUIDE, "--device", "cpu")
    _, err = run(capsys, *words, "--gpu", "t4", code=78)
    assert "--device cpu trains on no GPU: leave out --gpu, or --device" in err
    _, err = run(capsys, *words, code=78)
    assert "how long a step takes on a CPU is not known" in err
    _, err = run(capsys, "offers", *GUIDE, "--device", "cpu", code=78)
    assert "--device cpu trains on no GPU" in err
    ours = {
        name: forecast.Measured(0.04, "bench/results/x") for name in ("EPYC (2 threads)", "H200")
    }
    monkeypatch.setattr(measured, "from_bench", lambda *_: ours)
    body = json.loads(run(capsys, *words, "--json")[0])
    assert [one["gpu"] for one in body["gpus"]] == ["EPYC (2 threads)"]


def test_estimate_of_what_submit_would_train(
    clouds: dict[str, Fake], capsys: pytest.CaptureFixture[str]
) -> None:
    out, err = run(capsys, "estimate", "--gpu", "t4", "--epochs", "3")
    assert out.startswith("small: 0.83M parameters, 20,341 training peptides, 635 steps")
    assert "1,905 steps in all" in out
    assert "TO PLATEAU" not in out
    assert "not shown: it was measured at step 7,000, and this run has 1,905" in out
    assert f"--rows {GUIDE_ROWS}" in err


def test_sessions_of_colab() -> None:
    work = Workload(load_preset("large"), GUIDE_ROWS)

    def what(gpu: str, hours: float) -> forecast.Forecast:
        step = (hours - forecast.START_UP / 3600) * 3600 / work.steps
        made = forecast.forecast(work, gpu, {gpu: forecast.Measured(step, "x")})
        assert made is not None
        return made

    assert sessions.free(what("T4", 3.9)) == "fits"
    assert sessions.free(what("T4", 9.0)) == "may fit, or 3 sessions"
    assert sessions.free(what("T4", 30.0)) == "3 to 8 sessions"
    assert sessions.free(what("A100 40GB", 2.0)) == ""
    assert sessions.pro(what("A100 40GB", 23.0)) == "fits"
    assert sessions.pro(what("A100 40GB", 25.0)) == "2 sessions"
    assert sessions.pro(what("RTX 4090", 2.0)) == ""


class Package(SimpleNamespace):
    """What of gpuhunt is used: Catalog().query(…)."""

    def __init__(self, answer: list[Any] | Exception, **versions: str) -> None:
        def query(**words: Any) -> list[Any]:
            self.asked = words
            if isinstance(answer, Exception):
                raise answer
            return answer

        versions = {"lambdalabs": "20261125-77", **versions}
        listed = {name: SimpleNamespace(version=each) for name, each in versions.items()}
        super().__init__(Catalog=lambda: SimpleNamespace(query=query, catalog=listed))


def item(provider: str, name: str, gpu: str, price: float, memory: float = 24) -> SimpleNamespace:
    return SimpleNamespace(
        provider=provider, instance_name=name, gpu_name=gpu, price=price, gpu_memory=memory
    )


def test_prices_of_the_catalogue(
    clouds: dict[str, Fake], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    package = Package(
        [
            item("lambdalabs", "gpu_1x_a10", "A10", 0.75),
            item("lambdalabs", "gpu_1x_a10", "A10", 0.80),
            item("lambdalabs", "gpu_1x_h100_pcie", "H100", 2.49, 80),
            item("lambdalabs", "cpu_4x", "", 0.10, 0),
            item("lambdalabs", "strange", "A100", 1.79, 80),
        ]
    )
    monkeypatch.setitem(sys.modules, "gpuhunt", package)
    found, problem = catalogue.prices({"lambdalabs": "lambda"})
    assert problem == ""
    assert [(p.gpu, p.price, p.provider) for p in found] == [
        ("A10", 0.75, "lambda"), ("A100 80GB", 1.79, "lambda"), ("H100 PCIe", 2.49, "lambda"),
    ]  # fmt: skip
    assert package.asked["provider"] == ["lambdalabs"]
    out, _ = run(capsys, "estimate", *GUIDE, "--gpu", "a10,4090")
    assert "gained less than 0.001 nats per residue (two runs, by the mean of three" in out
    assert "0.750 lambda (listed, 2026-11-25)" in out
    told = json.loads(run(capsys, "estimate", *GUIDE, "--gpu", "a10", "--json")[0])
    assert (told["no_plateau"], "docs/lab.md" in told["plateau_source"]) == ("", True)
    line = told["gpus"][0]
    assert (line["price_date"], line["plateau_steps"]) == ("2026-11-25", 7000)
    assert line["plateau_cost"] == pytest.approx(0.75 * line["plateau_hours"], abs=1e-3)
    assert 0 < line["start_hours"] < line["plateau_hours"] < line["hours"]
    assert "TO PLATEAU" in out
    assert "to plateau: 7,000 of the 627,160 steps" in out
    out, _ = run(capsys, "offers", *GUIDE, "--provider", "lambda", "--max-price", "1")
    assert "listed by gpuhunt's catalogue, where there is no key here:" in out
    assert "0.750  2026-11-25" in out
    assert "2.490" not in out


def test_what_is_listed_takes_the_hours_of_the_estimate_and_has_its_own_date(
    clouds: dict[str, Fake], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Measured steps, and an image of which nothing is known, count in both."""
    clouds["runpod"].answer = None
    clouds["runpod"].catalogue_name = "runpod"
    items = [item("lambdalabs", "gpu_1x_a10", "A10", 0.75), item("runpod", "x", "T4", 0.20, 16)]
    monkeypatch.setitem(sys.modules, "gpuhunt", Package(items, runpod=""))
    monkeypatch.setenv("MIMIR_IMAGE", "somebody/else:1")
    known = forecast.Measured(0.01, "bench/results/x")
    monkeypatch.setattr(measured, "from_bench", lambda *_: {"A10": known})
    words = (*GUIDE, "--gpu", "a10,t4", "--json")
    lines = json.loads(run(capsys, "estimate", *words)[0])["gpus"]
    body = json.loads(run(capsys, "offers", *words)[0])
    for listed in body["catalogue"]:
        (same,) = (line for line in lines if line["gpu"] == listed["gpu"])
        assert {**same, **dict.fromkeys(PLATEAU)} == {**listed, **dict.fromkeys(PLATEAU)}
    assert [line["gpu"] for line in body["catalogue"]] == ["A10", "T4"]
    out, _ = run(capsys, "offers", *GUIDE, "--gpu", "a10,t4")
    rows = [line.split("  ") for line in out.splitlines() if "lambda" in line or "runpod" in line]
    dates = [next(word.strip() for word in row if "2026" in word or "date" in word) for row in rows]
    assert dates == ["2026-11-25", "date unknown"]
    assert "lambda (listed, 2026-11-25)" in run(capsys, "estimate", *GUIDE, "--gpu", "a10,t4")[0]
    assert "runpod (listed, date unknown)" in run(capsys, "estimate", *GUIDE, "--gpu", "t4")[0]


@pytest.mark.parametrize(
    ("package", "why"),
    [
        (Package(OSError("no route")), "could not be read (OSError: no route)"),
        (None, "is not installed: pip install gpuhunt"),  # as sys.modules has it
    ],
)
def test_a_catalogue_that_cannot_be_read_is_one_line(
    clouds: dict[str, Fake], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    package: Package | None, why: str,
) -> None:  # fmt: skip
    monkeypatch.setitem(sys.modules, "gpuhunt", package)
    out, err = run(capsys, "offers", *GUIDE)
    assert len(columns(out)) == 4  # the head and three offers
    assert err.endswith(f"{why}\n")
    assert err.count("\n") == 1


def test_a_price_below_the_market_is_told_with_the_least_that_would_do(
    clouds: dict[str, Fake], capsys: pytest.CaptureFixture[str]
) -> None:
    out, _ = run(capsys, "offers", *GUIDE, "--provider", "runpod,vastai", "--max-price", "0.01")
    assert "no offer can take it now" in out
    assert (
        "4 offers are left out, because they cost more than $0.01/h (the cheapest of them $0.020/h)"
        in out
    )
