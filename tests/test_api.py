"""The public Python API on the real demo model: what it says, and how it refuses."""

from __future__ import annotations

import concurrent.futures
import contextlib
import copy
import math
import pickle
import signal
import threading
import time

import numpy as np
import pytest

import gemlet

PROMPT = "Once upon a time, in a small village by the sea,"


def test_greedy_text_is_the_models(m):
    answer = m.generate("One, two, three, four,", max_tokens=8, temperature=0)
    assert answer.text == " five, six, seven, eight,"
    assert answer.finish_reason == "length"
    assert answer.usage.completion_tokens == len(answer.token_ids) == 8
    assert answer.usage.prompt_tokens == len(m.tokenize("One, two, three, four,"))
    assert m.detokenize(answer.token_ids) == answer.text
    assert answer.timings.total_s >= answer.timings.prefill_s > 0
    assert answer.warnings == []


def test_ids_and_text_are_the_same_prompt(m):
    ids = m.tokenize(PROMPT)
    for form in (ids, ids.tolist(), ids.astype(np.int64)):
        assert (
            m.generate(form, max_tokens=4, temperature=0).text == m.generate(PROMPT, max_tokens=4, temperature=0).text
        )


def test_a_seed_repeats_a_draw(m):
    first = m.generate(PROMPT, max_tokens=12)
    again = m.generate(PROMPT, max_tokens=12, seed=first.seed)
    other = m.generate(PROMPT, max_tokens=12, seed=first.seed ^ 1)
    assert again.token_ids.tolist() == first.token_ids.tolist()
    assert other.token_ids.tolist() != first.token_ids.tolist()


def test_a_stream_is_the_whole_in_pieces(m):
    whole = m.generate(PROMPT, max_tokens=12, seed=5)
    with m.generate(PROMPT, max_tokens=12, seed=5, stream=True) as stream:
        chunks = list(stream)
    assert len(chunks) > 3
    assert "".join(chunk.text for chunk in chunks) == whole.text == stream.result.text
    assert [i for chunk in chunks for i in chunk.token_ids] == whole.token_ids.tolist()
    assert {chunk.kind for chunk in chunks} == {"text"}


def test_stop_strings_end_the_answer_and_are_not_in_it(m):
    answer = m.generate("One, two, three, four,", max_tokens=20, temperature=0, stop=[" seven", "zzz"])
    assert answer.text == " five, six,"
    assert answer.finish_reason == "stop"


def test_logprobs_agree_with_logits(m):
    answer = m.generate(PROMPT, max_tokens=3, temperature=0, logprobs=4)
    ids = np.concatenate([m.tokenize(PROMPT), answer.token_ids])
    logits = m.logits(ids, positions=slice(-4, -1)).astype(np.float64)
    expected = (
        logits
        - np.log(np.exp(logits - logits.max(1, keepdims=True)).sum(1, keepdims=True))
        - logits.max(1, keepdims=True)
    )
    assert len(answer.logprobs) == 3
    for row, entry in zip(expected, answer.logprobs, strict=True):
        assert entry.logprob == pytest.approx(row[entry.id], abs=1e-4)
        assert entry.text == m.detokenize([entry.id], special=True)
        assert len(entry.top) == 4
        assert entry.top[0].logprob == pytest.approx(row.max(), abs=1e-4)
        assert sorted((t.logprob for t in entry.top), reverse=True) == [t.logprob for t in entry.top]


def test_logit_bias_forbids_and_forces(m):
    forced = m.generate(PROMPT, max_tokens=3, temperature=0, logit_bias={9259: 1000.0})
    assert set(forced.token_ids.tolist()) == {9259}
    free = m.generate(PROMPT, max_tokens=1, temperature=0).token_ids[0]
    other = m.generate(PROMPT, max_tokens=1, temperature=0, logit_bias={free: -1000.0}).token_ids[0]
    assert free != other
    with pytest.raises(ValueError, match="outside the vocabulary, 0 to 262143"):
        m.generate(PROMPT, logit_bias={m.vocab_size: 1.0})


def test_control_words_as_text_are_warned_about(m):
    answer = m.generate("<start_of_turn>user", max_tokens=1, temperature=0)
    assert "'<start_of_turn>' as plain text" in answer.warnings[0]
    assert len(m.tokenize("<start_of_turn>", parse_special=True)) == 2
    assert m.generate(m.tokenize("<start_of_turn>", parse_special=True), max_tokens=1, temperature=0).warnings == []


