"""Records: how they print, that HTML is escaped, that they pickle and become JSON."""

from __future__ import annotations

import json
import pickle

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gemlet import Chunk, Generation, Perplexity, Timings, TokenLogprob, TopToken, Usage
from gemlet.results import Draft, escape


def generation(text: str = "hi", **more: object) -> Generation:
    usage = Usage(prompt_tokens=10, completion_tokens=5, cached_tokens=2)
    timings = Timings.of(usage, prefill_s=0.5, decode_s=2.0, queue_s=0.0, total_s=2.5)
    return Generation(text, np.arange(5, dtype=np.int32), "stop", usage, timings, seed=7, **more)


def test_usage_and_rates():
    made = generation()
    assert made.usage.total_tokens == 15
    assert made.timings.prefill_tok_s == (10 - 2) / 0.5  # cached tokens were not computed
    assert made.timings.decode_tok_s == (5 - 1) / 2.0  # the first token came out of the prefill
    assert Timings.of(Usage(1, 1), 0.0, 0.0, 0.0, 0.0).decode_tok_s == 0.0


def test_the_rate_of_drafts():
    assert Draft().rate == 0.0
    assert Draft("lookup", 8, 6).as_dict() == {"kind": "lookup", "drafted": 8, "accepted": 6, "rate": 0.75}


def test_printing():
    made = generation("a" * 100, warnings=["w"])
    assert str(made) == "a" * 100
    assert (
        repr(made) == "<Generation '" + "a" * 57 + "...', 5 tokens, stop, 2.0 tok/s after 500 ms of prefill, 1 warning>"
    )
    assert str(Chunk("x", (1,))) == "x"
    shown = Perplexity(12.5, 2.5257, 100, 0.25, 0.02, 512, 256)
    assert str(shown) == "perplexity 12.5 ± 0.25 (100 tokens, window 512, stride 256)"
    assert float(shown) == 12.5


@given(st.text())
def test_html_is_escaped_and_loses_nothing(text):
    import html

    assert not set(escape(text)) & set("<>\"'")
    assert html.unescape(escape(text)) == html.unescape(html.escape(text))
    page = generation(text, warnings=[text])._repr_html_()
    assert page.count("<") == page.count(">") == 8  # our four elements, opened and closed
    assert escape(text) in page


def test_pickle_and_json():
    entry = TokenLogprob(3, "x", -0.5, (TopToken(3, "x", -0.5),))
    made = pickle.loads(pickle.dumps(generation(logprobs=[entry])))
    assert made.logprobs == [entry]
    plain = json.loads(json.dumps(made.as_dict()))
    assert plain["token_ids"] == [0, 1, 2, 3, 4]
    draft = {"kind": "off", "drafted": 0, "accepted": 0, "rate": 0.0}
    counts = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15, "cached_tokens": 2}
    counts |= {"image_tokens": 0, "audio_tokens": 0}
    assert plain["usage"] == {**counts, "draft": draft}
    assert plain["logprobs"][0]["top"][0] == {"id": 3, "text": "x", "logprob": -0.5}
    assert plain["seed"] == 7
