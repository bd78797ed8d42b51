"""What a run takes: formulas against the real model, measured steps before reckoned ones."""

import json
import shutil
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from launch.pricing import gpus, kernels, measured, plateau
from launch.pricing.forecast import RUNTIME_GB, Measured, forecast, need_gb, step_seconds
from launch.pricing.market import judge
from launch.pricing.workload import GUIDE_LENGTH, GUIDE_PAIRS, GUIDE_ROWS, Workload
from mimir.config import Config, load_preset
from mimir.errors import BadInput
from mimir.runs import notes
from mimir.runs.begin import raise_attempt
from mimir.runs.commit import Attempt
from mimir.runs.execution import Execution
from mimir.runs.notes import Heartbeat
from mimir.runs.record import RunRecord, create_run
from mimir.training import own_kernels
from tests import ROOT
from tests.launch.paper import offer
from tests.runs.memory import MemoryStore
from tests.waiting import LIMIT

BENCH = ROOT / "bench" / "results"


def guide(preset: str, **settings: object) -> Workload:
    return Workload(load_preset(preset).with_settings(settings), GUIDE_ROWS, held_out=10_000)


def step(work: Workload, gpu: str) -> float:
    what = forecast(work, gpu)
    assert what is not None
    return what.step_s


@pytest.mark.parametrize("preset", ["smoke", "small", "medium", "large"])
def test_parameters_are_the_models(preset: str) -> None:
    from mimir.model.denoiser import Denoiser

    work = guide(preset)
    with torch.device("meta"):
        model = Denoiser(work.config.model, work.config.objective.timesteps, work.targets)
    assert work.parameters == sum(value.numel() for value in model.parameters())


def test_the_guides_rows() -> None:
    """Steps of an epoch, and its hours on T4 and A100 as an upper anchor."""
    steps = {name: guide(name).steps_per_epoch for name in ("small", "medium", "large")}
    assert steps == {"small": 31_358, "medium": 15_679, "large": 7_839}
    for preset, gpu, upper in (
        ("medium", "T4", 5.0),
        ("medium", "A100 40GB", 2.0),
        ("large", "T4", 42.0),
        ("large", "A100 40GB", 10.0),
    ):
        what = forecast(guide(preset), gpu)
        assert what is not None
        assert upper / 12 < what.hours < upper
        assert what.source == "model"


def test_the_model_meets_what_was_measured() -> None:
    """Its own constants were set by these, so it must come near."""
    met = 0
    for path in BENCH.glob("gpu-*.json"):
        result = json.loads(path.read_text())
        for name, figures in result["presets"].items():
            seconds = figures["sides"]["ours"]["median_ms"] / 1e3
            assert 0.75 < step(guide(name), result["machine"]["gpu"]) / seconds < 1.33, name
            met += 1
    assert met >= 3


def test_operations_agree_with_the_benchs_formula() -> None:
    """bench.work counts real residues and no attention: ours is a little above it."""
    for path in BENCH.glob("cpu-*.json"):
        for name, figures in json.loads(path.read_text())["presets"].items():
            assert 1.0 < guide(name).flop / 1e9 / figures["gflop_per_step"] < 1.5


def test_memory_is_not_below_what_was_measured() -> None:
    """Training's own memory on a CPU in float32, one graph's copies apart."""
    for path in BENCH.glob("cpu-*.json"):
        for name, figures in json.loads(path.read_text())["presets"].items():
            ours = figures["sides"]["ours"]
            held = (ours["peak_mib"] - ours["before_mib"]) * 2**20 / 1e9
            reckoned = guide(name, precision="fp32").memory_gb(4)
            assert held < reckoned + 0.15 < 4 * held