def test_overflow(m):
    long = "word " * (m.context + 10)
    with pytest.raises(gemlet.ContextOverflow, match=r"the context holds 1024.*truncate"):
        m.generate(long, max_tokens=4)
    answer = m.generate(long, max_tokens=4, temperature=0, overflow="truncate")
    assert answer.usage.prompt_tokens + 4 <= m.context
    assert "were cut after BOS" in answer.warnings[0]
    for call in (m.logits, m.hidden):
        with pytest.raises(gemlet.ContextOverflow, match="context holds 1024"):
            call(long)
    with pytest.raises(gemlet.ContextOverflow, match="continuations"):
        m.score(long, [" a"])
    with pytest.raises(gemlet.ContextOverflow, match=r"texts\[1\]"):
        m.embed(["a", long])


def test_the_context_may_fill_up(m):
    ids = np.resize(m.tokenize("la la la la", add_bos=False), m.context - 3)
    answer = m.generate(ids, max_tokens=50, temperature=0, ignore_eos=True)
    assert answer.finish_reason == "length"
    assert answer.usage.completion_tokens == 3
    assert "the context of 1024 tokens was full" in answer.warnings[0]


@pytest.mark.parametrize("x", [np.array([[2, 3]]), [2.5], [], [2, 10**6], b"text", None])
def test_bad_prompts(m, x):
    for call in (m.generate, m.logits, m.hidden):
        with pytest.raises((TypeError, ValueError), match="x"):
            call(x)


def test_logits(m):
    ids = m.tokenize(PROMPT)
    every = m.logits(ids)
    assert (every.shape, every.dtype) == ((len(ids), m.vocab_size), np.float32)
    assert every.flags.owndata or every.base is not None
    assert np.isfinite(every).all()
    for positions in (slice(-2, None), [0, 3], -1):
        assert np.array_equal(m.logits(ids, positions=positions), np.atleast_2d(every[positions]))
    assert m.logits(ids, positions=[]).shape == (0, m.vocab_size)
    with pytest.raises(ValueError, match="outside"):
        m.logits(ids, positions=len(ids))


def test_logits_into_given_room(m):
    expected = m.logits("Paris is", positions=slice(-2, None))
    whole = np.zeros(2 * m.vocab_size + 1, np.float32)
    for first in (0, 1):  # at any place, a line's beginning or not
        room = whole[first : first + 2 * m.vocab_size].reshape(2, -1)
        room[:] = np.nan
        assert m.logits("Paris is", positions=slice(-2, None), out=room) is room
        np.testing.assert_array_equal(room, expected)
    frozen = expected.copy()
    frozen.flags.writeable = False
    twice = np.zeros((2, 2 * m.vocab_size), np.float32)
    for wrong in (frozen, expected[:1], expected.astype(np.float64), twice[:, ::2]):
        with pytest.raises(ValueError, match=rf"logits: out: expected a writable .*\(2, {m.vocab_size}\), got"):
            m.logits("Paris is", positions=slice(-2, None), out=wrong)
    with pytest.raises(TypeError, match="got list"):
        m.logits("Paris is", out=[])


def test_logits_above_the_limit_are_refused_before_any_work(m, monkeypatch):
    monkeypatch.setattr("gemlet.model.questions.LOGITS_LIMIT", 8 << 20)
    began = time.perf_counter()
    with pytest.raises(ValueError, match=r"900 positions.*limit of 0.0078125 GiB.*at most 8 at a time"):
        m.logits(np.full(900, 5))
    assert time.perf_counter() - began < 0.5
    assert m.logits(np.full(20, 5), positions=slice(-8, None)).shape[0] == 8


def test_hidden(m):
    ids = m.tokenize(PROMPT)
    layers = m.info["layers"]
    states = m.hidden(ids, layers=[0, layers - 1, -1, -layers, "final"])
    assert (states.shape, states.dtype) == ((5, len(ids), m.info["width"]), np.float32)
    assert np.array_equal(states[1], states[2])
    assert np.array_equal(states[0], states[3])
    assert not np.array_equal(states[2], states[4])
    for layers_given in ([layers], [-layers - 1], ["last"], []):
        with pytest.raises(ValueError, match="hidden"):
            m.hidden(ids, layers=layers_given)


def test_scores_agree_with_logits(m):
    prompt, continuation = m.tokenize("Paris is the capital of"), m.tokenize(" France, and", add_bos=False)
    logits = m.logits(np.concatenate([prompt, continuation])).astype(np.float64)
    rows = logits[len(prompt) - 1 : -1]
    expected = (
        rows[np.arange(len(rows)), continuation]
        - np.log(np.exp(rows - rows.max(1, keepdims=True)).sum(1))
        - rows.max(1)
    )
    (tokens,) = m.score(prompt, [continuation], per_token=True)
    assert tokens.dtype == np.float32
    assert np.allclose(tokens, expected, atol=1e-4)
    sums = m.score("Paris is the capital of", [" France, and", " Germany"])
    assert (sums.shape, sums.dtype) == ((2,), np.float32)
    assert math.isclose(sums[0], tokens.sum(), abs_tol=1e-4)
    assert sums[0] > sums[1]
    assert m.score("a", []).shape == (0,)
    with pytest.raises(TypeError, match="not one string"):
        m.score("a", "b")
    with pytest.raises(ValueError, match=r"continuations\[1\] is empty"):
        m.score("a", ["b", ""])


