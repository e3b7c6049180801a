"""tokenizer.json: the ids of `tokenizers`, every way to write the same thing, and files that are refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bpe_vocabulary import CONTROL, MARK, NORMAL, USER_DEFINED
from gemlet._core import Tokenizer
from gemlet.errors import BadFile, ModelNotFound, UnsupportedModel
from test_bpe import read_golden
from tokenizer_json_files import REPLACE, SPLIT, Document, added_token, document, newline_ids, tiny, write

Change = Callable[[Document], None]


@pytest.fixture(scope="module")
def golden() -> dict[str, Any]:
    return read_golden()


@pytest.fixture(scope="module")
def folder(golden: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> str:
    tokens = golden["tokens"]
    return write(tmp_path_factory.mktemp("json"), document(tokens, golden["merges"], added=newline_ids(tokens)))


def test_ids_are_those_of_tokenizers(golden: dict[str, Any], folder: str) -> None:
    tokenizer = Tokenizer(folder)
    assert sum(map(len, golden["cases"].values())) == 2500
    wrong = [
        (kind, text, parse_special)
        for kind, items in golden["cases"].items()
        for text, parse_special, ids in items
        if tokenizer.encode(text, add_bos=False, parse_special=parse_special).tolist() != ids
    ]
    assert not wrong


def test_special_pieces(golden: dict[str, Any], folder: str) -> None:
    tokenizer = Tokenizer(folder)
    names = [piece for piece, _ in golden["tokens"]]
    assert tokenizer.vocab_size == len(names)
    assert (tokenizer.bos, tokenizer.eos) == (names.index("<bos>"), names.index("<eos>"))
    assert tokenizer.encode("a").tolist()[0] == tokenizer.bos
    assert tokenizer.piece(tokenizer.bos) == b""
    assert tokenizer.piece(tokenizer.bos, special=True) == b"<bos>"
    assert tokenizer.piece(names.index("<|channel>")) == b"<|channel>"
    assert tokenizer.piece(names.index("<0x41>")) == b"A"


@pytest.mark.parametrize(
    "options", [{"indent": 2}, {"ensure_ascii": True}, {"separators": (",", ":")}, {"pairs": False}], ids=str
)
def test_however_it_is_written(golden: dict[str, Any], tmp_path: Path, options: dict[str, Any]) -> None:
    tokens = golden["tokens"]
    pairs = options.pop("pairs", True)
    made = document(tokens, golden["merges"], added=newline_ids(tokens), pairs=pairs)
    made = dict(reversed(made.items()))  # the order of members says nothing
    tokenizer = Tokenizer(write(tmp_path, made, **options))
    for items in golden["cases"].values():
        for text, parse_special, ids in items[::5]:
            assert tokenizer.encode(text, False, parse_special).tolist() == ids, text


def test_the_file_itself_will_do(folder: str) -> None:
    by_file = Tokenizer(str(Path(folder) / "tokenizer.json"))
    assert by_file.encode("the sea").tolist() == Tokenizer(folder).encode("the sea").tolist()


def test_runs_that_are_added_tokens_are_written_with_marks(tmp_path: Path) -> None:
    """As in Gemma 3's file: two spaces merge into the piece, two marks are it, and it is two spaces again."""
    tokens, merges = tiny(MARK * 2, "an")
    run = [piece for piece, _ in tokens].index(MARK * 2)
    made = document(tokens, merges, added=[run])
    tokenizer = Tokenizer(write(tmp_path, made))
    assert tokenizer.encode("  ", False).tolist() == [run] == tokenizer.encode(MARK * 2, False).tolist()
    assert tokenizer.decode([run]) == "  "


def test_newlines_merge_like_any_text_unless_added(tmp_path: Path) -> None:
    tokens, merges = tiny("\n\n", "a\n")
    names = [piece for piece, _ in tokens]
    double, after, letter, one = (names.index(p) for p in ("\n\n", "a\n", "a", "\n"))
    merged = Tokenizer(write(tmp_path / "merged", document(tokens, merges)))
    assert merged.encode("a\n\n", False).tolist() == [letter, double]  # the first merge is the one of two newlines
    assert merged.encode("a\n", False).tolist() == [after]
    added = Tokenizer(write(tmp_path / "added", document(tokens, merges, added=newline_ids(tokens))))
    assert added.encode("a\n", False).tolist() == [letter, one]


