"""Sessions and map as users have them: the same answers as chat gives, with less to read."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest

from gemlet.errors import BadFile, ModelNotFound

OPTIONS: dict[str, Any] = {"max_tokens": 12, "temperature": 0}


def turns(chat: Any, *said: str) -> list[Any]:
    """A conversation without a session: everything is told again each time."""
    messages: list[Any] = []
    answers = []
    for text in said:
        messages.append({"role": "user", "content": text})
        answers.append(chat(messages, **OPTIONS))
        messages.append(answers[-1].message)
    return answers


def test_a_session_answers_as_chat_does_and_reads_less(m):
    m.forget()
    expected = turns(m.chat, "Count to five.", "And back.", "Thank you.")
    m.forget()
    with m.session() as s:
        got = [s.chat(text, **OPTIONS) for text in ("Count to five.", "And back.", "Thank you.")]
        assert [a.text for a in got] == [a.text for a in expected]
        assert got[0].usage.cached_tokens == 0
        for before, after in pairwise(got):
            assert after.usage.cached_tokens >= before.usage.prompt_tokens
        assert [message["role"] for message in s.messages] == ["user", "assistant"] * 3
        assert s.tokens > 0
        assert s.memory() > 0
        assert "6 messages" in repr(s)
    assert s.memory() == 0


def test_forks_and_rewinds(m):
    s = m.session(system="Be brief.")
    first = s.chat("Count to five.", **OPTIONS)
    other = s.fork()
    left, right = s.chat("And back.", **OPTIONS), other.chat("In French.", **OPTIONS)
    assert s.messages[:3] == other.messages[:3]
    assert s.messages[3] != other.messages[3]
    s.rewind()
    again = s.chat("In French.", **OPTIONS)
    assert again.text == right.text
    assert again.usage.cached_tokens >= first.usage.prompt_tokens
    s.rewind()
    assert s.chat("And back.", **OPTIONS).text == left.text
    s.rewind(2)
    assert [message["role"] for message in s.messages] == ["system"]
    with pytest.raises(ValueError, match="1 turns back, but the conversation has 0"):
        s.rewind()


def test_a_saved_conversation_goes_on(m, tmp_path):
    s = m.session(system="Be brief.")
    s.chat("Count to five.", **OPTIONS)
    s.save(tmp_path / "talk.gls")
    expected = s.chat("And back.", **OPTIONS)
    m.forget()
    again = m.load_session(tmp_path / "talk.gls")
    assert [message["role"] for message in again.messages] == ["system", "user", "assistant"]
    got = again.chat("And back.", **OPTIONS)
    assert got.text == expected.text
    assert got.usage._replace(draft=expected.usage.draft) == expected.usage  # how much was guessed, the clock decides
    with pytest.raises(ModelNotFound):
        m.load_session(tmp_path / "none.gls")


def test_notes_of_another_kind_are_refused(m, tmp_path):
    for i, notes in enumerate((b"", b"[]", json.dumps({"format": 1, "messages": [{"role": 3}]}).encode())):
        m.session()._read.save(str(tmp_path / f"{i}.gls"), notes)
        with pytest.raises(BadFile, match="its notes are no conversation"):
            m.load_session(tmp_path / f"{i}.gls")


def test_a_stream_joins_the_conversation_when_it_ends(m):
    s = m.session()
    with s.chat("Count to five.", stream=True, **OPTIONS) as chunks:
        text = "".join(chunk.text for chunk in chunks)
    assert s.messages[1]["content"] == text
    stream = s.chat("And back.", stream=True, max_tokens=200, temperature=0, ignore_eos=True)
    shown = next(stream).text
    s.chat("Thank you.", **OPTIONS)  # what was shown of the answer before is part of the conversation
    assert s.messages[3]["content"].startswith(shown.strip())
    assert len(s.messages) == 6


def test_map_gives_what_chat_gives_in_order(m):
    rows = [{"word": word, "n": i} for i, word in enumerate(["red", "green", "blue", "one", "two", "Oslo", "Rome"])]
    prompt = "Here is a word, and a number, which you are to use in one short sentence of your own making: {word}, {n}."
    m.forget()
    expected = [m.chat(prompt.format(**row), **OPTIONS).text for row in rows]
    m.forget()
    seen: list[tuple[int, int | None]] = []
    with m.map(iter(rows), prompt, together=3, progress=lambda *at: seen.append(at), **OPTIONS) as answers:
        got = list(answers)
    assert [answer.text for answer in got] == expected
    assert seen == [(i + 1, None) for i in range(7)]
    assert all(answer.usage.cached_tokens >= 20 for answer in got)  # the common beginning was read once


def test_map_takes_functions_and_plain_rows(m):
    with m.map(["a", "b"], lambda row: [{"role": "user", "content": f"Say {row}"}], max_tokens=2) as answers:
        assert len(answers) == 2
        assert len(list(answers)) == 2
    with m.map([], "{row}") as none:
        assert list(none) == []


def test_map_names_what_is_wrong(m):
    with pytest.raises(ValueError, match="the prompt asks for 'colour', and the row has 'word'"):
        next(m.map([{"word": 1}], "{colour}"))
    with pytest.raises(TypeError, match="prompt must be a string"):
        m.map([1], 3)
    with pytest.raises(TypeError, match="no option 'zzz'"):
        next(m.map([1], "{row}", zzz=1))
    with pytest.raises(ValueError, match="together"):
        m.map([1], "{row}", together=0)
