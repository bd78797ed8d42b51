"""What of a machine's figures is worth a warning, and its likely cause. Pure: no clock, no file.

Each rule looks at the mean of a figure over some time. It warns once, and again only after the
figure has been well again.
"""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mimir.runs.order import Expected
from mimir.runs.telemetry import SENTENCE
from mimir.text import clipped
from mimir.worker.exchange import Training

ACTIVE = 60.0
"""Seconds without a new step from which on training is taken to do something else: validation, a
commit, the model at its end. What concerns steps is not judged then."""
BUSY_HOST = 1.5
"""Processes that wait for each processor, from which on the processors are the likely cause."""

Figures = Mapping[str, float]
"""One sample, by the names of mimir.runs.telemetry.Telemetry."""


@dataclass(frozen=True)
class Rule:
    """One warning. It is given when the mean of `value` over `seconds` has reached `raises`, and
    ends when the mean has come back to `clears`; below raises, if clears is above it."""

    kind: str
    seconds: float
    raises: float
    clears: float
    value: Callable[["Seen"], float | None]
    sentence: Callable[["Seen", float], str]
    over: str
    """What is said when it ends."""

    def bad(self, mean: float) -> bool:
        return mean <= self.raises if self.clears > self.raises else mean >= self.raises

    def well(self, mean: float) -> bool:
        return mean >= self.clears if self.clears > self.raises else mean <= self.clears


@dataclass(frozen=True)
class Seen:
    """A sample with what else a rule needs. training: None while no step is taken. expected: what
    the forecast counted on, None if there was none. waiting: as
    host_figures.processes_waiting. standing: kinds of the warnings that hold."""

    figures: Figures
    training: Training | None
    expected: Expected | None
    waiting: float
    standing: frozenset[str]

    def share(self, part: str, whole: str) -> float | None:
        """One figure as a share of another, None if one of them is not told."""
        one, all_ = self.figures.get(part), self.figures.get(whole)
        return one / all_ if one is not None and all_ else None


@dataclass(frozen=True)
class Change:
    """A warning that begins, or with begins=False one that is over. text: one sentence."""

    kind: str
    text: str
    begins: bool


def _idle(seen: Seen) -> float | None:
    return seen.figures.get("gpu_busy") if seen.training else None


def _idles(seen: Seen, mean: float) -> str:
    how = seen.training.execution if seen.training else None
    if seen.waiting >= BUSY_HOST:
        why = (
            f"the processors are overloaded ({seen.waiting:.1f} processes wait for each), so that "
            "the GPU waits for them"
        )
    elif how is not None and (how.why or not (how.compiled and how.graph_steps)):
        why = f"its kernels are started one by one ({how.why or how.words})"
    else:
        why = "the model or the batch is small for this GPU: try a larger --batch or a cheaper GPU"
    return f"the GPU is busy for only {mean:.0%} of the time while it trains; likely cause: {why}"


def _power(seen: Seen) -> float | None:
    """How far the clock is below its highest while the power limit holds it, 0 where it does not:
    sound cards meet their limit too, and lose little by it."""
    limited, clock = seen.figures.get("throttled_power"), seen.share("gpu_mhz", "gpu_mhz_of")
    return None if limited is None or clock is None else limited * max(0.0, 1.0 - clock)


def _powerless(seen: Seen, mean: float) -> str:
    watts, limit = (seen.figures.get(name) for name in ("gpu_watts", "gpu_watts_of"))
    at = f", {watts:.0f} of {limit:.0f} W" if watts is not None and limit is not None else ""
    return (
        f"the GPU's power limit keeps its clock {mean:.0%} below the highest{at}; likely cause: "
        "its host allows it less power than such cards usually have"
    )


def _hot(seen: Seen, mean: float) -> str:
    celsius = seen.figures.get("gpu_celsius")
    at = f" ({celsius:.0f} °C)" if celsius is not None else ""
    return (
        f"heat slows the GPU down{at}; likely cause: its host's cooling, so that another machine "
        "would be faster"
    )


def _slowed(seen: Seen, mean: float) -> str:
    return (
        "the hardware slows the GPU down; likely cause: its host's power supply, so that another "
        "machine would be faster"
    )


def _slow(seen: Seen) -> float | None:
    """Times the forecast step."""
    rate = seen.training.rate if seen.training else None
    return 1.0 / (rate * seen.expected.step_s) if rate and seen.expected else None


def _slower(seen: Seen, mean: float) -> str:
    assert seen.expected is not None
    step, how = seen.expected.step_s, seen.training.execution if seen.training else None
    if seen.standing & {"gpu-hot", "gpu-power", "gpu-slowed"}:
        why = "the GPU is slowed down"
    elif "gpu-idle" in seen.standing:
        why = "the GPU waits for its work"
    elif how is not None and how.why:
        why = f"its steps are executed in a slower way ({how.why})"
    elif not seen.expected.measured:
        why = "the forecast, which was computed and not measured on such a machine"
    else:
        why = "something else uses this machine, or it is slower than others of its kind"
    known = "measured on such a card" if seen.expected.measured else "forecast"
    return (
        f"training is slower than forecast: a step takes {1e3 * mean * step:.3g} ms, "
        f"{mean:.1f} times the {1e3 * step:.3g} ms that were {known}; likely cause: {why}"
    )