def test_more_asks_for_more() -> None:
    small, large = guide("small"), guide("large")
    assert need_gb(large) > need_gb(small) > RUNTIME_GB
    assert need_gb(guide("large", batch=1024)) > 2 * need_gb(large) - RUNTIME_GB
    assert need_gb(guide("large", batch=1024, accumulate=8)) < 1.1 * need_gb(large)
    t4, a100, h100 = (step(large, name) for name in ("T4", "A100 40GB", "H100 SXM"))
    assert t4 > a100 > h100
    for slower in ({"graph_steps": 0}, {"compile": "off"}, {"precision": "fp32"}):
        assert step(guide("large", **slower), "T4") > t4
    # a small model is not held up by products but by kernels
    assert step(small, "T4") / step(small, "H100 SXM") < 2.5 < t4 / h100


def test_hours_are_steps_validations_and_the_start() -> None:
    config = load_preset("large").with_settings({"max_steps": 1000, "eval_every": 0})
    work = Workload(config, 12_800, held_out=384)
    known = {"T4": Measured(0.5, "run x")}
    what = forecast(work, "Tesla T4", known, start_s=360.0)
    assert what is not None
    assert (what.gpu, what.source) == ("T4", "measured (run x)")
    # 10 validations of 384 peptides, twice and forward only: two steps' worth each; five samples
    samples = 5 * 20 * (20 + 25 * 6) * 15e-6
    assert what.train_hours == pytest.approx(((1000 + 10 * 2) * 0.5 + samples) / 3600)
    assert what.hours == pytest.approx(what.train_hours + 0.1)
    assert what.epoch_s == pytest.approx(102 * 0.5 + samples / 10)


def test_the_expected_end_leaves_the_hours_of_all_steps_as_they_are() -> None:
    whole = Workload(load_preset("small"), GUIDE_ROWS, pairs=GUIDE_PAIRS)
    plain = forecast(replace(whole, pairs=0), "T4")
    what = forecast(whole, "T4")
    assert what is not None
    assert plain is not None
    assert (what.hours, what.steps) == (plain.hours, plain.steps)
    assert plain.expected_hours is None
    assert what.expected_end is not None
    assert what.expected_hours == pytest.approx(
        what.train_hours * what.expected_end / what.steps + what.start_s / 3600
    )
    assert what.expected_hours < what.hours


def test_of_steps_are_so_many() -> None:
    for steps in (1, 149, 150, 1_175_850):
        assert Workload.of_steps(load_preset("large"), steps).steps == steps


def test_the_model_is_set_right_by_the_nearest_card_that_goes_the_same_way() -> None:
    work = guide("large")
    by = {"H200": 0.8, "L4": 2.0, "V100": 3.0}
    known = {name: Measured(times * step(work, name), "bench") for name, times in by.items()}
    for name, nearest in (
        ("H100 SXM", "H200"), ("A100 80GB", "H200"), ("RTX 3090", "L4"), ("T4", "V100"),
    ):  # fmt: skip
        what = forecast(work, name, known)
        assert what is not None
        assert what.step_s == pytest.approx(by[nearest] * step(work, name)), name
        assert what.source == f"model x {by[nearest]:.2f}, as measured on {nearest}"
        assert (what.basis.kind, what.basis.brief) == ("model", f"model x {by[nearest]:.2f}")
        assert not what.measured
    # Without attention as one kernel, a card says nothing of one with it; nor does a stranger.
    for other in ({"V100": known["V100"]}, {"H200": replace(known["H200"], reported=True)}):
        what = forecast(work, "H100 SXM", other)
        assert what is not None
        assert (what.source, what.step_s) == ("model", step(work, "H100 SXM"))


