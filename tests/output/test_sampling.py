import copy
import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

from mimir.data.alphabet import MASK, MAX_LENGTH, N_LETTERS, STANDARD
from mimir.errors import BadInput, NonFinite
from mimir.model.denoiser import Denoiser
from mimir.output import sampling
from mimir.output.condition import OPEN, Condition
from mimir.output.sampling import Draw, sample
from tests import toys

FLAT = [0] * 4 + [1] * 17
TOLD = Condition(1, 2)


@pytest.fixture(scope="module")
def model() -> Denoiser:
    engine = toys.engine(lr=0.02)
    while engine.step < 30:
        engine.advance(30)
    with torch.no_grad():  # learnt so little, a model would hardly tell its conditions apart
        engine.model.head.weight.mul_(5)
        engine.model.label.mul_(10)
        engine.model.target.mul_(10)
    return engine.model


def test_reproducible_from_the_seed_alone(model: Denoiser) -> None:
    one = sample(model, 20, Draw(seed=5), FLAT)
    torch.manual_seed(3)
    torch.rand(5)
    assert one == sample(model, 20, Draw(seed=5), FLAT)
    assert one != sample(model, 20, Draw(seed=6), FLAT)
    assert len(set(one)) == 20


@pytest.mark.parametrize("order", ["random", "confidence"])
def test_a_peptide_does_not_depend_on_how_many_are_asked_for(model: Denoiser, order: str) -> None:
    many = sample(model, 600, Draw(order=order), FLAT)
    assert len(many) == 600
    assert sample(model, 5, Draw(order=order), FLAT) == many[:5]
    assert sample(model, 520, Draw(order=order), FLAT) == many[:520]


def test_lengths_stay_in_range_and_follow_the_histogram(model: Denoiser) -> None:
    drawn = sample(model, 200, Draw(min_length=6, max_length=9), FLAT)
    assert {len(s) for s in drawn} == {6, 7, 8, 9}
    heavy = [0] * 21
    heavy[7], heavy[9] = 1, 3
    sizes = [len(s) for s in sample(model, 400, Draw(), heavy)]
    assert set(sizes) == {7, 9}
    assert 260 < sizes.count(9) < 340
    only = sample(model, 5, Draw(min_length=12, max_length=12), heavy)
    assert [len(s) for s in only] == [12] * 5


def test_extra_letters_and_masks_are_never_drawn(model: Denoiser) -> None:
    with torch.no_grad():
        kept = model.head.bias.clone()
        model.head.bias[len(STANDARD) :] = 30.0
    try:
        drawn = sample(model, 100, Draw(), FLAT)
    finally:
        with torch.no_grad():
            model.head.bias.copy_(kept)
    assert set("".join(drawn)) <= set(STANDARD)


def test_a_pattern_is_kept(model: Denoiser) -> None:
    drawn = sample(model, 50, Draw(pattern="P..XP".replace("X", "W") + "...K"), FLAT)
    assert all(len(s) == 9 and s[0] == "P" and s[3:5] == "WP" and s[8] == "K" for s in drawn)
    assert len({s[1] for s in drawn}) > 5
    assert sample(model, 2, Draw(pattern="ACDE"), FLAT) == ["ACDE", "ACDE"]


def test_guidance_of_one_is_conditional_and_of_zero_untold(model: Denoiser) -> None:
    conditional = Draw(condition=TOLD, seed=1)
    plain = sample(model, 50, conditional, FLAT)
    assert sample(model, 50, Draw(condition=TOLD, seed=1, guidance=1.0), FLAT) == plain
    unconditional = sample(model, 50, Draw(condition=OPEN, seed=1), FLAT)
    assert sample(model, 50, Draw(condition=TOLD, seed=1, guidance=0.0), FLAT) == unconditional
    assert plain != unconditional
    assert sample(model, 50, Draw(condition=TOLD, seed=1, guidance=3.0), FLAT) != plain