def test_perplexity_is_what_scores_say(m):
    text = "The quick brown fox jumps over the lazy dog. " * 3
    whole = m.perplexity(text)
    (tokens,) = m.score([2], [m.tokenize(text, add_bos=False)], per_token=True)
    assert whole.tokens == len(tokens)
    assert whole.nll == pytest.approx(-tokens.mean(), abs=1e-5)
    assert whole.perplexity == pytest.approx(math.exp(-tokens.mean()), rel=1e-4)
    cut = m.perplexity(text, window=16, stride=8)
    assert cut.tokens == whole.tokens
    assert cut.perplexity > whole.perplexity  # less context, harder
    both = m.perplexity([text, text])
    assert both.tokens == 2 * whole.tokens
    assert both.nll == pytest.approx(whole.nll, abs=1e-6)
    for options in ({"window": 1}, {"window": m.context + 1}, {"window": 8, "stride": 8}, {"stride": 0}):
        with pytest.raises(ValueError, match="perplexity"):
            m.perplexity(text, **options)
    for texts in ("", [], ["a", ""]):
        with pytest.raises(ValueError, match="perplexity"):
            m.perplexity(texts)


def test_embeddings_know_what_is_near(m):
    rows = m.embed(["A cat sleeps on the sofa.", "A kitten naps on the couch.", "Interest rates rose in March."])
    assert (rows.shape, rows.dtype) == ((3, 640), np.float32)
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    near, far = rows[0] @ rows[1], rows[0] @ rows[2]
    assert near > far
    assert m.embed("one").shape == (1, 640)
    assert m.embed([]).shape == (0, 640)
    short = m.embed(["one"], dimensions=8, normalize=False)
    assert np.array_equal(short, m.embed(["one"], normalize=False)[:, :8])
    for bad in ([""], [3]):
        with pytest.raises((TypeError, ValueError), match=r"texts\[0\]"):
            m.embed(bad)
    for options in ({"pooling": "max"}, {"dimensions": 0}, {"dimensions": 641}):
        with pytest.raises(ValueError, match="embed"):
            m.embed(["a"], **options)


def test_what_is_no_text_is_refused(m):
    for call in (m.tokenize, m.generate, m.logits):
        with pytest.raises(ValueError, match="lone surrogate at 1"):
            call("a\ud800")
    with pytest.raises(TypeError, match="text must be a string"):
        m.tokenize(b"a")


@pytest.mark.parametrize("text", ["", " ", "héllo", "日本語", "🙂🙃", "a\r\n\tb", "  two  spaces "])
def test_text_survives_the_round_trip(m, text):
    ids = m.tokenize(text, add_bos=False)
    assert ids.dtype == np.int32
    assert m.detokenize(ids) == text
    assert m.tokenize(text).tolist() == [2, *ids.tolist()]


def test_many_threads_may_call_one_model(m):
    prompts = ["One, two, three, four,", "Monday, Tuesday, Wednesday,", PROMPT]
    alone = [m.generate(prompt, max_tokens=6, temperature=0).token_ids.tolist() for prompt in prompts]
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        calls = [pool.submit(m.generate, prompt, max_tokens=6, temperature=0) for prompt in prompts * 4]
        together = [call.result().token_ids.tolist() for call in calls]
    assert together == alone * 4


def test_other_threads_run_while_the_engine_works(m):
    ticks, done = [], threading.Event()

    def tick() -> None:
        while not done.wait(0.005):
            ticks.append(time.perf_counter())

    thread = threading.Thread(target=tick)
    thread.start()
    m.generate(PROMPT * 20, max_tokens=16, temperature=0, ignore_eos=True)
    done.set()
    thread.join()
    assert len(ticks) > 5
    assert max(np.diff(ticks)) < 0.5


def test_cancel_from_another_thread(m):
    stream = m.generate(PROMPT, max_tokens=900, ignore_eos=True, stream=True)
    next(stream)
    threading.Timer(0.05, stream.cancel).start()
    result = stream.result
    assert result.finish_reason == "cancelled"
    assert 0 < len(result.token_ids) < 900