def test_validations_and_samples_wait_for_the_host_where_steps_are_short() -> None:
    settings = {"max_steps": 4000, "eval_every": 1000, "sample_every": 2, "eval_rows": 4096}
    config = load_preset("large").with_settings(settings)
    work = Workload(config, 1_003_470, held_out=10_000)
    assert (work.validations, work.validation_passes, work.sampling_passes) == (4, 52, 40)
    started = (20 + 25 * 6) * 15e-6
    for step_s, passes in ((1e-4, (52 + 40) * started), (1.0, 4 * 64 / 3 + 40 * started)):
        what = forecast(work, "H200", {"H200": Measured(step_s, "bench")})
        assert what is not None
        assert what.validation_s == pytest.approx(passes)
    own = forecast(work, "Ryzen", {"Ryzen": Measured(1.0, "bench")})
    assert own is not None
    assert own.validation_s == pytest.approx(4 * 64 / 3)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({}, ""),
        ({"seed": 3, "epochs": 1, "precision": "fp32"}, ""),
        ({"patience": 0, "cooldown_steps": 7}, ""),
        (
            {"target_dropout": 0.5},
            "it was measured with target_dropout 0.3 only, and this training has 0.5",
        ),
        ({"composition": "off"}, "composition on only, and this training has off"),
        ({"hidden_counts": 0.0}, "hidden_counts 0.3 only, and this training has 0.0"),
        ({"eval_every": 500}, "eval_every 1000 only, and this training has 500"),
        ({"batch": 64}, "it was measured with batch 32 only, and this training has 64"),
        ({"dim": 256}, "dim 128 only, and this training has 256"),
        ({"timesteps": 100}, "timesteps 20 only, and this training has 100"),
        ({"lr": 3e-4}, "lr 0.001 only, and this training has 0.0003"),
        ({"ema": 0.99}, "ema 0.999 only, and this training has 0.99"),
        ({"pair_share": 0.0}, "pair_share 0.33 only, and this training has 0.0"),
        ({"accumulate": 2}, "accumulate 1 only, and this training has 2"),
        ({"max_steps": 6999}, "it was measured at step 7,000, and this run has 6,999"),
    ],
)
def test_the_plateau_is_of_the_preset_as_it_was_measured(
    settings: dict[str, object], why: str
) -> None:
    config = load_preset("small").with_settings(settings)
    found, told = plateau.of(Workload(config, GUIDE_ROWS, pairs=GUIDE_PAIRS))
    assert (found is None) == bool(why)
    assert why in told
    assert bool(told) == bool(why)


