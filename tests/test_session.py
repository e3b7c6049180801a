"""Sessions: forks, files, and continuations that are equal bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gemlet import _core
from gemlet.errors import BadFile, ModelNotFound
from test_prefix import NAMES, answer, finish, open_model, same

BUDGET = 1 << 24


def ask(model: _core.Model, session: _core.Session, ids: np.ndarray, count: int = 6) -> dict[str, Any]:
    options = _core.GenerateOptions()
    options.temperature = 0
    options.max_tokens = count
    options.ignore_eos = True
    options.logprobs = 2
    return finish(model.generate(ids.astype(np.int32), options, session=session))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kv_dtype", ["f32", "f16"])
def test_a_saved_session_goes_on_with_the_same_bits(name, kv_dtype, tmp_path):
    ids = np.random.default_rng(1).integers(4, 270, 130)
    model = open_model(name, kv_dtype=kv_dtype)
    session = _core.Session(model, BUDGET)
    first = ask(model, session, ids)
    longer = np.concatenate([ids, first["ids"], [5, 6, 7]])
    session.save(str(tmp_path / "talk.gls"), b"notes \x00 of any kind")
    assert [p.name for p in tmp_path.iterdir()] == ["talk.gls"]

    other = open_model(name, kv_dtype=kv_dtype, threads=1)
    again = _core.Session(other, BUDGET)
    assert again.load(str(tmp_path / "talk.gls")) == b"notes \x00 of any kind"
    assert again.lengths == session.lengths
    continued = ask(other, again, longer)
    assert continued["cached_tokens"] == 130 + len(first["ids"]) - 1
    fresh = answer(open_model(name, kv_dtype=kv_dtype, prefix_bytes=0), longer)
    assert same(continued, fresh)
    assert same(ask(model, session, longer), fresh)


def test_forks_go_their_own_ways():
    ids = np.random.default_rng(2).integers(4, 270, 75)
    model, plain = open_model(NAMES[0], prefix_bytes=0), open_model(NAMES[0], prefix_bytes=0)
    session = _core.Session(model, BUDGET)
    ask(model, session, ids)
    fork = session.fork()
    assert fork.size == session.size
    left, right = np.append(ids, [9, 9, 9]), np.append(ids, [20, 21])
    for asked, prompt in ((session, left), (fork, right), (session, right), (fork, left)):
        got = ask(model, asked, prompt)
        assert got["cached_tokens"] >= 75
        assert same(got, answer(plain, prompt))
    session.clear()
    assert session.size == 0
    assert fork.size > 0


def test_sessions_keep_to_themselves():
    ids = np.random.default_rng(3).integers(4, 270, 75)
    model = open_model(NAMES[0])
    ask(model, _core.Session(model, BUDGET), ids)
    assert answer(model, ids)["cached_tokens"] == 0
    assert ask(model, _core.Session(model, BUDGET), ids)["cached_tokens"] == 74  # but may use what all may use


def test_a_session_of_another_model_is_refused():
    model = open_model(NAMES[0])
    with pytest.raises(ValueError, match="belongs to another model"):
        ask(model, _core.Session(open_model(NAMES[0]), BUDGET), np.arange(4, 9))


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> bytes:
    model = open_model(NAMES[0])
    session = _core.Session(model, BUDGET)
    ask(model, session, np.arange(4, 90))
    path = tmp_path_factory.mktemp("session") / "s.gls"
    session.save(str(path), b"{}")
    return path.read_bytes()


def load(tmp_path: Path, content: bytes, name: str = NAMES[0], **options: Any) -> _core.Session:
    path = tmp_path / "s.gls"
    path.write_bytes(content)
    session = _core.Session(open_model(name, **options), BUDGET)
    session.load(str(path))
    return session


def test_only_the_same_model_and_settings_may_read_it(saved, tmp_path):
    assert load(tmp_path, saved).size > 0
    for name, options in ((NAMES[1], {}), (NAMES[0], {"kv_dtype": "f16"}), (NAMES[0], {"compute": "float32"})):
        with pytest.raises(BadFile, match="made with another model"):
            load(tmp_path, saved, name, **options)
    with pytest.raises(ModelNotFound):
        _core.Session(open_model(NAMES[0]), BUDGET).load(str(tmp_path / "none"))


def test_a_context_too_small_for_it_is_told(saved, tmp_path):
    with pytest.raises(BadFile, match="tokens: expected at most 40"):
        load(tmp_path, saved, context=40)


def test_damage_anywhere_is_refused(saved, tmp_path):
    """Every cut and every flipped bit: refused, never read as something else."""
    rng = np.random.default_rng(4)
    places = {*range(0, 200, 7), *rng.integers(0, len(saved), 150).tolist(), len(saved) - 1}
    for place in places:
        for content in (saved[:place], saved[:place] + bytes([saved[place] ^ 0x40]) + saved[place + 1 :]):
            with pytest.raises(BadFile, match=r"^session"):
                load(tmp_path, content)
    with pytest.raises(BadFile, match="checksum"):
        load(tmp_path, saved + b"\0")


def test_what_cannot_be_written_leaves_nothing(tmp_path):
    model = open_model(NAMES[0])
    session = _core.Session(model, BUDGET)
    with pytest.raises(ValueError, match="cannot write"):
        session.save(str(tmp_path / "no" / "such" / "folder.gls"), b"")
    assert list(tmp_path.iterdir()) == []
