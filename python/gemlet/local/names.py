"""What names say: a hub repository with its revision and quant, and a GGUF file's own name with quant and parts.

Text only: opens nothing and knows no folder. Which files are there is told by the caches or by the hub.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import ModelNotFound

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_HOSTS = re.compile(r"^(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co)/", re.IGNORECASE)
_WORD = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?")
_NAME = re.compile(r"(?P<repo>[^@:]+)(?:@(?P<revision>[^@:]+))?(?::(?P<quant>[^@:]+))?")
_PART = re.compile(r"^(?P<stem>.*)-(?P<part>\d{5})-of-(?P<parts>\d{5})$")
# A quant is the last piece of a file's name that looks like one: "gemma-4-E2B-it-UD-Q4_K_XL", "gemma-3-270m-q4_k_m".
_QUANT = re.compile(
    r"(?:^|[-._])((?:UD-)?(?:I?Q\d(?:_[0-9A-Z]+)*|TQ\d_\d|MXFP4(?:_MOE)?|NVFP4|BF16|FP?16|FP?32))(?=$|[-.])", re.I
)
_MOST_PARTS = 1000
DEFAULT_QUANT = "Q4_K_M"
DEFAULT_REVISION = "main"


@dataclass(frozen=True)
class Name:
    """A repository of the hub, with what of it is meant; None is the default."""

    repo: str
    revision: str | None = None
    quant: str | None = None

    def __str__(self) -> str:
        revision = f"@{self.revision}" if self.revision else ""
        return f"{self.repo}{revision}" + (f":{self.quant}" if self.quant else "")


def parse(text: str) -> Name | None:
    """The parts of "org/name", "org/name:quant", "org/name@revision:quant"; None if the text is no such name.

    >>> parse("https://huggingface.co/google/gemma-4-E2B-it")
    Name(repo='google/gemma-4-E2B-it', revision=None, quant=None)
    >>> str(parse("hf.co/org/name@v1:q8_0"))
    'org/name@v1:q8_0'
    """
    rest = text.strip()
    link = _HOSTS.match(rest)
    if link:
        rest = rest[link.end() :].rstrip("/").replace("/tree/", "@", 1)
    found = _NAME.fullmatch(rest)
    if found is None or not is_repo(found["repo"]):
        return None
    if found["revision"] and not is_revision(found["revision"]):
        return None
    return Name(found["repo"], found["revision"], found["quant"])


def is_repo(text: str) -> bool:
    """Whether the text can be a repository: "org/name", of characters that cannot leave a folder."""
    words = text.split("/")
    return (
        len(words) == 2
        and len(text) <= 200
        and all(_WORD.fullmatch(word) and "--" not in word and ".." not in word for word in words)
    )


def is_revision(text: str) -> bool:
    """Whether the text can be a branch, tag or commit, and as a path stays where it is put.

    >>> is_revision("refs/pr/1"), is_revision("../main")
    (True, False)
    """
    return is_inside(text) and not text.endswith(".lock") and re.fullmatch(r"[\w./+-]+", text) is not None


def is_inside(text: str) -> bool:
    """Whether a relative path with "/" names something inside the folder it is put in, however it is written.

    >>> is_inside("BF16/model.gguf"), is_inside("a/../../b"), is_inside("/etc/passwd")
    (True, False, False)
    """
    if len(text) > 1024 or "\\" in text or any(ord(letter) < 32 or ord(letter) == 127 for letter in text):
        return False
    return all(part not in ("", ".", "..") and len(part.encode()) <= 255 for part in text.split("/"))


@dataclass(frozen=True)
class GgufGroup:
    """One model of a repository: a GGUF file, or all files that one was split into, in order."""

    label: str  # the quant in capitals, or the file's stem where the name tells none
    stem: str
    files: tuple[str, ...]
    missing: tuple[str, ...] = ()


def gguf_groups(files: Iterable[str]) -> list[GgufGroup]:
    """The models among file names; projectors (`mmproj`) and importance matrices are none.

    >>> [(g.label, len(g.files)) for g in gguf_groups(["a-Q8_0.gguf", "b-00002-of-00002.gguf"])]
    [('Q8_0', 1), ('b', 1)]
    """
    found: dict[tuple[str, int], dict[int, str]] = {}
    for file in files:
        if not file.lower().endswith(".gguf") or is_companion(file) or "imatrix" in _base(file):
            continue
        stem = file[: -len(".gguf")]
        split = _PART.match(stem)
        part, parts = (int(split["part"]), int(split["parts"])) if split else (0, 0)
        if split and 1 <= part <= parts <= _MOST_PARTS:
            found.setdefault((split["stem"], parts), {})[part] = file
        else:
            found.setdefault((stem, 0), {})[0] = file
    return [_group(stem, parts, found[stem, parts]) for stem, parts in sorted(found)]


def _group(stem: str, parts: int, files: dict[int, str]) -> GgufGroup:
    name = stem.rsplit("/", 1)[-1]
    labels = _QUANT.findall(name)
    absent = tuple(f"{stem}-{i:05d}-of-{parts:05d}.gguf" for i in range(1, parts + 1) if i not in files)
    return GgufGroup(labels[-1].upper() if labels else name, name, tuple(files[i] for i in sorted(files)), absent)


def _base(file: str) -> str:
    return file.rsplit("/", 1)[-1].lower()


def is_companion(file: str) -> bool:
    """Whether a GGUF file is a projector for images and sound, which goes beside a model."""
    return file.lower().endswith(".gguf") and "mmproj" in _base(file)


def pick(groups: Sequence[GgufGroup], quant: str | None, where: str) -> GgufGroup:
    """The group that a quant means: its label, the end of its label, or its file's name; or the default one.

    >>> pick(gguf_groups(["a-Q8_0.gguf", "a-UD-Q4_K_XL.gguf"]), "q4_k_xl", "org/name").files
    ('a-UD-Q4_K_XL.gguf',)
    """
    wanted = (quant or DEFAULT_QUANT).upper()
    matches = [group for group in groups if group.label.upper() == wanted]
    if not matches:
        matches = [group for group in groups if group.label.upper().endswith(f"-{wanted}")]
    if quant is not None and not matches:
        matches = [group for group in groups if wanted.removesuffix(".GGUF") in (group.stem.upper(), _whole(group))]
    if not matches and quant is None and len(groups) == 1:
        matches = list(groups)
    if len(matches) == 1:
        return matches[0]
    if matches:
        files = ", ".join(repr(group.stem) for group in matches)
        raise ModelNotFound(
            f"{where}: {len(matches)} models are {wanted}: {files}; give one of these names as the quant"
        )
    asked = f"no model is {quant!r}" if quant else f"there is no {DEFAULT_QUANT}, and more than one model"
    raise ModelNotFound(f"{where}: {asked}; there is: {listed(group.label for group in groups)}; choose with :QUANT")


def _whole(group: GgufGroup) -> str:
    return group.files[0].upper().removesuffix(".GGUF")


def listed(words: Iterable[str]) -> str:
    """Words for an error, each once, at most twenty of them.

    >>> listed(["Q8_0", "F16", "F16"])
    'F16, Q8_0'
    """
    unique = sorted(set(words))
    return ", ".join(unique[:20]) + (f" and {len(unique) - 20} more" if len(unique) > 20 else "") or "nothing"