def test_a_setting_that_is_new_since_the_plateau_was_measured_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And whoever adds one decides whether it matters."""
    small = plateau.MEASURED["small"]
    work = Workload(load_preset("small"), GUIDE_ROWS, pairs=GUIDE_PAIRS)
    assert plateau.of(work)[0] is not None
    older = {name: value for name, value in small.settings.items() if name != "ema"}
    monkeypatch.setitem(plateau.MEASURED, "small", replace(small, settings=older))
    assert plateau.of(work) == (None, "it was measured when there was no ema")


def test_the_plateau_is_of_data_like_the_guides() -> None:
    small = load_preset("small")
    for rows, pairs, why in (
        (1_100_000, 3_800, ""),
        (
            20_341,
            3_470,
            "on 1,003,470 training peptides only, and this data has 20,341",
        ),
        (1_003_470, 100, "it was measured on 3,470 pairs only, and this data has 100"),
        (5_000_000, 17_000, "training peptides only, and this data has 5,000,000"),
    ):
        found, told = plateau.of(Workload(small, rows, pairs=pairs))
        assert why in told
        assert (found is None) == bool(why)
    found, told = plateau.of(guide("large"))
    assert (found, told) == (None, "it was not measured for preset large")


def test_hours_to_a_step_include_the_start() -> None:
    what = forecast(guide("small"), "H200", {"H200": Measured(1e-3, "bench")}, start_s=360.0)
    assert what is not None
    assert what.hours_to(what.steps // 2) == pytest.approx(0.1 + what.train_hours / 2, rel=1e-4)
    assert what.hours_to(10 * what.steps) == what.hours


def test_fits_by_what_this_machine_has() -> None:
    work = guide("large", batch=4096)
    what = forecast(work, "A100 80GB")
    assert what is not None
    assert what.fits
    small = forecast(work, "A100 80GB", memory_gb=what.need_gb)  # a slice of one
    assert small is not None
    assert not small.fits


def test_an_unknown_gpu_has_no_forecast_unless_it_was_measured() -> None:
    work = guide("small")
    assert forecast(work, "GTX 480") is None
    what = forecast(work, "Ryzen (8 threads)", {"Ryzen (8 threads)": Measured(0.04, "run x")})
    assert what is not None
    assert (what.step_s, what.fits, what.start_s) == (0.04, True, 0.0)


def test_too_little_data_is_said() -> None:
    with pytest.raises(BadInput, match="batch is 128, but there are only 100"):
        Workload(load_preset("large"), 100)


def bench(folder: Path, name: str, gpu: str | None, ms: float, date: str, batch: int = 128,
          length: float = 10.62) -> None:  # fmt: skip
    figures = {
        "batch": batch, "residues_per_step": length * batch, "sides": {"ours": {"median_ms": ms}},
    }  # fmt: skip
    body = {
        "format": 1, "date": date, "machine": {"cpu": "X", "threads": 2, "gpu": gpu},
        "presets": {"large": figures},
    }  # fmt: skip
    (folder / name).write_text(json.dumps(body))


def test_bench_results(tmp_path: Path) -> None:
    bench(tmp_path, "gpu-a-2026-01-01.json", "NVIDIA A100-SXM4-40GB", 9.0, "2026-01-01")
    bench(tmp_path, "gpu-a-2026-01-02.json", "NVIDIA A100-SXM4-40GB", 8.0, "2026-01-02")
    bench(tmp_path, "gpu-b-2026-01-02.json", "Tesla T4", 30.0, "2026-01-02", batch=64)
    bench(tmp_path, "cpu-x-2026-01-02.json", None, 900.0, "2026-01-02")
    (tmp_path / "gpu-broken-2026-01-02.json").write_text("{")
    (tmp_path / "store-x-2026-01-02.json").write_text("{}")
    config = load_preset("large")
    found = measured.find(config, folder=tmp_path)
    assert found == {
        "A100 40GB": Measured(0.008, "bench/results/gpu-a-2026-01-02.json"),
        "X (2 threads)": Measured(0.9, "bench/results/cpu-x-2026-01-02.json"),
    }
    for other in ({"dim": 256}, {"batch": 64}, {"graph_steps": 0}):
        assert measured.find(config.with_settings(other), folder=tmp_path) == {}
    assert measured.find(load_preset("small"), folder=tmp_path) == {}
    assert measured.find(config, folder=tmp_path / "none") == {}


def test_what_the_bench_measured_on_other_data_replaces_nothing(tmp_path: Path) -> None:
    """The guide's peptides have 10.6 residues, the sample's 11.1."""
    config = load_preset("large")
    bench(tmp_path, "gpu-h200-2026-11-27.json", "NVIDIA H200", 1.64, "2026-11-27", length=10.6215)
    bench(tmp_path, "gpu-h200-2026-11-28.json", "NVIDIA H200", 1.60, "2026-11-28", length=10.63)
    bench(tmp_path, "gpu-h200-2026-11-29.json", "NVIDIA H200", 1.70, "2026-11-29", length=11.1312)
    bench(tmp_path, "gpu-a100-2026-11-29.json", "NVIDIA A100-SXM4-40GB", 9.0, "2026", length=13.5)
    for length, day in ((10.6, 28), (GUIDE_LENGTH, 28), (11.13, 29), (10.9, 29), (10.8, 28)):
        found = measured.find(config, folder=tmp_path, length=length)
        sources = {device: known.source for device, known in found.items()}
        assert sources == {"H200": f"bench/results/gpu-h200-2026-11-{day}.json"}, length
    assert measured.find(config, folder=tmp_path) == measured.find(
        config, folder=tmp_path, length=GUIDE_LENGTH
    )
    assert set(measured.find(config, folder=tmp_path, length=13.0)) == {"A100 40GB"}


@pytest.mark.parametrize(
    ("shown", "gpu"),
    [
        ("NVIDIA H100 80GB HBM3", "H100 SXM"), ("NVIDIA H100 PCIe", "H100 PCIe"),
        ("NVIDIA H100 NVL", "H100 NVL"), ("NVIDIA H200", "H200"),
    ],
)  # fmt: skip
def test_what_the_bench_measured_on_a_gpu_is_that_gpus_row(
    shown: str, gpu: str, tmp_path: Path
) -> None:
    """As bench.results.save writes it, and as torch names the GPU."""
    bench(tmp_path, f"gpu-{shown.lower().replace(' ', '-')}-2026-11-27.json", shown, 3.0, "2026")
    (known,) = (found := measured.find(load_preset("large"), folder=tmp_path)).values()
    what = forecast(guide("large"), gpu, found)
    assert what is not None
    assert (what.gpu, what.step_s, what.source) == (gpu, 0.003, f"measured ({known.source})")


def installed(folder: Path) -> Path:
    """The packages as a wheel brings them: setup.py's, with the data that pyproject.toml names."""
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    code = [
        path.parent for name in ("mimir", "launch") for path in (ROOT / name).rglob("__init__.py")
    ]
    packages = [".".join(path.relative_to(ROOT).parts) for path in code]
    for package in (*packages, *tool["package-dir"]):
        there = ROOT / tool["package-dir"].get(package, package.replace(".", "/"))
        here = folder / package.replace(".", "/")
        here.mkdir(parents=True)
        for pattern in ("*.py", *tool["package-data"].get(package, ())):
            for path in there.glob(pattern):
                shutil.copy(path, here)
    return folder