def test_ctrl_c_ends_a_generation_soon(m):
    began = time.perf_counter()
    threading.Timer(0.2, signal.raise_signal, [signal.SIGINT]).start()
    with pytest.raises(KeyboardInterrupt):
        m.generate(PROMPT, max_tokens=900, ignore_eos=True)
    assert time.perf_counter() - began < 2
    assert m.generate("One, two, three, four,", max_tokens=2, temperature=0).text == " five,"


def test_a_timeout_is_kept(m):
    began = time.perf_counter()
    result = m.generate(PROMPT, max_tokens=900, ignore_eos=True, timeout=0.3)
    assert time.perf_counter() - began < 2
    assert result.finish_reason == "cancelled"
    assert "timeout=0.3" in result.warnings[0]


def test_thread_count_and_chunking_do_not_change_the_answer(m, demo_path):
    with gemlet.load(demo_path, threads=1, context=256) as one:
        assert one.threads == 1
        ids = one.tokenize(PROMPT)
        assert np.array_equal(one.logits(ids), m.logits(ids))
        assert (
            one.generate(ids, max_tokens=8, seed=1).token_ids.tolist()
            == m.generate(ids, max_tokens=8, seed=1).token_ids.tolist()
        )


def test_the_model_tells_about_itself(m, demo_path):
    assert m.path == demo_path
    assert (m.vocab_size, m.context) == (262144, 1024)
    assert m.isa in gemlet.isas()
    assert m.info["layers"] == 18
    m.info.clear()
    assert m.info
    memory = m.memory()
    assert memory["weights_file"] > 200e6
    m.forget()  # what other tests' calls left for prompts like theirs
    assert m.memory()["kv_cache"] == 0
    with m.generate(PROMPT, max_tokens=500, ignore_eos=True, stream=True) as stream:
        next(stream)
        assert 0 < m.memory()["kv_cache"] < 20e6
    until = time.perf_counter() + 5
    m.forget()
    while m.memory()["kv_cache"] and time.perf_counter() < until:
        time.sleep(0.01)
    assert m.memory()["kv_cache"] == 0
    shown = repr(m)
    for part in (m.name, m.isa, "Q4_K_M", "1024", "MiB"):
        assert part in shown


def test_a_model_pickles_as_the_way_it_was_loaded(demo_path):
    with gemlet.load(demo_path, context=64, threads=1) as model:
        again = pickle.loads(pickle.dumps(model))
        with again, copy.copy(model) as third:
            assert (again.context, again.threads, third.context) == (64, 1, 64)
            assert (
                again.generate("a", max_tokens=2, temperature=0).text
                == model.generate("a", max_tokens=2, temperature=0).text
            )


def test_after_close_every_call_says_so(demo_path):
    model = gemlet.load(demo_path, context=64)
    kept = model.logits("a")
    before = kept.copy()
    running = model.generate("a", max_tokens=50, ignore_eos=True, stream=True)
    next(running)
    model.close()
    model.close()
    for call in (model.generate, model.logits, model.hidden, model.embed, model.perplexity, model.tokenize):
        with pytest.raises(gemlet.GemletError, match="was closed"):
            call("a")
    with pytest.raises(gemlet.GemletError, match="was closed"):
        model.memory()
    assert "closed" in repr(model)
    assert np.array_equal(kept, before)  # results own their memory
    with contextlib.suppress(gemlet.Cancelled):
        assert running.result.finish_reason == "cancelled"


def test_what_loading_did_unasked_is_told_and_logged(m, monkeypatch, caplog):
    class Warned:
        def __init__(self, path: str, **options: object) -> None:
            pass

        def info(self) -> dict[str, object]:
            return {**m.info, "warnings": ["the file names no end token"]}

        def close(self) -> None:
            pass

    monkeypatch.setattr("gemlet.model.opened._core.Model", Warned)
    with gemlet.load(m.path) as model:
        assert model.warnings == ["the file names no end token"]
    assert [(r.name, r.levelname, r.message) for r in caplog.records] == [("gemlet", "WARNING", model.warnings[0])]
    assert m.warnings == []


def test_loading_what_is_not_a_model(tmp_path, demo_path):
    with pytest.raises(gemlet.ModelNotFound, match="no file"):
        gemlet.load(tmp_path / "nothing.gguf")
    with pytest.raises(gemlet.UnsupportedModel, match="folder"):
        gemlet.load(tmp_path)
    wrong = tmp_path / "wrong.gguf"
    with open(demo_path, "rb") as file:
        beginning = file.read(100_000)
    for content in (b"", b"GGU", b"not a model at all", beginning):
        wrong.write_bytes(content)
        with pytest.raises(gemlet.BadFile, match=r"wrong\.gguf"):
            gemlet.load(wrong)
    for path in (3, None, b"demo"):
        with pytest.raises(TypeError, match="path"):
            gemlet.load(path)