def _full(what: str, part: str, cause: Callable[[Seen], str]) -> Callable[[Seen, float], str]:
    def sentence(seen: Seen, mean: float) -> str:
        used, of = seen.figures.get(part, 0.0), seen.figures.get(f"{part}_of", 0.0)
        how = f"{used / 1e9:.1f} of {of / 1e9:.1f} GB"
        return f"{what} is {mean:.0%} full ({how}); likely cause: {cause(seen)}"

    return sentence


def _memory_cause(seen: Seen) -> str:
    own, used = (seen.figures.get(name, 0.0) for name in ("process_memory", "memory"))
    if own >= used / 2:
        return f"training itself ({own / 1e9:.1f} GB): a smaller data set or --batch needs less"
    return f"other programs, for training has {own / 1e9:.1f} GB of it"


ROOM = 2e9
"""Bytes of disk that a run may need for checkpoints, logs and compiled code; on a small disk a
tenth of it."""


def _disk(seen: Seen) -> float | None:
    """Free space as a multiple of what is needed."""
    free, of = seen.figures.get("disk_free"), seen.figures.get("disk_of")
    return free / min(ROOM, of / 10) if free is not None and of else None


def _disk_full(seen: Seen, mean: float) -> str:
    free, of = seen.figures.get("disk_free", 0.0), seen.figures.get("disk_of", 0.0)
    return (
        f"the disk is nearly full ({free / 1e9:.1f} of {of / 1e9:.0f} GB free); likely cause: "
        "checkpoints and logs, if the store is on it (`python -m launch prune` deletes old runs), "
        "else files of others"
    )


LARGE_BATCH = "a large batch, or another program on this GPU: --accumulate 2 needs less"

RULES = (
    Rule("gpu-idle", 120, 0.30, 0.45, _idle, _idles, "the GPU is busy again"),
    Rule(
        "gpu-hot", 60, 0.50, 0.10, lambda seen: seen.figures.get("throttled_heat"), _hot,
        "the GPU is no longer slowed down by heat",
    ),
    Rule("gpu-power", 120, 0.30, 0.15, _power, _powerless, "the GPU's clock is up again"),
    Rule(
        "gpu-slowed", 60, 0.50, 0.10, lambda seen: seen.figures.get("throttled_hardware"), _slowed,
        "the GPU is no longer slowed down by its hardware",
    ),
    Rule("slow", 300, 1.5, 1.25, _slow, _slower, "training is about as fast as forecast again"),
    Rule(
        "gpu-memory", 30, 0.97, 0.92, lambda seen: seen.share("gpu_memory", "gpu_memory_of"),
        _full("the GPU's memory", "gpu_memory", lambda seen: LARGE_BATCH),
        "the GPU's memory has room again",
    ),
    Rule(
        "memory", 30, 0.93, 0.88, lambda seen: seen.share("memory", "memory_of"),
        _full("the machine's memory", "memory", _memory_cause), "the memory has room again",
    ),
    Rule("disk", 10, 1.0, 1.25, _disk, _disk_full, "the disk has room again"),
)  # fmt: skip
"""When a warning is given, and when it is over: kind, seconds, threshold, threshold of its end."""


class Trouble:
    """Applies the rules to one sample after another."""

    def __init__(self) -> None:
        self._values: dict[str, deque[tuple[float, float]]] = {each.kind: deque() for each in RULES}
        self._standing: set[str] = set()
        self._step, self._moved = -1, float("-inf")

    def judge(
        self, now: float, figures: Figures, training: Training | None,
        expected: Expected | None, waiting: float = 0.0,
    ) -> list[Change]:  # fmt: skip
        """The warnings that begin or end with this sample. now: seconds that only go on."""
        if training is not None and training.step > self._step:
            # The first sign may be of a step that an earlier attempt took.
            self._moved = now if self._step >= 0 else self._moved
            self._step = training.step
        trains = training if now - self._moved <= ACTIVE else None
        changes = []
        for rule in RULES:
            seen = Seen(figures, trains, expected, waiting, frozenset(self._standing))
            mean = self._mean(rule, now, rule.value(seen))
            if mean is None:
                continue
            if rule.kind not in self._standing and rule.bad(mean):
                self._standing.add(rule.kind)
                # What was well when the time began is in the mean, and not what is to be told.
                text = rule.sentence(seen, self._lately(rule, now))
                changes.append(Change(rule.kind, clipped(text, SENTENCE), True))
            elif rule.kind in self._standing and rule.well(mean):
                self._standing.discard(rule.kind)
                changes.append(Change(rule.kind, rule.over, False))
        return changes

    def _mean(self, rule: Rule, now: float, value: float | None) -> float | None:
        """Over the rule's time; None as long as that is not over since it could be told."""
        values = self._values[rule.kind]
        if value is None:
            values.clear()
            return None
        values.append((now, value))
        if now - values[0][0] < rule.seconds:
            return None
        while len(values) > 1 and now - values[1][0] >= rule.seconds:
            values.popleft()
        return sum(one for _, one in values) / len(values)

    def _lately(self, rule: Rule, now: float) -> float:
        """The mean over the last third of the rule's time."""
        late = [one for at, one in self._values[rule.kind] if now - at <= rule.seconds / 3]
        return sum(late) / len(late)