def test_a_wheel_brings_what_the_bench_measured(tmp_path: Path) -> None:
    """And none of it goes to machines: a new figure is no new code."""
    code = (
        "from launch.payload import wheel; from launch.pricing import measured; import zipfile;"
        "from mimir.config import load_preset;"
        "print(measured.__file__);"
        "print(*measured.find(load_preset('small')).values(), sep='|');"
        "import io; print(*zipfile.ZipFile(io.BytesIO(wheel.content())).namelist())"
    )
    where = installed(tmp_path / "site")
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=where, capture_output=True, text=True, check=True,
        timeout=LIMIT,
    )  # fmt: skip
    place, found, sent = done.stdout.splitlines()
    assert Path(place).is_relative_to(where)
    assert found.split("|") == [str(each) for each in measured.find(load_preset("small")).values()]
    assert "bench/results/" in found
    assert "launch/pricing/measured.py" in sent
    assert "launch/measurements" not in sent


def trained(
    store: MemoryStore,
    name: str,
    config: Config,
    rate: float,
    step: int = 5000,
    device: str = "",
    execution: Execution | None = None,
) -> None:
    create_run(store, RunRecord(name, config.preset, config.as_dict(), 0, 1000.0))
    number = raise_attempt(store, name)
    Attempt.claim(store, name, number)
    device = device or "NVIDIA A100-SXM4-40GB"
    beat = Heartbeat(0.0, step, 9000, rate=rate, device=device, execution=execution)
    notes.write_heartbeat(store, name, number, beat)


def test_past_runs_of_the_store(memory: MemoryStore, tmp_path: Path) -> None:
    config = load_preset("large")
    trained(memory, "one", config, 100.0)
    trained(memory, "other-lr", config.with_settings({"lr": 1e-4}), 120.0)
    trained(memory, "third", config, 150.0)
    trained(memory, "young", config, 3.0, step=600)  # its rate still holds the compilation
    trained(memory, "t4", config, 25.0, device="Tesla T4")
    trained(memory, "narrow", config.with_settings({"dim": 256}), 900.0)
    trained(memory, "wide", config.with_settings({"batch": 256}), 50.0)
    memory.put_if_absent("broken/run.json", b"{")
    bench(tmp_path, "gpu-a-2026-01-02.json", "NVIDIA A100-SXM4-40GB", 8.0, "2026-01-02")
    found = measured.find(config, memory, tmp_path)
    assert found["A100 40GB"].step_s == pytest.approx(1 / 120.0)
    assert found["A100 40GB"].source.startswith("3 runs, newest ")
    assert found["T4"] == Measured(1 / 25.0, "run t4", reported=True)
    assert set(found) == {"A100 40GB", "T4"}


