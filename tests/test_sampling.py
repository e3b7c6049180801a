"""The sampler against a plain numpy oracle, and against transformers' processors (marked parity)."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemlet._core import testing

# --- the oracle: Philox and the steps of sampling, written for reading ---


def philox(seed: int, counter: int) -> float:
    """The uniform draw of (seed, counter): Philox4x32-10, two words of the first block."""
    x = [counter & 0xFFFFFFFF, counter >> 32, 0, 0]
    k = [seed & 0xFFFFFFFF, seed >> 32]
    for _ in range(10):
        a, b = 0xD2511F53 * x[0], 0xCD9E8D57 * x[2]
        x = [(b >> 32) ^ x[1] ^ k[0], b & 0xFFFFFFFF, (a >> 32) ^ x[3] ^ k[1], a & 0xFFFFFFFF]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return (((x[1] << 32) | x[0]) >> 11) * 2.0**-53


@dataclass
class Oracle:
    """Logits (V,) -> what may be drawn: ids in ascending order and their weights."""

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repeat_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    penalty_window: int = 64
    logit_bias: dict[int, float] = field(default_factory=dict)

    def edited(self, logits, prompt=(), generated=(), mask=None):
        x = np.where(np.isnan(logits), -np.inf, logits).astype(np.float32)
        for i, bias in self.logit_bias.items():
            x[i] += np.float32(bias)
        seen = [*prompt, *generated]
        window = seen if self.penalty_window < 0 else seen[max(0, len(seen) - self.penalty_window) :]
        penalty = np.float32(self.repeat_penalty)
        for i in set(window):
            x[i] = x[i] * penalty if x[i] < 0 else x[i] / penalty
        for i in set(generated):
            count = np.float32(list(generated).count(i))
            x[i] -= np.float32(self.presence_penalty) + np.float32(self.frequency_penalty) * count
        if mask is not None:
            x[~mask] = -np.inf
        return x

    def pool(self, x, slack=0.0):
        """`slack` moves the thresholds a little: a test must not hang on the last bit of a sum."""
        order = np.lexsort((np.arange(len(x)), -x))
        order = order[x[order] > -np.inf]
        if self.top_k:
            order = order[: self.top_k]
        weights = np.exp((x[order].astype(np.float64) - float(x[order[0]])) / float(np.float32(self.temperature)))
        if self.top_p < 1:
            reached = np.cumsum(weights) >= float(np.float32(self.top_p)) * (1 + slack) * weights.sum()
            count = int(np.argmax(reached)) + 1 if reached.any() else len(order)
            order, weights = order[:count], weights[:count]
        kept = weights >= float(np.float32(self.min_p)) * (1 + slack)
        kept[0] = True
        order, weights = order[kept], weights[kept]
        by_id = np.argsort(order)
        return order[by_id], weights[by_id]

    def acceptable(self, x, u):
        """The ids that a correct sampler may answer to the draw u; nearly always one."""
        if self.temperature == 0:
            return {int(np.argmax(x))}
        ids = set()
        for slack in (0.0, -1e-9, 1e-9) if self.top_p < 1 or self.min_p > 0 else (0.0,):
            pool, weights = self.pool(x, slack)
            total = np.cumsum(weights)
            for target in (u - 1e-9, u, u + 1e-9):
                place = np.searchsorted(total, target * total[-1], side="right")
                ids.add(int(pool[min(place, len(pool) - 1)]))
        return ids


def bits(mask):
    """bool (V,) -> the words that the sampler takes."""
    padded = np.zeros((len(mask) + 31) // 32 * 32, bool)
    padded[: len(mask)] = mask
    return np.packbits(padded, bitorder="little").view("<u4")


def check_draws(oracle, logits, *, mask=None, draws=16, seed=1):
    sampler = testing.Sampler(len(logits), **options_of(oracle), seed=seed)
    x = oracle.edited(logits, mask=mask)
    forgetful = oracle.repeat_penalty == 1 and oracle.presence_penalty == 0 and oracle.frequency_penalty == 0
    assert forgetful, "the edited logits would change from draw to draw"
    words = None if mask is None else bits(mask)
    for n in range(draws):
        chosen, _, _ = sampler.sample(logits, words)
        assert chosen in oracle.acceptable(x, philox(seed, n)), (n, oracle)


def options_of(oracle):
    options = dict(vars(oracle))
    options["logit_bias"] = list(options["logit_bias"].items())
    return options


# --- random numbers, exp and log ---


def test_philox_known_answers():
    # The published vectors of Philox4x32-10 for a zero block and a zero key: 6627e8d5 e169c58d ...
    assert testing.uniform(0, 0) == (0xE169C58D6627E8D5 >> 11) * 2.0**-53
    for seed, counter in [(0, 1), (1, 0), (2**64 - 1, 2**64 - 1), (2**32, 2**32), (12345, 678910)]:
        assert testing.uniform(seed, counter) == philox(seed, counter)


def test_uniform_is_uniform():
    u = np.array([testing.uniform(7, n) for n in range(20_000)])
    assert u.min() >= 0
    assert u.max() < 1
    counts = np.histogram(u, 20, (0, 1))[0]
    assert ((counts - 1000) ** 2 / 1000).sum() < 43.8  # chi-square, 19 degrees of freedom, one in a thousand
    assert abs(np.corrcoef(u[:-1], u[1:])[0, 1]) < 0.03


def test_fixed_exp_is_accurate_and_the_same_everywhere():
    x = -np.concatenate([np.arange(0, 700 * 64) / 64.0, np.arange(1, 4096) / 2.0**20])
    y = testing.fixed_exp(x)
    assert y[0] == 1.0
    np.testing.assert_allclose(y, np.exp(x), rtol=1.2e-12, atol=0)
    assert np.all(np.diff(testing.fixed_exp(-np.arange(0, 700, 2.0**-8))) < 0)
    np.testing.assert_array_equal(testing.fixed_exp(np.array([-700.0, -1e300, -np.inf, np.nan])), 0)
    # Bit patterns, not values: another compiler, libm or instruction set must give these very ones.
    assert hashlib.sha256(y.astype("<f8").tobytes()).hexdigest()[:16] == EXP_BITS


def test_fixed_log_is_accurate_and_the_same_everywhere():
    x = np.concatenate([np.arange(1, 5000) / 256.0, 2.0 ** np.arange(-300, 300), 1 + np.arange(-50, 50) / 2.0**30])
    y = testing.fixed_log(x)
    np.testing.assert_allclose(y, np.log(x), rtol=5e-16, atol=1e-15)
    assert hashlib.sha256(y.astype("<f8").tobytes()).hexdigest()[:16] == LOG_BITS


# --- choosing ---

logit = st.one_of(
    st.integers(-4, 4).map(float),  # ties
    st.integers(-30_000, 30_000).map(lambda n: n / 1000),  # apart enough that their probabilities differ too
    st.sampled_from([-math.inf, math.nan, 0.0, -0.0]),
)


@st.composite
def cases(draw):
    size = draw(st.sampled_from([1, 2, 3, 7, 31, 32, 33, 64, 65, 130, 257, 600]))
    some = draw(st.lists(logit, min_size=1, max_size=40))
    order = draw(st.integers(0, 2**32 - 1))
    logits = np.resize(np.array(some, np.float32), size)
    np.random.default_rng(order).shuffle(logits)
    mask = None
    if draw(st.booleans()):
        mask = np.random.default_rng(order).random(size) < draw(st.sampled_from([0.05, 0.5, 0.95, 1.0]))
    oracle = Oracle(
        temperature=draw(st.sampled_from([0.0, 1e-3, 0.3, 1.0, 1.7, 50.0])),
        top_k=draw(st.sampled_from([0, 0, 1, 2, 5, 64, 1000])),
        top_p=draw(st.one_of(st.just(1.0), st.floats(2**-7, 1, width=32))),
        min_p=draw(st.one_of(st.just(0.0), st.floats(0, 0.875, width=32))),
        logit_bias=draw(st.dictionaries(st.integers(0, size - 1), st.integers(-5, 5).map(float), max_size=4)),
    )
    return logits, mask, oracle


@settings(max_examples=200, deadline=None)
@given(cases())
def test_against_the_oracle(case):
    logits, mask, oracle = case
    if not (oracle.edited(logits, mask=mask) > -np.inf).any():
        with pytest.raises(ValueError, match=r"^(logits|mask): "):
            check_draws(oracle, logits, mask=mask)
        return
    check_draws(oracle, logits, mask=mask)


@pytest.mark.parametrize(
    ("size", "spread"), [(4095, 0.0), (4096, 3.0), (4097, 0.01), (30_001, 0.0), (30_001, 0.01), (262_144, 3.0)]
)
@pytest.mark.parametrize(
    "options",
    [
        {"temperature": 0.0},
        {},
        {"top_k": 64},
        {"top_k": 3000},
        {"top_p": 0.95},
        {"top_p": 0.01},
        {"min_p": 0.05},
        {"top_k": 64, "top_p": 0.95},
        {"top_p": 0.9, "min_p": 0.02, "temperature": 0.7},
    ],
    ids=str,
)
def test_large_vocabularies(size, spread, options):
    logits = np.random.default_rng(size).normal(0, spread, size).astype(np.float32)
    check_draws(Oracle(**options), logits, draws=2)


def test_every_kept_id_is_drawn_and_no_other():
    logits = np.log(np.array([0.4, 0.3, 0.2, 0.07, 0.03], np.float32))
    oracle = Oracle(top_p=0.85)
    sampler = testing.Sampler(5, top_p=0.85, seed=3)
    counts = np.bincount([sampler.sample(logits)[0] for _ in range(9000)], minlength=5)
    assert list(oracle.pool(logits)[0]) == [0, 1, 2]
    assert counts[3:].sum() == 0
    expected = np.array([4000, 3000, 2000])
    assert ((counts[:3] - expected) ** 2 / expected).sum() < 13.8  # two degrees of freedom, one in a thousand


def test_ties_go_to_the_lower_id():
    logits = np.zeros(1000, np.float32)
    assert testing.Sampler(1000, temperature=0).sample(logits)[0] == 0
    for options in ({"top_k": 3}, {"top_p": 0.0025}):  # 2.5 of 1000 equal tokens: three are needed
        sampler = testing.Sampler(1000, **options, seed=5)
        assert {sampler.sample(logits)[0] for _ in range(200)} == {0, 1, 2}


def test_penalties_over_a_conversation():
    rng = np.random.default_rng(2)
    for window in (-1, 0, 1, 5, 64):
        oracle = Oracle(
            temperature=0.8,
            repeat_penalty=1.3,
            presence_penalty=0.4,
            frequency_penalty=-0.2,
            penalty_window=window,
            logit_bias={3: 1.5, 7: -math.inf},
        )
        prompt = [1, 2, 2, 5, 9]
        sampler = testing.Sampler(24, **options_of(oracle), seed=11)
        sampler.see_prompt(prompt)
        generated: list[int] = []
        for n in range(150):
            logits = rng.normal(0, 2, 24).astype(np.float32)
            chosen, _, _ = sampler.sample(logits)
            x = oracle.edited(logits, prompt, generated)
            assert chosen in oracle.acceptable(x, philox(11, n)), (window, n)
            generated.append(chosen)
        assert 7 not in generated


def test_penalties_change_the_greedy_choice():
    logits = np.array([1.0, 0.9, -0.5], np.float32)
    sampler = testing.Sampler(3, temperature=0, repeat_penalty=2.0)
    assert [sampler.sample(logits)[0] for _ in range(3)] == [0, 1, 0]
    counted = testing.Sampler(3, temperature=0, frequency_penalty=0.06)
    counted.see_prompt([0, 0, 0])  # a prompt does not count
    assert [counted.sample(logits)[0] for _ in range(4)] == [0, 0, 1, 0]


def test_logprobs_are_those_of_the_raw_logits():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 4, 5000).astype(np.float32)
    logits[17] = np.nan
    clean = np.where(np.isnan(logits), -np.inf, logits).astype(np.float64)
    expected = clean - (clean.max() + np.log(np.exp(clean - clean.max()).sum()))
    best = np.lexsort((np.arange(5000), -clean))[:5]
    mask = np.ones(5000, bool)
    mask[best[:2]] = False
    for options in ({"temperature": 0.0}, {"temperature": 2.0, "top_k": 50, "logit_bias": [(3, 40.0)]}):
        chosen, logprob, top = testing.Sampler(5000, logprobs=5, **options).sample(logits, bits(mask))
        assert logprob == pytest.approx(expected[chosen], abs=1e-6)
        assert [i for i, _ in top] == list(best)
        np.testing.assert_allclose([p for _, p in top], expected[best], atol=1e-6)
    assert chosen == 3
    assert testing.Sampler(5000, logprobs=0).sample(logits)[2] == []
    assert testing.Sampler(5000).sample(logits)[1:] == (0.0, [])
    assert len(testing.Sampler(5000, logprobs=5000).sample(logits)[2]) == 4999  # the NaN has none


def test_logprobs_do_not_change_the_choice():
    logits = np.random.default_rng(1).normal(0, 3, 3000).astype(np.float32)
    for options in ({}, {"top_k": 40, "top_p": 0.9}, {"top_p": 0.9, "logit_bias": [(5, 2.0)]}, {"min_p": 0.1}):
        plain, told = testing.Sampler(3000, **options), testing.Sampler(3000, logprobs=3, **options)
        assert [plain.sample(logits)[0] for _ in range(20)] == [told.sample(logits)[0] for _ in range(20)]


def test_state_restores_the_same_draws():
    logits = np.random.default_rng(1).normal(0, 1, 500).astype(np.float32)
    first = testing.Sampler(500, seed=2**63 + 5)
    for _ in range(7):
        first.sample(logits)
    second = testing.Sampler(500)
    second.restore(*first.state())
    assert first.state() == (2**63 + 5, 7)
    assert [first.sample(logits)[0] for _ in range(10)] == [second.sample(logits)[0] for _ in range(10)]
    greedy = testing.Sampler(500, temperature=0)
    greedy.sample(logits)
    assert greedy.state() == (0, 0)


def test_same_ids_on_every_machine():
    # Recorded once; logits are made of integers, so nothing but the sampler can move these.
    i = np.arange(20_000, dtype=np.uint64)
    logits = ((i * i * np.uint64(2654435761) >> np.uint64(7)) % np.uint64(4096)).astype(np.float32) / np.float32(256)
    for name, options in RECORDED_OPTIONS.items():
        sampler = testing.Sampler(20_000, seed=42, **options)
        assert [sampler.sample(logits)[0] for _ in range(6)] == RECORDED_IDS[name], name


# --- what is refused ---


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("temperature", math.nan),
        ("temperature", math.inf),
        ("temperature", -0.5),
        ("top_k", -1),
        ("top_p", 0.0),
        ("top_p", 1.5),
        ("top_p", math.nan),
        ("min_p", 1.0),
        ("min_p", -0.1),
        ("min_p", math.nan),
        ("repeat_penalty", 0.0),
        ("repeat_penalty", math.inf),
        ("presence_penalty", math.nan),
        ("frequency_penalty", math.inf),
        ("penalty_window", -2),
        ("logprobs", -2),
        ("logprobs", 101),
    ],
)
def test_options_are_checked_by_name(option, value):
    with pytest.raises(ValueError, match=rf"^{option}: expected .*, got {value:g}; "):
        testing.Sampler(100, **{option: value})


@pytest.mark.parametrize("pair", [(100, 1.0), (-1, 1.0), (5, math.nan), (5, math.inf)])
def test_logit_bias_is_checked(pair):
    with pytest.raises(ValueError, match=r"^logit_bias: expected "):
        testing.Sampler(100, logit_bias=[pair])


@pytest.mark.parametrize("options", [{"temperature": 0.0}, {}, {"top_k": 3}, {"top_p": 0.5}, {"min_p": 0.5}], ids=str)
def test_nothing_to_choose_from(options):
    sampler = testing.Sampler(40, logprobs=2, **options)
    fine = np.zeros(40, np.float32)
    nothing = np.zeros(2, np.uint32)
    past_the_end = np.array([0, 0xFFFFFF00], np.uint32)
    for mask in (nothing, past_the_end):
        with pytest.raises(ValueError, match=r"^mask: expected at least one allowed token of 40, got none"):
            sampler.sample(fine, mask)
    with pytest.raises(ValueError, match=r"^logits: expected numbers, got NaN for all 40 allowed tokens"):
        sampler.sample(np.full(40, np.nan, np.float32))
    with pytest.raises(ValueError, match=r"^logits: .* got -inf for 40 and NaN for 0"):
        sampler.sample(np.full(40, -np.inf, np.float32))
    fine[7] = np.inf
    with pytest.raises(ValueError, match=r"^logits: expected numbers below \+inf, got \+inf for token 7"):
        sampler.sample(fine)
    assert sampler.state() == (0, 0)


def test_prompt_ids_are_checked():
    sampler = testing.Sampler(10, repeat_penalty=1.1)
    for ids in ([1, 10], [-1]):
        with pytest.raises(ValueError, match=r"^prompt: expected token ids from 0 to 9, got "):
            sampler.see_prompt(ids)


def test_extreme_values_stay_sound():
    big = float(np.finfo(np.float32).max)
    logits = np.array([-big, big, 0.0, -np.inf], np.float32)
    for temperature in (1e-45, 1e-3, 1.0, 3e38):
        sampler = testing.Sampler(4, temperature=temperature, logit_bias=[(1, big)], repeat_penalty=1e-30)
        chosen = {sampler.sample(logits)[0] for _ in range(50)}
        assert 3 not in chosen
        assert chosen == {1} or temperature > 1


# --- transformers ---


@pytest.mark.parity
@pytest.mark.parametrize("seed", range(30))
def test_transformers_processors(seed):
    torch = pytest.importorskip("torch")
    from transformers.generation import logits_process as lp

    rng = np.random.default_rng(seed)
    oracle = Oracle(
        temperature=float(rng.choice([0.3, 0.8, 1.0, 1.6])),
        top_k=int(rng.choice([0, 1, 5, 64])),
        top_p=float(rng.choice([1.0, 0.95, 0.5, 0.05])),
        min_p=float(rng.choice([0.0, 0.02, 0.3])),
        repeat_penalty=float(rng.choice([1.0, 1.25])),
        penalty_window=-1,
    )
    size = int(rng.choice([50, 1000]))
    logits = rng.normal(0, 3, size).astype(np.float32)
    prompt = [int(i) for i in rng.integers(0, size, 20)]
    # The same order as generate() builds; the arithmetic in float64, the repetition penalty in float32.
    scores = torch.from_numpy(logits.copy())[None]
    if oracle.repeat_penalty != 1:
        scores = lp.RepetitionPenaltyLogitsProcessor(oracle.repeat_penalty)(torch.tensor([prompt]), scores)
    scores = scores.double()
    warpers = [lp.TemperatureLogitsWarper(oracle.temperature)]
    if oracle.top_k:
        warpers.append(lp.TopKLogitsWarper(oracle.top_k))
    if oracle.top_p < 1:
        warpers.append(lp.TopPLogitsWarper(oracle.top_p))
    if oracle.min_p:
        warpers.append(lp.MinPLogitsWarper(oracle.min_p))
    for warper in warpers:
        scores = warper(None, scores)
    cumulative = np.cumsum(torch.softmax(scores, -1)[0].numpy())

    options = options_of(oracle)
    for n in range(50):
        sampler = testing.Sampler(size, **options)
        sampler.see_prompt(prompt)
        sampler.restore(seed, n)
        u = philox(seed, n)
        near = {int(np.searchsorted(cumulative, u + e, side="right")) for e in (-1e-6, 0, 1e-6)}
        assert sampler.sample(logits)[0] in near


EXP_BITS = "568cfe6bb2ff3e5b"
LOG_BITS = "f0079720ea3cd208"
RECORDED_OPTIONS = {
    "temperature": {"temperature": 0.8},
    "top_k": {"top_k": 50, "top_p": 0.9},
    "top_p": {"top_p": 0.7, "temperature": 0.5},
    "min_p": {"min_p": 0.1},
}
RECORDED_IDS = {
    "temperature": [9466, 6715, 13140, 13326, 16913, 6085],
    "top_k": [9756, 7914, 13021, 13230, 16104, 7770],
    "top_p": [9447, 7148, 13226, 13326, 16751, 6305],
    "min_p": [9452, 6691, 13145, 13336, 16944, 6061],
}
