"""Sound in conversations, heard by the model's own tower."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import audio_models
import gemlet
import sounds
from chat_cases import TEMPLATE
from chat_model import write_model
from gemlet import _core
from gemlet.errors import MediaError

pytest.importorskip("gguf")
pytest.importorskip("jinja2")

SOUND = (sounds.speech_like(32_000), 16000)  # two seconds


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[gemlet.Model]:
    folder = tmp_path_factory.mktemp("hearing")
    path = write_model(folder / "model.gguf", template=TEMPLATE, per_layer=4)
    audio_models.script("make_audio").write_projector(audio_models.variant("e2b"), folder / "ears.gguf")
    with gemlet.load(path, context=1024) as made:
        yield made


def test_a_sound_in_a_conversation(model: gemlet.Model) -> None:
    rows = model.encode_audio(SOUND)
    r = model.chat("What is said?", audio=SOUND, max_tokens=4, temperature=0)
    assert r.usage.audio_tokens == len(rows) == 50
    again = model.chat("What is said?", audio=gemlet.SoftTokens(rows, "audio"), max_tokens=4, temperature=0)
    assert again.text == r.text
    silent = model.chat("What is said?", max_tokens=4, temperature=0)
    assert silent.usage.prompt_tokens == r.usage.prompt_tokens - 52  # with begin and end


def test_a_part_of_a_sound(model: gemlet.Model) -> None:
    half = (SOUND[0][8000:24000], 16000)
    prompts = [gemlet.Prompt([gemlet.Audio(SOUND, start=0.5, end=1.5)]), gemlet.Prompt([gemlet.Audio(half)])]
    first, second = (model.logits(p, positions=-1) for p in prompts)
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"start": 3}, "it ends after 2 s"),
        ({"start": 2, "end": 1}, "does not lie before"),
        ({"start": -1}, "start must be a number of seconds"),
        ({"end": "1"}, "end must be a number of seconds"),
    ],
)
def test_what_cannot_be_cut_is_named(model: gemlet.Model, options: dict[str, object], message: str) -> None:
    with pytest.raises(MediaError, match=message):
        model.generate(gemlet.Prompt([gemlet.Audio(SOUND, **options)]), max_tokens=1)


def outcome(call: Callable[[], int]) -> int | str:
    try:
        return call()
    except MediaError as error:
        return str(error)


@pytest.mark.parametrize("name", ["e2b", "12b"])
def test_counting_encodes_nothing(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of lengths on either side of whole frames and whole tokens."""
    with gemlet.load(audio_models.write_gguf(tmp_path / "m", name)) as model:
        for samples in (1, 160, 161, 320, 640, 641, 800, 801, 1281, 15_999, 16_000, 16_161):
            sound = (SOUND[0][:samples], 16000)
            part = gemlet.Audio(sound)
            heard = outcome(lambda sound=sound: len(model.encode_audio(sound)))
            with monkeypatch.context() as patch:
                patch.setattr(_core, "Ear", None)
                assert outcome(lambda part=part: len(model._senses.sizes(part, "audio").frames[0].rows)) == heard
        part = gemlet.Audio(SOUND, start=0.5, end=1.25)
        assert len(model._senses.sizes(part, "audio").frames[0].rows) == len(model._senses.tokens(part, "audio"))


def test_a_conversation_is_counted_without_hearing(model: gemlet.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    model.forget()
    with monkeypatch.context() as patch:
        patch.setattr(_core, "Ear", None)
        counted = model.count_tokens("What is said?", audio=SOUND)
    assert model.chat("What is said?", audio=SOUND, max_tokens=1).usage.prompt_tokens == counted