class Spy:
    """Remembers what the model was asked, and what it answered."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[tuple[Tensor, Tensor, Tensor]] = []
        self._straight = sampling._logits
        monkeypatch.setattr(sampling, "_logits", self)

    def __call__(self, model: Denoiser, tokens: Tensor, length: Tensor, wanted: Tensor,
                 condition: Condition) -> Tensor:  # fmt: skip
        logits = self._straight(model, tokens, length, wanted, condition)
        self.asked.append((tokens.clone(), wanted, logits))
        return logits


def test_a_composition_shifts_what_is_drawn(model: Denoiser) -> None:
    """A model that knows nothing draws the letters as its condition's bias has them."""
    flat = copy.deepcopy(model)
    with torch.no_grad():
        flat.head.weight.zero_()
        flat.head.bias.zero_()
    bias = tuple(0.1 * (i % 7) for i in range(N_LETTERS))
    drawn = "".join(sample(flat, 300, Draw(Condition(bias=bias)), FLAT))
    chance = torch.softmax(torch.tensor(bias[: len(STANDARD)]), 0) * len(drawn)
    seen = torch.tensor([float(drawn.count(letter)) for letter in STANDARD])
    assert float(((seen - chance) ** 2 / chance).sum()) < 44, "chi-square of 19, 0.1 %"
    assert float(((seen - len(drawn) / 20) ** 2 / (len(drawn) / 20)).sum()) > 60
    # Without it the unconditional model is drawn from: guidance 0.
    plain = sample(flat, 20, Draw(OPEN), FLAT)
    assert sample(flat, 20, Draw(Condition(bias=bias), guidance=0.0), FLAT) == plain