def test_a_run_on_a_measured_card_leaves_the_other_cards_estimates_as_they_are(
    memory: MemoryStore, tmp_path: Path
) -> None:
    work = guide("large")
    bench(tmp_path, "gpu-h200-2026-01-02.json", "NVIDIA H200", 2.0, "2026-01-02")
    before = forecast(work, "H100 SXM", measured.find(work.config, folder=tmp_path))
    trained(memory, "one", work.config, 250.0, device="NVIDIA H200")
    known = measured.find(work.config, memory, tmp_path)
    assert known["H200"] == Measured(0.004, "run one", reported=True, bench_s=0.002)
    assert forecast(work, "H100 SXM", known) == before
    assert before is not None
    assert before.source.endswith("as measured on H200")


@pytest.mark.parametrize("preset", ["small", "medium", "large"])
def test_steps_without_a_compiler_take_longer(preset: str) -> None:
    work, off = guide(preset), guide(preset, compile="off")
    for gpu in ("T4", "RTX 4090", "H200"):
        plain = forecast(work, gpu, compiled=False)
        assert plain is not None
        assert plain.source == "model, without a compiler"
        assert plain.step_s == step(off, gpu) > 1.03 * step(work, gpu)
        known = {gpu: Measured(0.01, "bench/results/x")}
        scaled = forecast(work, gpu, known, compiled=False)
        assert scaled is not None
        assert scaled.step_s == pytest.approx(0.01 * plain.step_s / step(work, gpu))
        assert scaled.source == "measured (bench/results/x), without a compiler by the model"
        assert (scaled.basis.kind, scaled.basis.brief) == ("measured", "measured")
        assert not scaled.measured
        asked = forecast(off, gpu, known, compiled=False)
        assert asked is not None
        assert asked.step_s == 0.01, "what was measured so needs no factor"
        assert asked.measured


def test_attention_is_not_fused_on_older_cards() -> None:
    """What that costs is in the forecast of a T4, and of no later card."""
    turing, ampere = gpus.find("T4"), replace(gpus.find("T4"), capability=(8, 0))
    work = guide("large")
    more = step_seconds(work, turing) - step_seconds(work, ampere)
    assert 1e-3 < more < 3e-3  # a T4's own was reckoned as 1.1 to 3 ms
    by_sums = replace(work, config=work.config.with_settings({"kernels": "attention"}))
    assert step_seconds(by_sums, turing) == pytest.approx(step_seconds(work, ampere))


def test_a_rate_without_a_compiler_is_no_measure_of_one_with_it(
    memory: MemoryStore, tmp_path: Path
) -> None:
    config = load_preset("large")
    told = {
        "slow": Execution("cuda", "bf16"),
        "fast": Execution("cuda", "bf16", compiled=True, fused=True),
    }
    for name, execution in told.items():
        trained(memory, name, config, 100.0, execution=execution)
    assert measured.find(config, memory, tmp_path)["A100 40GB"].source == "run fast"


@pytest.mark.parametrize(
    "other",
    [
        Execution("cuda", "bf16", compiled=True),
        Execution("cuda", "fp32", compiled=True, fused=True),
        Execution("cuda", "bf16", compiled=True, fused=True, kernels=("norm",)),
    ],
)
def test_a_rate_of_another_way_is_no_measure(
    memory: MemoryStore, tmp_path: Path, other: Execution
) -> None:
    config = load_preset("large")
    trained(memory, "other", config, 100.0, execution=other)
    assert measured.find(config, memory, tmp_path) == {}
    with_kernels = config.with_settings({"kernels": "norm"})
    known = measured.find(with_kernels, memory, tmp_path)
    assert known == {}, "the run's configuration asks for none"


def test_steps_of_runs_with_the_same_kernels_count(memory: MemoryStore, tmp_path: Path) -> None:
    config = load_preset("large").with_settings({"kernels": "norm,gelu"})
    ran = Execution("cuda", "bf16", compiled=True, fused=True, kernels=("gelu", "norm"))
    trained(memory, "same", config.with_settings({"kernels": "gelu,norm"}), 100.0, execution=ran)
    assert set(measured.find(config, memory, tmp_path)) == {"A100 40GB"}
    assert measured.find(load_preset("large"), memory, tmp_path) == {}


