"""Whisper's vocabulary: text and ids, and which ids are languages, tasks and times. Pieces of bytes, as GPT-2's."""

from __future__ import annotations

import json
import re
import unicodedata
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import BadFile, ModelNotFound

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_LONGEST = 64 << 20  # bytes of a JSON file
_ENDINGS = ("'s", "'t", "'re", "'ve", "'m", "'ll", "'d")  # are pieces of their own
_NO_SPACES = "\x1c\x1d\x1e\x1f"  # spaces to Python only
_LANGUAGE = re.compile(r"<\|([a-z]{2,3})\|>")
_MULTILINGUAL = 51865  # tokens of the smallest vocabulary with languages
# Signs that stand for sounds or layout, not for words; alone, and twice or three times where writers do so.
_SIGNS = list('"#()*+/:;<=>@[\\]^_`{|}~「」『』')
_SIGNS += ["<<", ">>", "<<<", ">>>", "--", "---", "-(", "-[", "('", '("', "((", "))", "(((", ")))", "[[", "]]", "{{"]
_SIGNS += ["}}", "♪♪", "♪♪♪"]
_MUSIC = "♩♪♫♬♭♮♯"


def _letters_of_bytes() -> dict[int, str]:
    """The printable character that stands for each byte in a vocabulary's pieces."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [b for b in range(256) if b not in set(plain)]
    return {b: chr(b) for b in plain} | {b: chr(256 + i) for i, b in enumerate(others)}


_LETTERS = _letters_of_bytes()
_BYTES = {letter: byte for byte, letter in _LETTERS.items()}


class WhisperText:
    """Text to ids and back."""

    def __init__(self, folder: str, size: int, settings: dict[str, Any]) -> None:
        """folder: the model's; size: tokens that the model has; settings: its configuration files as one."""
        self._folder = folder
        self._ids = _read_vocabulary(Path(folder), size)
        self._pieces = {i: piece for piece, i in self._ids.items()}
        self.sot = self._special("<|startoftranscript|>")
        self.eot = self._special("<|endoftext|>")
        self.transcribe, self.translate = self._ids.get("<|transcribe|>"), self._ids.get("<|translate|>")
        self.sot_prev, self.sot_lm = self._ids.get("<|startofprev|>"), self._ids.get("<|startoflm|>")
        self.no_speech = self._ids.get("<|nospeech|>", self._ids.get("<|nocaptions|>"))
        self.no_timestamps = self._special("<|notimestamps|>")
        self.timestamp_begin = self.no_timestamps + 1
        if self.timestamp_begin >= size or max(self.eot, self.sot) >= self.no_timestamps:
            raise BadFile(
                f"whisper: '{folder}': expected times after <|notimestamps|> ({self.no_timestamps}), and all other "
                f"tokens before it, in a vocabulary of {size}; tokenizer and weights do not belong together"
            )
        found = {match[1]: i for piece, i in self._ids.items() if (match := _LANGUAGE.fullmatch(piece))}
        many = settings.get("is_multilingual")
        self.multilingual = bool(found) and (many if isinstance(many, bool) else size >= _MULTILINGUAL)
        self.languages = dict(sorted(found.items(), key=lambda item: item[1])) if self.multilingual else {}
        if self.multilingual and (self.transcribe is None or self.translate is None):
            raise BadFile(
                f"whisper: '{folder}': expected tokens for the tasks, as for the languages, and there are none"
            )
        self.non_speech = self._listed(settings, ("suppress_tokens", "suppress_ids")) or self._signs()
        self.blank = self._listed(settings, ("begin_suppress_tokens", "suppress_ids_begin")) or self._blank()

    def _special(self, piece: str) -> int:
        found = self._ids.get(piece)
        if found is None:
            raise BadFile(
                f"whisper: '{self._folder}': expected the token {piece} in the vocabulary, and it is missing; this is "
                "not the tokenizer of a Whisper model"
            )
        return found

    def _listed(self, settings: dict[str, Any], names: tuple[str, ...]) -> tuple[int, ...]:
        """Ids that a configuration lists under one of the names; those that the model does not have are left out."""
        for name in names:
            ids = settings.get(name)
            if isinstance(ids, list) and ids and all(type(i) is int for i in ids):
                return tuple(i for i in ids if 0 <= i < self.timestamp_begin)
        return ()

    def _blank(self) -> tuple[int, ...]:
        return (*self.encode(" "), self.eot)

    def _signs(self) -> tuple[int, ...]:
        """First ids of signs that are one id; of music, whatever it is; and what is no text at all."""
        ids = {*self.encode(" -")[:1], *self.encode(" '")[:1]}
        for sign in [*_SIGNS, *_MUSIC]:
            for written in (sign, " " + sign):
                pieces = self.encode(written)
                if len(pieces) == 1 or sign in _MUSIC:
                    ids.update(pieces[:1])
        special = (self.sot, self.sot_prev, self.sot_lm, self.transcribe, self.translate, self.no_speech)
        return tuple(sorted(ids | {i for i in special if i is not None}))

    def encode(self, text: str) -> list[int]:
        """Ids of a text; special tokens are read as text."""
        ids: list[int] = []
        for word in _words(text):
            ids += self._merge([_LETTERS[b] for b in word.encode()])
        return ids

    def _merge(self, parts: list[str]) -> list[int]:
        """Neighbours that are one piece become it, the piece of the lowest id first."""
        while len(parts) > 1:
            ranks = [self._ids.get(a + b, self.eot) for a, b in pairwise(parts)]
            best = min(ranks)
            if best >= self.eot:
                break
            i = ranks.index(best)
            parts[i : i + 2] = [parts[i] + parts[i + 1]]
        return [self._ids[part] for part in parts if part in self._ids]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids; special tokens and times are left out."""
        pieces = "".join(self._pieces.get(i, "") for i in ids if i < self.eot)
        return bytes(_BYTES[c] for c in pieces if c in _BYTES).decode("utf-8", "replace")


def _words(text: str) -> Iterator[str]:
    """Runs of letters, of digits and of other signs, each with a space before it; spaces; English endings."""

    def kind(c: str) -> str:
        if c.isspace() and c not in _NO_SPACES:
            return " "
        major = unicodedata.category(c)[0]
        return major if major in "LN" else "."

    i = 0
    while i < len(text):
        ending = next((e for e in _ENDINGS if text.startswith(e, i)), None) if text[i] == "'" else None
        if ending:
            yield ending
            i += len(ending)
            continue
        start = i
        if text[i] == " " and i + 1 < len(text) and kind(text[i + 1]) != " ":
            i += 1
        run = kind(text[i])
        while i < len(text) and kind(text[i]) == run:
            i += 1
        # The last of several spaces belongs to the word after them.
        if run == " " and i < len(text) and i - start > 1:
            i -= 1
        yield text[start:i]


def _read_json(path: Path) -> Any:
    try:
        if path.stat().st_size > _LONGEST:
            raise BadFile(f"whisper: '{path}': expected at most {_LONGEST} bytes; is this the right file?")
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise BadFile(f"whisper: '{path}': expected JSON: {error}; the file is damaged, download it again") from None
    except OSError as error:
        raise BadFile(f"whisper: '{path}': cannot read it: {error}") from None


def read_settings(folder: str) -> dict[str, Any]:
    """What the folder's configuration files say, as one; the generation's own file counts most."""
    settings: dict[str, Any] = {}
    for name in ("config.json", "generation_config.json"):
        path = Path(folder) / name
        if path.exists():
            found = _read_json(path)
            if not isinstance(found, dict):
                raise BadFile(f"whisper: '{path}': expected an object, got {type(found).__name__}")
            settings.update({key: value for key, value in found.items() if value is not None})
    return settings


def _read_vocabulary(folder: Path, size: int) -> dict[str, int]:
    """Piece -> id, from whichever file the folder has."""
    pairs: list[tuple[Any, Any]]
    path = folder / "tokenizer.json"
    if path.exists():
        pairs = _pairs_of_tokenizer(path)
    elif (path := folder / "vocabulary.json").exists():
        listed = _read_json(path)
        pairs = [(piece, i) for i, piece in enumerate(listed)] if isinstance(listed, list) else []
    elif (path := folder / "vocabulary.txt").exists():
        if path.stat().st_size > _LONGEST:
            raise BadFile(f"whisper: '{path}': expected at most {_LONGEST} bytes; is this the right file?")
        lines = path.read_bytes().decode("utf-8", "replace").split("\n")
        pairs = [(piece.removesuffix("\r"), i) for i, piece in enumerate(lines) if piece]
    elif (path := folder / "vocab.json").exists():
        pairs = []
        for part in (path, folder / "added_tokens.json"):
            found = _read_json(part) if part.exists() else {}
            pairs += list(found.items()) if isinstance(found, dict) else []
    else:
        raise ModelNotFound(
            f"whisper: '{folder}': expected tokenizer.json, vocabulary.json, vocabulary.txt or vocab.json, got none; "
            "download the whole folder, with its tokenizer"
        )
    ids: dict[str, int] = {}
    for piece, i in pairs:
        if not isinstance(piece, str) or type(i) is not int or not 0 <= i < max(size, 1):
            raise BadFile(
                f"whisper: '{path}': expected pieces with ids of 0 to {size - 1}, got {piece!r:.60} with {i!r:.60}; "
                "tokenizer and weights do not belong together"
            )
        ids[piece] = i
    return ids


def _pairs_of_tokenizer(path: Path) -> list[tuple[Any, Any]]:
    found = _read_json(path)
    model = found.get("model") if isinstance(found, dict) else None
    vocab = model.get("vocab") if isinstance(model, dict) else None
    if not isinstance(vocab, dict):
        raise BadFile(f"whisper: '{path}': expected a tokenizer with a 'model' and its 'vocab'; download it again")
    added = found.get("added_tokens")
    pairs = list(vocab.items())
    for token in added if isinstance(added, list) else []:
        if isinstance(token, dict):
            pairs.append((token.get("content"), token.get("id")))
    return pairs