@pytest.mark.parametrize("temperature", [1e-6, 1e-310])
def test_cold_sampling_takes_the_likeliest_letter(
    model: Denoiser, temperature: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    spy = Spy(monkeypatch)
    draw = Draw(temperature=temperature, min_length=6, max_length=6)
    drawn = sample(model, sampling.CHUNK, draw, FLAT)
    final = torch.tensor([[STANDARD.index(c) for c in s] for s in drawn])
    assert len(spy.asked) == 6
    for turn, (tokens, wanted, logits) in enumerate(spy.asked):
        after = spy.asked[turn + 1][0][:, :6] if turn < 5 else final
        changed = tokens[:, :6] != after
        assert torch.equal(changed, wanted[:, :6])
        assert changed.sum(1).tolist() == [1] * sampling.CHUNK
        assert torch.equal(after[changed], logits.argmax(-1))


def test_confidence_takes_the_surest_place_first(
    model: Denoiser, monkeypatch: pytest.MonkeyPatch
) -> None:
    spy = Spy(monkeypatch)
    draw = Draw(order="confidence", min_length=7, max_length=7)
    sample(model, 8, draw, FLAT)
    for (tokens, wanted, logits), (after, _, _) in itertools.pairwise(spy.asked):
        assert torch.equal(wanted[:, :7], tokens[:, :7] == MASK)
        best = torch.full(wanted.shape, -torch.inf, dtype=torch.float64)
        sure = best.masked_scatter(wanted, logits.amax(-1)).argmax(1)
        changed = tokens != after
        assert torch.equal(changed.to(torch.uint8).argmax(1), sure)


@pytest.mark.parametrize("order", ["random", "confidence"])
@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_only_what_is_needed_is_computed(
    model: Denoiser, order: str, guidance: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No complete peptide; in random order one place of each."""
    spy = Spy(monkeypatch)
    draw = Draw(TOLD, order=order, guidance=guidance, pattern="A..C...")
    drawn = sample(model, 5, draw, FLAT) + sample(model, 5, Draw(TOLD, order=order), FLAT)
    assert all(len(s) >= 4 for s in drawn)
    for tokens, wanted, logits in spy.asked:
        assert bool((tokens[wanted] == MASK).all())
        assert bool(wanted.any(1).all())
        assert len(logits) == (len(tokens) if order == "random" else int(wanted.sum()))
    passes = 2 if guidance != 1 else 1
    fixed, free = spy.asked[: 5 * passes], spy.asked[5 * passes :]
    assert [len(tokens) for tokens, _, _ in fixed] == [sampling.CHUNK] * len(fixed)
    assert len(free[0][0]) == sampling.CHUNK > len(free[-1][0])


def test_known_conditionals_are_followed(model: Denoiser, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four places of a Markov chain over two letters, by its exact conditionals."""
    start, step = torch.tensor([0.3, 0.7]), torch.tensor([[0.9, 0.1], [0.4, 0.6]])
    joint = torch.einsum("a,ab,bc,cd->abcd", start, step, step, step)

    def exact(
        model: Denoiser, tokens: Tensor, length: Tensor, wanted: Tensor, *rest: Any
    ) -> Tensor:
        out = torch.full((*tokens.shape, len(STANDARD)), -1e3, dtype=torch.float64)
        keys, which = tokens[:, :4].unique(dim=0, return_inverse=True)
        for number, key in enumerate(keys.tolist()):
            seen = joint.double()
            for place, letter in enumerate(key):
                if letter != MASK:
                    keep = torch.zeros(2, dtype=torch.float64)
                    keep[letter] = 1
                    seen = seen * keep.view([2 if i == place else 1 for i in range(4)])
            for place in range(4):
                share = seen.sum([i for i in range(4) if i != place])
                log = (share / share.sum()).log().clamp(min=-1e3)
                out[which == number, place, :2] = log
        return out[wanted]

    monkeypatch.setattr(sampling, "_logits", exact)
    count = 8_000
    drawn = sample(model, count, Draw(min_length=4, max_length=4), FLAT)
    square = 0.0
    for tokens in itertools.product((0, 1), repeat=4):
        wanted = count * float(joint[tokens])
        found = drawn.count("".join(STANDARD[i] for i in tokens))
        square += (found - wanted) ** 2 / wanted
    # Chi-square with 15 degrees of freedom: above 37.7 once in a thousand seeds.
    assert square < 37.7


def exact_pairs(model: Denoiser, draw: Draw) -> Tensor:
    """Probability of the letters at the two free places of "A.C.", float64 [20, 20], by enumeration
    of both orders: p ~ (p(told)^g p(untold)^(1 - g))^(1 / temperature) at each place."""
    sizes = torch.full((21,), 4)
    seen = torch.full((21, MAX_LENGTH), MASK)
    seen[:, 0], seen[:, 2] = STANDARD.index("A"), STANDARD.index("C")

    def chance(tokens: Tensor, place: int) -> Tensor:
        wanted = (torch.arange(MAX_LENGTH) == place).repeat(len(tokens), 1)
        with torch.no_grad():
            told, other = (
                sampling._logits(model, tokens, sizes[: len(tokens)], wanted, condition)
                for condition in (draw.condition, OPEN)
            )
        mixed = (draw.guidance * told + (1 - draw.guidance) * other) / draw.temperature
        return mixed.exp() / mixed.exp().sum(1, keepdim=True)

    orders, first = {}, {}
    for one, other in ((1, 3), (3, 1)):
        begin = chance(seen[:1], one)[0]
        then = seen[:20].clone()
        then[:, one] = torch.arange(20)
        both = begin[:, None] * chance(then, other)  # [letter at `one`, letter at `other`]
        orders[one] = both if one == 1 else both.t()
        first[one] = float(begin.max())
    if draw.order == "confidence":
        return orders[1 if first[1] >= first[3] else 3]
    return (orders[1] + orders[3]) / 2


@pytest.mark.parametrize(
    "settings",
    [
        {}, {"guidance": 0.2}, {"guidance": 2.0}, {"temperature": 0.7}, {"order": "confidence"},
        {"condition": Condition(1, 1, bias=(1.0, -1.0, 0.5, *[0.0] * 22)), "guidance": 1.5},
    ],
)  # fmt: skip
def test_samples_follow_the_exact_distribution(model: Denoiser, settings: dict[str, Any]) -> None:
    draw = Draw(**{"condition": TOLD, "pattern": "A.C.", "seed": 8, **settings})
    truth = exact_pairs(model, draw)
    assert float(truth.sum()) == pytest.approx(1)
    count = 4000
    found = torch.zeros(20, 20, dtype=torch.float64)
    for each in sample(model, count, draw, FLAT):
        found[STANDARD.index(each[1]), STANDARD.index(each[3])] += 1
    wanted = count * truth
    often = wanted >= 5  # the rare ones count together
    pairs = [*zip(found[often].tolist(), wanted[often].tolist(), strict=True)]
    pairs.append((float(found[~often].sum()), float(wanted[~often].sum())))
    square = sum((a - b) ** 2 / max(b, 1.0) for a, b in pairs)
    # Chi-square by its normal approximation (Wilson & Hilferty 1931): above once in 10,000 seeds.
    degrees = len(pairs) - 1
    normal = ((square / degrees) ** (1 / 3) - (1 - 2 / (9 * degrees))) / (2 / (9 * degrees)) ** 0.5
    assert degrees > 20
    assert normal < 3.72
    others = exact_pairs(model, Draw(condition=TOLD, pattern="A.C.", guidance=6.0))
    apart = sum((a - b) ** 2 / max(b, 1.0) for a, b in zip(
        found[often].tolist(), (count * others)[often].tolist(), strict=True))  # fmt: skip
    assert apart > 2 * square  # the test would see another guidance


def test_the_model_is_told_the_timestep_of_training(
    model: Denoiser, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = torch.full((2, MAX_LENGTH), MASK)
    tokens[0, 0], tokens[1, :3] = 4, 7
    length = torch.tensor([5, 8])
    masked = (torch.arange(MAX_LENGTH) < length[:, None]) & (tokens == MASK)
    seen: list[list[int]] = []
    straight = model.condition

    def spy(*conditional: Tensor) -> Tensor:
        seen.extend(part.tolist() for part in conditional)
        return straight(*conditional)

    monkeypatch.setattr(model, "condition", spy)
    sampling._logits(model, tokens, length, masked, TOLD)
    # Of 20 steps the first that hide 4 of 5 and 5 of 8: ceil(13 * 5 / 20), ceil(11 * 8 / 20).
    assert seen == [[13, 11], [1, 1], [2, 2]]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"order": "best"}, "order is 'best', but must be 'random' or 'confidence'"),
        ({"temperature": 0.0}, "--temperature is 0,"),
        ({"temperature": float("nan")}, "temperature is nan"),
        ({"guidance": float("inf")}, "guidance is inf"),
        ({"guidance": float("nan")}, "guidance is nan"),
        ({"guidance": 1e308}, r"--guidance is 1e\+308, but must be a number from -1000 to 1000"),
        ({"guidance": -1001.0}, "--guidance is -1001"),
        ({"pattern": "ACD.", "min_length": 10}, "pattern has 4 places, .* lengths from 10 to 20"),
        ({"pattern": "ACD.....", "max_length": 7}, "pattern has 8 places, .* lengths from 4 to 7"),
        ({"min_length": 3}, "lengths from 3 to 20"),
        ({"max_length": 21}, "lengths from 4 to 21"),
        ({"min_length": 9, "max_length": 8}, "lengths from 9 to 8"),
        ({"seed": -1}, "--seed is -1,"),
        ({"pattern": "..X.."}, "pattern has 'X'"),
        ({"pattern": "..."}, "pattern has 3 places"),
        ({"pattern": "." * 21}, "pattern has 21 places"),
    ],
)
def test_wrong_wishes(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        Draw(**settings)


def test_progress_and_nothing(model: Denoiser) -> None:
    conditional: list[int] = []
    sample(model, 600, Draw(), FLAT, conditional.append)
    assert conditional == [64, 64, *[128] * 3, 88]
    assert sample(model, 0, Draw(), FLAT) == []


def test_the_strongest_guidance_gives_letters(model: Denoiser) -> None:
    for guidance in (1000.0, -1000.0):
        draw = Draw(condition=TOLD, guidance=guidance, pattern="A...", min_length=4, max_length=4)
        for each in sample(model, 3, draw, FLAT):
            assert set(each) <= set(STANDARD)


@pytest.mark.parametrize("order", ["random", "confidence"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_nothing_is_drawn_from_what_is_no_number(order: str, value: float) -> None:
    """A clamp would make a letter of NaN: the last one of the alphabet."""
    broken = toys.engine().model
    with torch.no_grad():
        broken.head.weight.fill_(value)
    with pytest.raises(NonFinite, match="no numbers"):
        sample(broken, 2, Draw(order=order), FLAT)