def test_added_tokens_that_take_white_space_along(tmp_path: Path) -> None:
    tokens, merges = tiny("ab")
    tokens = [*tokens, ("<l>", USER_DEFINED), ("<r>", USER_DEFINED), ("<s>", CONTROL)]
    made = document(tokens, merges)
    left, right, both = made["added_tokens"][-3:]
    left["lstrip"], right["rstrip"] = True, True
    both["lstrip"] = both["rstrip"] = True
    tokenizer = Tokenizer(write(tmp_path, made))
    names = [piece for piece, _ in tokens]
    ab, space, left_id, right_id, both_id = (names.index(piece) for piece in ("ab", MARK, "<l>", "<r>", "<s>"))
    assert tokenizer.encode("ab \u2003\n<l> ab", False).tolist() == [ab, left_id, space, ab]
    assert tokenizer.encode("ab <r>\u00a0\u3000 ab", False).tolist() == [ab, space, right_id, ab]
    assert tokenizer.encode("ab <s> ab", False, True).tolist() == [ab, both_id, ab]
    assert tokenizer.encode("<r> <l>", False).tolist() == [right_id, left_id]
    assert tokenizer.encode("<l>  <l>", False).tolist() == [left_id, left_id]
    assert both_id not in tokenizer.encode("ab <s> ab", False).tolist()


def test_normalised_added_tokens_come_second(tmp_path: Path) -> None:
    """`ab` is looked for only in what the others, here `bc`, leave."""
    tokens, merges = tiny("abcd")
    names = [piece for piece, _ in tokens]
    made = document(tokens, merges)
    made["model"]["vocab"] |= {"bc": len(names)}
    made["added_tokens"] += [added_token(len(names), "bc"), added_token(names.index("ab"), "ab", normalized=True)]
    tokenizer = Tokenizer(write(tmp_path, made))
    a, ab, c, d, bc = names.index("a"), names.index("ab"), names.index("c"), names.index("d"), len(names)
    assert tokenizer.encode("abcd", False).tolist() == [a, bc, d]
    assert tokenizer.encode("ab cabd", False).tolist() == [ab, names.index(MARK), c, ab, d]


def test_ids_may_have_gaps(tmp_path: Path) -> None:
    tokens, merges = tiny("ab")
    made = document(tokens, merges)
    made["added_tokens"].append(added_token(len(tokens) + 5, "<late>", special=True))
    tokenizer = Tokenizer(write(tmp_path, made))
    assert tokenizer.vocab_size == len(tokens) + 6
    assert tokenizer.piece(len(tokens) + 2, special=True) == b""
    assert tokenizer.encode("ab<late>", False, True).tolist()[-1] == len(tokens) + 5


def test_settings_name_the_special_pieces(tmp_path: Path) -> None:
    tokens, merges = tiny("ab")
    names = [piece for piece, _ in tokens]
    settings = {"bos_token": {"content": "ab", "lstrip": False}, "eos_token": "<pad>", "pad_token": None}
    tokenizer = Tokenizer(write(tmp_path, document(tokens, merges), settings))
    assert (tokenizer.bos, tokenizer.eos) == (names.index("ab"), names.index("<pad>"))


# Refusals: what is changed, the error, and what its message says.


def part(name: str, value: Any) -> Change:
    return lambda made: made.update({name: value})


def model(**values: Any) -> Change:
    return lambda made: made["model"].update(values)


def without(key: str) -> Change:
    return lambda made: made["model"].pop(key)


def add(*args: Any, **flags: bool) -> Change:
    return lambda made: made["added_tokens"].append(added_token(*args, **flags))


