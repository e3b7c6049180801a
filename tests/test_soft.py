"""Soft rows among tokens: right by the oracle, and the same bits however reading is cut, shared, kept or resumed."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gemlet import _core
from gemlet.errors import BadFile
from gemlet.soft import Pile, kept

pytest.importorskip("gguf")

from reference_gemma4 import Gemma4
from soft_prompts import SHAPES, Mixed, digest, mixed, soft_prompt
from test_prefix import answer, finish, same, start
from test_reference4 import make_gemma4
from test_session import ask

GOLDEN = Path(__file__).parent / "golden"
E2B, DENSE, MOE = STORED = ["gemma4_tiny_e2b", "gemma4_tiny_31b", "gemma4_tiny_26b"]
MORE = ["gemma4_more_e4b", "gemma4_more_dead", "gemma4_more_moe"]
BUDGET = 1 << 26


def path_of(name: str, folder: Path) -> Path:
    if name in STORED:
        return GOLDEN / f"{name}.gguf"
    script = make_gemma4()
    script.write_gguf(next(v for v in script.MORE if v.name == name), folder / "model.gguf")
    return folder / "model.gguf"


def open_model(name: str, **options: Any) -> _core.Model:
    return _core.Model(str(GOLDEN / f"{name}.gguf"), **options)


def drawn(name: str, shape: str | list[Any], seed: int = 1) -> Mixed:
    width = {E2B: 16, DENSE: 20, MOE: 16}[name]
    return mixed(SHAPES[shape] if isinstance(shape, str) else shape, 270, width, seed)


# --- right ---


@pytest.mark.parametrize("name", [*STORED, *MORE])
def test_logits_equal_the_oracle(name, tmp_path):
    path = path_of(name, tmp_path)
    oracle, model = Gemma4.load(path), _core.Model(str(path))
    assert oracle.vision == ("sliding" if oracle.P == 0 else "causal")
    for seed, shape in enumerate(SHAPES.values()):
        m = mixed(shape, 270, oracle.D, seed)
        expected = oracle.logits(m.ids, m.soft)
        scale = max(1.0, np.abs(expected).max() / 30)  # without a cap the logits are larger
        assert np.abs(model.logits(m.prompt) - expected).max() <= 2e-4 * scale, shape


@pytest.mark.parametrize(("name", "mask"), [(E2B, "own"), (DENSE, "own"), (MOE, "own"), (DENSE, "overlay")])
def test_logits_equal_transformers(name, mask):
    model = open_model(name, vision_overlay=mask == "overlay")
    with np.load(GOLDEN / "soft_gemma4.npz") as golden:
        for shape in SHAPES:
            m, expected = drawn(name, shape), golden[f"{name}/{mask}/{shape}"]
            wanted = np.unique(np.linspace(0, len(m.ids) - 1, 12).astype(np.int64))
            assert np.abs(model.logits(m.prompt, wanted) - expected).max() <= 2e-4
            assert np.ptp(expected) > 40


@pytest.mark.parametrize("name", [DENSE, MOE])
def test_the_overlay_equals_the_oracle(name):
    path = GOLDEN / f"{name}.gguf"
    oracle, model = Gemma4.load(path), _core.Model(str(path), vision_overlay=True)
    oracle.vision = "overlay"
    for seed, shape in enumerate(SHAPES.values()):
        m = mixed(shape, 270, oracle.D, seed)
        assert np.abs(model.logits(m.prompt) - oracle.logits(m.ids, m.soft)).max() <= 2e-4, shape


@pytest.mark.parametrize("name", STORED)
def test_masks_scales_and_padding_show(name):
    """What the tests above compare would differ visibly, were a rule wrong."""
    oracle, m = Gemma4.load(GOLDEN / f"{name}.gguf"), drawn(name, "one of each")
    right = oracle.logits(m.ids, m.soft)
    scaled = [(at, kind, rows * np.sqrt(oracle.D)) for at, kind, rows in m.soft]
    assert np.abs(oracle.logits(m.ids, scaled) - right).max() > 0.05
    for other in {"causal", "sliding", "overlay"} - {oracle.vision}:
        oracle.vision = other
        assert np.abs(oracle.logits(m.ids, m.soft) - right).max() > 0.05
    if oracle.P:
        oracle.vision = "causal"
        oracle.w["per_layer_token_embd.weight"][0] *= 2
        assert np.abs(oracle.logits(m.ids, m.soft) - right).max() > 0.05


@pytest.mark.parametrize("name", STORED)
def test_hidden_states_equal_the_oracle(name):
    oracle, model, m = Gemma4.load(GOLDEN / f"{name}.gguf"), open_model(name), drawn(name, "across a page")
    expected = oracle.hidden(m.ids, m.soft)
    assert np.abs(model.hidden(m.prompt, list(range(oracle.L + 1))) - expected).max() <= 1e-4


@pytest.mark.parametrize("name", STORED)
def test_the_placeholders_id_means_nothing(name):
    model, m = open_model(name), drawn(name, "one of each")
    other = np.where(m.types > 0, 77, m.ids)
    np.testing.assert_array_equal(model.logits(soft_prompt(other, m.soft)), model.logits(m.prompt))


def test_attention_shows_what_a_picture_sees():
    model, m = open_model(DENSE), drawn(DENSE, "longer than the window")
    begin, end = m.blocks[0]
    weights = model.attention(m.prompt, [0, 5], [0], list(range(len(m.ids))))
    near, far = weights[0, 0] > 0, weights[1, 0] > 0
    assert near[begin, begin:end].all()  # the first row sees the last, 39 keys ahead
    assert not near[end - 1, : end - 11].any()  # the window of 11 keys holds backwards
    assert near[end - 1, end - 11 : end].all()
    assert not near[end - 1, end:].any()
    np.testing.assert_array_equal(far, np.tri(len(m.ids), dtype=bool))
    sound = next(at for at, kind, _ in m.soft if kind == "audio")
    assert not near[sound, sound + 1 :].any()


# --- the same bits ---


@pytest.mark.parametrize("name", STORED)
@pytest.mark.parametrize("shape", ["one of each", "side by side", "across a page"])
def test_any_chunking_and_thread_count(name, shape):
    m = drawn(name, shape)
    whole = open_model(name, threads=1)
    logits, layers = whole.logits(m.prompt), list(range(whole.info()["layers"] + 1))
    hidden = whole.hidden(m.prompt, layers)
    last = len(m.ids) - 1
    for block in (1, 7):
        cut = open_model(name, block=block, threads=3)
        np.testing.assert_array_equal(cut.logits(m.prompt), logits)
        np.testing.assert_array_equal(cut.logits(m.prompt, np.array([last, 3])), logits[[last, 3]])
        np.testing.assert_array_equal(cut.hidden(m.prompt, layers), hidden)
    longer = m.then([5, 6, 7, 8])
    first = len(m.ids)
    np.testing.assert_array_equal(
        open_model(name, block=7).score(longer.prompt, first), whole.score(longer.prompt, first)
    )


@pytest.mark.parametrize("name", STORED)
@pytest.mark.parametrize("isa", _core.isas())
def test_every_instruction_set(name, isa, monkeypatch):
    m = drawn(name, "across a page")
    monkeypatch.setenv("GEMLET_ISA", "scalar")
    expected = open_model(name).logits(m.prompt)
    monkeypatch.setenv("GEMLET_ISA", isa)
    np.testing.assert_array_equal(open_model(name).logits(m.prompt), expected)


@pytest.mark.parametrize(("name", "kv_dtype"), [(E2B, "f32"), (DENSE, "f16"), (MOE, "q8_0")])
def test_together_is_as_alone(name, kv_dtype):
    """Several prompts in shared steps, whose room a picture overruns rather than being cut."""
    prompts = [drawn(name, shape).prompt for shape in SHAPES]
    prompts.append(drawn(name, [3, ("image", 200), 4]).prompt)
    prompts.append(np.arange(4, 90, dtype=np.int32))
    alone = open_model(name, kv_dtype=kv_dtype, prefix_bytes=0)
    expected = [finish(start_prompt(alone, prompt)) for prompt in prompts]
    model = open_model(name, kv_dtype=kv_dtype, prefix_bytes=0, block=150)
    running = [start_prompt(model, prompt) for prompt in prompts]
    for got, wanted in zip(map(finish, running), expected, strict=True):
        assert same(got, wanted)


def start_prompt(model: _core.Model, prompt: Any, count: int = 6, **settings: Any) -> _core.Stream:
    options = _core.GenerateOptions()
    options.temperature = 0
    options.max_tokens = count
    options.ignore_eos = True
    options.logprobs = 2
    for key, value in settings.items():
        setattr(options, key, value)
    return model.generate(prompt, options)


def said(model: _core.Model, m: Mixed, count: int = 6, **settings: Any) -> dict[str, Any]:
    return finish(start_prompt(model, m.prompt, count, **settings))


# --- what was read before ---


@pytest.mark.parametrize("name", STORED)
def test_a_known_picture_is_not_read_again(name):
    m = drawn(name, [30, ("image", 40), 6, ("audio", 12), 20])
    model, forgetful = open_model(name), open_model(name, prefix_bytes=0)
    first, again = said(model, m), said(model, m)
    assert (first["cached_tokens"], again["cached_tokens"]) == (0, len(m.ids) - 1)
    longer = m.then([*first["ids"], 7, 9])
    following = said(model, longer)
    assert following["cached_tokens"] == len(m.ids) + len(first["ids"]) - 1
    assert same(first, again)
    assert same(first, said(forgetful, m))
    assert same(following, said(forgetful, longer))


@pytest.mark.parametrize("name", STORED)
def test_another_picture_is_another_prefix(name):
    """The ids are the same; only the rows tell, and only from the picture on."""
    a = drawn(name, [70, ("image", 10), 2])
    at, kind, rows = a.soft[0]
    other = rows.copy()
    other[7, 3] += 1e-3
    model = open_model(name)
    said(model, a)
    for soft in ([(at, kind, other)], [(at, "audio", rows)], [(at, kind, rows[:9]), (at + 9, kind, rows[9:])]):
        b = Mixed(a.ids, soft)
        got = said(model, b)
        assert got["cached_tokens"] in (0, 70)  # 0 where the window's pages are gone
        assert same(got, said(open_model(name, prefix_bytes=0), b))
    plain = Mixed(a.ids, [])
    assert said(model, plain)["cached_tokens"] in (0, 70)


def test_reuse_never_ends_within_a_picture():
    """A prompt that ends within a picture, or goes on there with tokens, is read from its begin."""
    m = drawn(DENSE, [70, ("image", 12), 1])
    at, kind, rows = m.soft[0]
    model = open_model(DENSE)
    said(model, m)
    shorter = Mixed(m.ids[:-3], [(at, kind, rows[:10])])
    assert said(model, shorter)["cached_tokens"] in (0, 70)
    ends = Mixed(m.ids[:-1], m.soft)  # the last row runs, and with it all of its picture
    got = said(model, ends)
    assert got["cached_tokens"] in (0, 70)
    assert same(got, said(open_model(DENSE, prefix_bytes=0), ends))
    causal = drawn(E2B, [70, ("image", 12), 1])
    model = open_model(E2B)
    said(model, causal)
    assert said(model, Mixed(causal.ids[:-1], causal.soft))["cached_tokens"] == 81


@pytest.mark.parametrize("name", STORED)
def test_a_long_answer_does_not_cost_the_next_question_its_picture(name):
    """Sliding layers have given up what a question behind the picture sees, but a point there was kept."""
    m = drawn(name, [30, ("image", 40), 5])
    model = open_model(name)
    said(model, m, 4)  # could still go back there
    said(model, m, 100)
    other = Mixed(np.concatenate([m.ids[:71], [9, 8, 7]]).astype(np.int32), m.soft)
    got = said(model, other)
    assert got["cached_tokens"] == 71
    assert same(got, said(open_model(name, prefix_bytes=0), other))


def test_a_mark_within_a_picture_is_passed():
    m = drawn(DENSE, [40, ("image", 30), 20])
    plain = said(open_model(DENSE, prefix_bytes=0), m)
    for marks in ([50], [40], [40, 45, 70], [69, 71]):
        assert same(said(open_model(DENSE), m, marks=marks), plain)


@pytest.mark.parametrize("name", STORED)
def test_a_cancelled_reading_goes_on(name):
    """What was read of a long sound stays known, up to where it was cut."""
    m = drawn(name, [10, ("image", 60), 5, ("audio", 300), 8])
    model = open_model(name, block=16)
    running = start_prompt(model, m.prompt)
    while (event := running.next(1000)) is None or event["kind"] != "prefill" or event["done"] < 150:
        pass
    running.cancel()
    finish(running)
    got = said(model, m)
    assert 150 <= got["cached_tokens"] < len(m.ids)
    assert same(got, said(open_model(name, prefix_bytes=0), m))


@pytest.mark.parametrize("name", STORED)
def test_whatever_was_read_before(name):
    """Prompts of few parts in every order, so that they share beginnings of all kinds: never a wrong bit."""
    rng = np.random.default_rng(5)
    width = {E2B: 16, DENSE: 20, MOE: 16}[name]
    pictures = [rng.normal(0, 1.5, (count, width)).astype(np.float32) for count in (3, 30, 30)]
    model, forgetful = open_model(name, block=24), open_model(name, prefix_bytes=0)
    reused = 0
    for _ in range(25):
        ids: list[int] = []
        soft = []
        for part in rng.integers(0, 9, 6):
            if part < 6:
                rows = pictures[part % 3]
                soft.append((len(ids), ("image", "audio")[part // 3], rows))
                ids += [0] * len(rows)
            else:
                ids += [part] * (15 if part == 8 else 2)
        m = Mixed(np.array([*ids, 9][: len(ids) + int(rng.integers(0, 2)) or 1], np.int32), soft)
        got = said(model, m, 3)
        assert same(got, said(forgetful, m, 3))
        reused += got["cached_tokens"]
        assert all(got["cached_tokens"] <= at or got["cached_tokens"] >= end for at, end in m.blocks) or name == E2B
    assert reused > 50


# --- sessions ---


@pytest.mark.parametrize("name", STORED)
def test_a_saved_session_with_a_picture_goes_on(name, tmp_path):
    m = drawn(name, [30, ("image", 40), 6, ("video", 12), 20])
    model = open_model(name)
    session = _core.Session(model, BUDGET)
    first = ask_soft(model, session, m)
    longer = m.then([*first["ids"], 5, 6, 7])
    session.save(str(tmp_path / "talk.gls"), b"")
    fork = session.fork()

    other = open_model(name, threads=1)
    again = _core.Session(other, BUDGET)
    again.load(str(tmp_path / "talk.gls"))
    fresh = said(open_model(name, prefix_bytes=0), longer)
    for who, read in ((other, again), (model, fork), (model, session)):
        got = ask_soft(who, read, longer)
        assert got["cached_tokens"] == len(m.ids) + len(first["ids"]) - 1
        assert same(got, fresh)
    at, kind, rows = m.soft[0]
    changed = Mixed(longer.ids, [(at, kind, rows + 1), *m.soft[1:]])
    assert ask_soft(other, again, changed)["cached_tokens"] in (0, 30)


def ask_soft(model: _core.Model, session: _core.Session, m: Mixed) -> dict[str, Any]:
    options = _core.GenerateOptions()
    options.temperature, options.max_tokens, options.ignore_eos, options.logprobs = 0, 6, True, 2
    return finish(model.generate(m.prompt, options, session=session))


def test_the_overlay_has_sessions_of_its_own(tmp_path):
    model = open_model(DENSE)
    session = _core.Session(model, BUDGET)
    ask(model, session, np.arange(4, 20))
    session.save(str(tmp_path / "talk.gls"), b"")
    with pytest.raises(BadFile, match="another model"):
        _core.Session(open_model(DENSE, vision_overlay=True), BUDGET).load(str(tmp_path / "talk.gls"))


# --- what is refused ---


def test_spans_must_fit():
    rows = np.zeros((4, 20), np.float32)
    ids = np.zeros(10, np.int32)
    for spans in ([(7, rows)], [(-1, rows)], [(0, rows), (3, rows)], [(5, rows), (0, rows)], [(3, rows[:0])]):
        with pytest.raises(ValueError, match="spans"):
            soft_prompt(ids, [(at, "image", given) for at, given in spans])
    with pytest.raises(ValueError, match="'image', 'video' or 'audio', got 'smell'"):
        soft_prompt(ids, [(0, "smell", rows)])
    with pytest.raises(ValueError, match="equal widths"):
        soft_prompt(ids, [(0, "image", rows), (4, "image", rows[:, :9])])
    with pytest.raises(ValueError, match="16 bytes, got 3"):
        _core.Prompt(ids, [(0, "image", rows, b"abc")])
    made = soft_prompt(ids, [(2, "video", rows)])
    assert (len(made), made.spans) == (10, [(2, 6, "video")])
    with pytest.raises(ValueError, match="model's width, 16, got 20"):
        open_model(E2B).logits(made)
    with pytest.raises(ValueError, match="only tokens have a probability"):
        open_model(DENSE).score(made, 3)


def test_rows_are_copied_once_and_kept():
    """The caller may do with his array what he wants."""
    m = drawn(DENSE, "one of each")
    prompt, model = m.prompt, open_model(DENSE)
    expected = model.logits(prompt)
    for _, _, rows in m.soft:
        rows[:] = np.nan
    np.testing.assert_array_equal(model.logits(prompt), expected)
    assert digest(m.soft[0][2]) != digest(m.soft[1][2])


def test_kept_rows_are_shared_and_outlive_their_arrays():
    m = drawn(DENSE, "one of each")
    expected = open_model(DENSE).logits(m.prompt)
    shared = Mixed(m.ids, [(at, kind, kept(rows)) for at, kind, rows in m.soft]).prompt
    loose = [(at, kind, _core.kept_rows(*rows.shape)) for at, kind, rows in m.soft]
    for (_, _, own), (_, _, rows) in zip(loose, m.soft, strict=True):
        own[:] = rows
    copied = Mixed(m.ids, loose).prompt
    for _, _, own in loose:
        own[:] = np.nan  # nobody said that these would not change
    gc.collect()
    for prompt in (shared, copied):
        np.testing.assert_array_equal(open_model(DENSE).logits(prompt), expected)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
def test_a_prompt_of_kept_rows_takes_no_memory_for_them():
    rows = _core.kept_rows(1 << 14, 1024)  # 64 MiB that nobody has written to
    part = rows[1 << 13 :]
    rows.flags.writeable = part.flags.writeable = False
    assert _core.is_kept(rows)
    assert _core.is_kept(part)
    before = pages()
    made = [_core.Prompt(np.zeros(len(own), np.int32), [(0, "image", own, bytes(16))]) for own in (rows, part)]
    assert pages() - before < 1000
    assert [len(prompt) for prompt in made] == [1 << 14, 1 << 13]


def pages() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1])


def test_what_is_kept():
    rows = np.ones((3, 4), np.float32)
    own = kept(rows)
    assert _core.is_kept(own)
    assert kept(own) is own
    np.testing.assert_array_equal(own, rows)
    with pytest.raises(ValueError, match=r"WRITEABLE|writeable"):
        own.flags.writeable = True
    rows.flags.writeable = False
    for other in (rows, own.astype(np.float64), own[:, 1:], _core.kept_rows(3, 4), [[1.0]], None):
        assert not _core.is_kept(other)
    with pytest.raises(ValueError, match=r"room for, got \(-1, 4\)"):
        _core.kept_rows(-1, 4)
    assert _core.kept_rows(0, 4).shape == (0, 4)


def test_a_pile_of_frames():
    rng, pile = np.random.default_rng(5), Pile()
    given = [rng.standard_normal((int(n), 6)).astype(np.float32) for n in rng.integers(1, 9, 300)]
    for rows in given:
        pile.add(rows)
    runs = pile.runs()
    assert all(_core.is_kept(run) for run in runs)
    for run, rows in zip(runs, given, strict=True):
        np.testing.assert_array_equal(run, rows)


def test_plain_prompts_are_as_before():
    ids = np.arange(4, 60, dtype=np.int32)
    model = open_model(DENSE)
    np.testing.assert_array_equal(model.logits(_core.Prompt(ids, [])), model.logits(ids))
    assert same(finish(start_prompt(model, _core.Prompt(ids, []))), answer(model, ids))
    assert finish(start(model, ids, 3))["cached_tokens"] == 55
