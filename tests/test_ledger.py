"""What `bench.ledger --check` holds, on launches that are made up; CI counts the real ones."""

from collections import Counter
from typing import Any

import pytest

from bench import budgets, ledger
from bench.launches import Code, Launch, accesses

GOOD = {"ld": Counter({16: 9, 4: 5}), "st": Counter({16: 9})}


def launch(name: str = "kernel", spilled: int = 0, **widths: Counter[int]) -> Launch:
    return Launch(name, 1000, code=Code(64, spilled, 0, GOOD | widths))


def parts(**own: Any) -> dict[str, list[Launch]]:
    return {"measure": [launch("sum")], "apply": [launch("update")]} | own


def test_a_step_as_its_budget_says_passes() -> None:
    assert budgets.broken("large on 9.0", 2.0, parts(), 1) == []
    assert budgets.broken("large on 9.0", None, parts(), 1) == []


@pytest.mark.parametrize(
    ("budget", "own", "words"),
    [
        (1.0, {}, "launches 2.0 kernels a step, more than 1"),
        (5.0, {}, "launches 2.0 kernels a step, fewer than 5"),
        (2.0, {"apply": [launch("update", spilled=8)]}, "update spills 8 bytes a thread"),
        (
            2.0, {"apply": [launch("update", st=Counter({4: 36}))]},
            "update moves all weights by 36 st instructions of less than 16 bytes, and 0 others",
        ),
        (
            2.0, {"apply": [launch("update", ld=Counter({4: 41}))]},
            "update moves all weights by 41 ld instructions of less than 16 bytes",
        ),
        (2.0, {"measure": [launch("sum", ld=Counter({2: 20}))]}, "by 20 ld instructions of less"),
        # Accesses that the count does not know.
        (2.0, {"apply": [launch("update", st=Counter())]}, "by 0 st instructions"),
        (
            3.0, {"update": [launch("ours", ld=Counter({4: 9, 16: 8}))]},
            "ours moves weights one by one (ld)",
        ),
    ],
)  # fmt: skip
def test_what_a_budget_does_not_allow_is_told(
    budget: float, own: dict[str, list[Launch]], words: str
) -> None:
    found = budgets.broken("large on 9.0", budget, parts(**own), 1)
    assert len(found) == 1
    assert words in found[0]


@pytest.mark.parametrize(
    ("line", "kind", "width"),
    [
        ("@%p1 ld.global.v4.b32 {%r1, %r2, %r3, %r4}, [%rd1];", "ld", 16),
        ("ld.global.b32 %r1, [%rd1];", "ld", 4),
        ("ld.global.L1::evict_last.b16 %rs1, [%rd1];", "ld", 2),
        ("st.global.v2.f32 [%rd1], {%f1, %f2};", "st", 8),
        ("st.global.u64 [%rd1], %rd2;", "st", 8),
    ],
)
def test_accesses_to_memory_are_read_from_the_code(line: str, kind: str, width: int) -> None:
    other = "st" if kind == "ld" else "ld"
    assert accesses(line) == {kind: Counter({width: 1}), other: Counter()}


@pytest.mark.parametrize("returned", [1, -9])
def test_a_gpu_whose_process_fails_or_is_killed_is_no_success(
    monkeypatch: pytest.MonkeyPatch, returned: int
) -> None:
    codes = iter((0, returned, 0))
    done = lambda words: type("Done", (), {"returncode": next(codes)})  # noqa: E731
    monkeypatch.setattr(ledger.subprocess, "run", done)
    assert ledger.main(capabilities="75,80,90") == 1