def test_wide_heads_are_not_fused_on_any_card() -> None:
    """The training machine takes the slower way with them, and so does the forecast."""
    narrow, wide = guide("large", dim=512, heads=4), guide("large", dim=512, heads=2)
    for name, slower in (("H200", True), ("T4", False)):
        gpu = gpus.find(name)
        fewer_scores = 10 * wide.config.model.layers * 2.4e-6  # the least time of more kernels
        more = step_seconds(wide, gpu) - step_seconds(narrow, gpu)
        assert (more > fewer_scores / 2) == slower, name


@pytest.mark.parametrize(
    ("gpu", "settings", "words"),
    [
        ("T4", {"kernels": "norm"}, "cannot run on T4: norm needs compute capability 8.0 or"),
        ("L4", {"kernels": "norm"}, ""),
        ("T4", {"kernels": "attention"}, ""),
        ("T4", {"kernels": "attention,ends,norm"}, "ends and norm need compute capability 8.0"),
        ("T4", {}, ""),
        ("L4", {"kernels": "norm", "compile": "off"}, "needs torch's compiler"),
        ("L4", {"kernels": "norm", "dim": 512, "heads": 2}, "heads of 128 numbers at most"),
        ("L4", {"kernels": "wgrad", "dim": 120, "heads": 4}, "dim is 120"),
        ("L4", {"kernels": "peptide,ends,wgrad", "dim": 256}, "peptide takes models of dim 128"),
        ("L4", {"kernels": "update", "precision": "fp16"}, "update knows no loss scale"),
    ],
)
def test_cards_that_would_refuse_the_kernels_are_known_before_they_are_paid_for(
    gpu: str, settings: dict[str, object], words: str
) -> None:
    """own_kernels.chosen says the same on the machine."""
    config = load_preset("small").with_settings(settings)
    card = gpus.find(gpu)
    why = kernels.refusal(config, card)
    assert (words in why) if words else not why
    ranked, left = judge([offer(gpu=gpu, memory_gb=16.0)], Workload(config, GUIDE_ROWS))
    assert [one.why for one in left] == ([why] if why else [])
    assert len(ranked) == (not why)
    fused = kernels.fuses(config, card) and config.runtime.compile != "off"
    half = torch.float16 if config.runtime.precision == "fp16" else torch.bfloat16
    capability = card.capability
    if why:
        with pytest.raises(BadInput, match="leave out what cannot run"):
            own_kernels.chosen(config, half, fused, capability)
    else:
        own_kernels.chosen(config, half, fused, capability)


@pytest.mark.parametrize(
    ("rate", "factor", "says"),
    [
        (1e-6, 4.0, "4 times the model (slower in run x)"),
        (1e9, 0.25, "1/4 of the model (faster in run x)"),
        (None, 2.0, "measured (run x)"),
    ],
)
def test_what_machines_report_moves_a_forecast_by_little(
    memory: MemoryStore, tmp_path: Path, rate: float | None, factor: float, says: str
) -> None:
    """A machine's word may not raise the default limits of other runs."""
    work = guide("large")
    model = step(work, "T4")
    for device in ("Tesla T4", "GTX 480"):
        name = "x" if device == "Tesla T4" else "unknown"
        trained(memory, name, work.config, rate or 1 / (2 * model), device=device)
    known = measured.find(work.config, memory, tmp_path)
    what = forecast(work, "T4", known)
    assert what is not None
    assert (what.step_s, what.source) == (pytest.approx(factor * model), says)
    offers = [offer(gpu=gpu, memory_gb=16.0) for gpu in ("T4", "GTX 480")]
    ranked, left = judge(offers, work, known)
    assert ([one.offer.gpu for one in ranked], left) == (["T4", "GTX 480"], [])
    assert ranked[1].forecast.source.startswith("not in the table")
    strange = forecast(work, "GTX 480", known)
    assert strange is not None
    assert strange.source == "as the machine said, checked by nothing (run unknown)"
    assert (strange.basis.kind, strange.basis.brief) == ("adjusted", "as the machine said")


@pytest.fixture
def memory() -> MemoryStore:
    return MemoryStore()