REFUSED: dict[str, tuple[Change, type[Exception], str]] = {
    "no normaliser": (part("normalizer", None), UnsupportedModel, "normalizer: expected Replace"),
    "another": (part("normalizer", {"type": "NFC"}), UnsupportedModel, r"normalizer.*got \{\"type\": \"NFC\"\}"),
    "two": (
        part("normalizer", {"type": "Sequence", "normalizers": [REPLACE, {"type": "NFC"}]}),
        UnsupportedModel,
        "normalizer",
    ),
    "by pattern": (
        part("normalizer", {**REPLACE, "pattern": {"Regex": " +"}}),
        UnsupportedModel,
        "normalizer: expected Replace",
    ),
    "byte level": (part("pre_tokenizer", {"type": "ByteLevel"}), UnsupportedModel, "pre_tokenizer: expected none"),
    "inverted": (part("pre_tokenizer", {**SPLIT, "invert": True}), UnsupportedModel, "pre_tokenizer"),
    "unigram": (model(type="Unigram"), UnsupportedModel, "model.type: expected 'BPE'.*Unigram"),
    "no model": (lambda made: made.pop("model"), BadFile, "expected a tokenizer with a 'model'"),
    "no bytes": (model(byte_fallback=False), UnsupportedModel, "model.byte_fallback"),
    "dropout": (model(dropout=0.1), UnsupportedModel, "model.dropout: expected none.*0.1"),
    "whole words": (model(ignore_merges=True), UnsupportedModel, "model.ignore_merges"),
    "prefix": (model(continuing_subword_prefix="##"), UnsupportedModel, "model.continuing_subword_prefix"),
    "no merges": (model(merges=[]), BadFile, "at least one merge"),
    "no merges at all": (without("merges"), BadFile, "'vocab' of pieces and ids and a list of 'merges'"),
    "no vocab": (without("vocab"), BadFile, "'vocab' of pieces"),
    "merge of three": (model(merges=[["a", "b", "a"]]), BadFile, "merge 0: expected two pieces, got 3"),
    "merge of one": (model(merges=["ab"]), BadFile, "merge 0, 'ab': expected two pieces"),
    "merge of what is no piece": (model(merges=[["a", "z"]]), BadFile, "merge 0, 'a z'.*'z' among the pieces"),
    "an id twice": (lambda made: made["model"]["vocab"].update(x=7), BadFile, "both have the id 7"),
    "an id too large": (lambda made: made["model"]["vocab"].update(x=2**40), BadFile, "expected an id below"),
    "a great gap": (lambda made: made["model"]["vocab"].update(x=100_000), BadFile, "without great gaps"),
    "a negative id": (lambda made: made["model"]["vocab"].update(x=-1), BadFile, "integer of 0 or more"),
    "a byte missing": (lambda made: made["model"]["vocab"].pop("<0x41>"), BadFile, "<0x41>"),
    "single word": (add(7, "<0x03>", single_word=True), UnsupportedModel, "'single_word' is not something"),
    "normalised space": (add(900, "a b", normalized=True), UnsupportedModel, "'normalized' together with a space"),
    "added over another": (add(7, "x"), BadFile, "added token 'x'.*got 7, the id of '<0x03>'"),
    "added empty": (add(300, ""), BadFile, "an id and a content"),
    "added twice": (add(300, "ab"), BadFile, "are both 'ab'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(tmp_path: Path, name: str) -> None:
    change, error, message = REFUSED[name]
    made = document(*tiny("ab"))
    change(made)
    with pytest.raises(error, match=message):
        Tokenizer(write(tmp_path, made))


def test_wrapped_parts_and_old_files(tmp_path: Path) -> None:
    """A sequence of one is that one; old files have no type of model."""
    made = document(*tiny("ab"), pairs=False)
    made["normalizer"] = {"type": "Sequence", "normalizers": [REPLACE]}
    made["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [SPLIT]}
    del made["model"]["type"], made["model"]["ignore_merges"]
    assert Tokenizer(write(tmp_path, made)).encode("ab ab", False).tolist() != []


def test_special_pieces_that_are_needed(tmp_path: Path) -> None:
    tokens, merges = tiny("ab")
    for piece, what in (("<bos>", "begins a text"), ("<eos>", "ends one")):
        renamed = [("<x>", kind) if p == piece else (p, kind) for p, kind in tokens]
        with pytest.raises(BadFile, match=f"'{piece}', which {what}, and it is missing"):
            Tokenizer(write(tmp_path / piece, document(renamed, merges)))
    with pytest.raises(BadFile, match="expected the piece '<s>'"):
        Tokenizer(write(tmp_path / "named", document(tokens, merges), {"bos_token": "<s>"}))
    with pytest.raises(BadFile, match="bos_token: expected a string, got 7"):
        Tokenizer(write(tmp_path / "number", document(tokens, merges), {"bos_token": 7}))


def test_a_folder_without_it(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match="download the whole folder"):
        Tokenizer(str(tmp_path))
    (tmp_path / "tokenizer.model").touch()
    with pytest.raises(ModelNotFound, match=r"tokenizer.model is not read; save the tokenizer with transformers"):
        Tokenizer(str(tmp_path))


def test_cut_and_spoilt_files(tmp_path: Path) -> None:
    """Every cut is refused, and no changed byte does anything but that or a valid tokenizer."""
    tokens, merges = tiny("ab")
    folder = write(tmp_path, document([t for t in tokens if t[1] != NORMAL or len(t[0]) < 3], merges))
    path = Path(folder) / "tokenizer.json"
    raw = path.read_bytes()
    for cut in range(0, len(raw), 97):
        path.write_bytes(raw[:cut])
        with pytest.raises(BadFile, match="tokenizer"):
            Tokenizer(folder)
    for at in range(0, len(raw), 61):
        path.write_bytes(raw[:at] + bytes([raw[at] ^ 0x15]) + raw[at + 1 :])
        try:
            Tokenizer(folder)
        except (BadFile, UnsupportedModel) as error:
            assert "tokenizer" in str(error) or "vocabulary" in str(error)  # noqa: PT017
    path.write_bytes(json.dumps([]).encode())
    with pytest.raises(BadFile, match="expected an object"):
        Tokenizer(folder)
