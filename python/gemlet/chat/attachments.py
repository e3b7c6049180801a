"""Images, sound and video of a conversation: the parts that messages have, and what is passed beside them.

Sources are checked here and encoded by `soft.Senses`; templates see only where each part stands.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import MediaError, TemplateError
from ..prompt import PARTS, Audio, Image, Video, local, mark_id
from ..soft import MARKS, SoftTokens
from .pieces import Marker, SoftPiece

if TYPE_CHECKING:
    from .. import _core
    from ..soft import Senses, Sized

KINDS = {
    **dict.fromkeys(("image", "image_url", "input_image"), "image"),
    **dict.fromkeys(("audio", "audio_url", "input_audio"), "audio"),
    **dict.fromkeys(("video", "video_url", "input_video"), "video"),
}
DETAIL = {"low": 70, "high": 1120}  # OpenAI's word for how closely to look
_PART_TYPES = (Image, Video, Audio)
_WHOLE = (str, bytes, os.PathLike, SoftTokens, Video)  # one video each, in a list of them


class Given(NamedTuple):
    """What a call has beside its messages."""

    images: Any = ()
    audio: Any = None
    video: Any = None
    image_tokens: int | str | None = None
    fps: float | None = None

    def parts(self) -> list[tuple[str, Image | Audio | Video]]:
        """Each with the name that errors call it by: images, then video, then audio."""
        found: list[tuple[str, Image | Audio | Video]] = []
        for kind, name, given in (("image", "images", self.images), ("video", "video", self.video),
                                  ("audio", "audio", self.audio)):  # fmt: skip
            several = isinstance(given, list) or (kind == "image" and isinstance(given, tuple))
            if kind == "video" and several and not all(isinstance(item, _WHOLE) for item in given):
                several = False  # its frames
            sources = list(given) if several else [] if given is None else [given]
            if kind == "image" and not several and sources:
                raise TypeError(f"images must be a list of images, not {type(given).__name__}; pass [image]")
            names = [f"{name}[{i}]" if several else name for i in range(len(sources))]
            found += [(where, self._part(kind, source, where)) for where, source in zip(names, sources, strict=True)]
        return found

    def _part(self, kind: str, source: Any, where: str) -> Image | Audio | Video:
        if isinstance(source, SoftTokens):
            return PARTS[kind](source)
        if isinstance(source, _PART_TYPES):
            if source.kind != kind:
                raise TypeError(f"{where}: a part of kind {source.kind!r}, not {kind!r}")
            return source
        source = local(source, where)
        if kind == "image":
            return Image(source) if self.image_tokens is None else Image(source, image_tokens=self.image_tokens)
        if kind == "video":
            return Video(source) if self.fps is None else Video(source, fps=self.fps)
        if isinstance(source, tuple) and len(source) == 3:
            return Audio(source[0], start=source[1], end=source[2])
        return Audio(source)


NOTHING = Given()


def part_of(part: Mapping[str, Any], where: str) -> Image | Audio | Video | None:
    """The source of a content part as OpenAI or Hugging Face write it; None: the part has none, it stands for one."""
    kind = KINDS[part["type"]]
    source = part.get(part["type"], part.get(kind, part.get("url", part.get("path"))))
    if source is None and kind == "image":
        source = part.get("image_url")
    if source is None:
        return None
    if isinstance(source, _PART_TYPES):
        return source
    options: dict[str, Any] = {}
    if part["type"] == "input_audio" and isinstance(source, Mapping):
        return Audio(_inline(source.get("data"), where, "data"))
    if isinstance(source, Mapping):  # {"url": ..., "detail": ...}
        part, source = {**part, **source}, source.get("url")
    if part["type"] != kind and not isinstance(source, SoftTokens):  # what a server is sent is no path of its own
        source = _inline(source, where, f"{part['type']}.url", kind)
    if kind == "image" and part.get("detail") in DETAIL:
        options["image_tokens"] = DETAIL[part["detail"]]
    if kind != "audio" and part.get("image_tokens") is not None:
        options["image_tokens"] = part["image_tokens"]
    return PARTS[kind](local(source, where), **options)


def _inline(data: Any, where: str, name: str, kind: str = "audio") -> Any:
    if isinstance(data, (bytes, bytearray)):
        return bytes(data)
    if not isinstance(data, str) or not data:
        raise MediaError(f"{where}.{name} must be a string, not {type(data).__name__}")
    if data[:5].lower() == "data:":
        return data
    if name == "data" and "://" not in data:
        return f"data:;base64,{data}"
    raise MediaError(
        f"{where}.{name} must be a data: URL, for nothing is fetched; a local file is a part like "
        f"{{'type': '{kind}', '{kind}': path}}"
    )


class Slot(NamedTuple):
    """Where a part stands, and what it is."""

    where: str
    part: Image | Audio | Video


def placed(messages: list[dict[str, Any]], given: Given) -> list[dict[str, Any]]:
    """The messages with `given` in them: in parts that name no source, in order, or before the last user's text."""
    left = given.parts()
    if not left:
        return messages
    made = []
    for message in messages:
        content = message["content"]
        if not _is_parts(content):
            made.append(message)
            continue
        filled = []
        for part in content:
            at = next((i for i, (_, g) in enumerate(left) if g.kind == part["type"]), None)
            if part["type"] in MARKS and part.get("source") is None and at is not None:
                where, source = left.pop(at)
                part = {"type": part["type"], "source": Slot(where, source)}
            filled.append(part)
        made.append({**message, "content": filled})
    if not left:
        return made
    last = max((i for i, message in enumerate(made) if message["role"] == "user"), default=-1)
    if last < 0:
        raise ValueError(f"chat: {left[0][0]}: there is no user message that it could be part of")
    content = made[last]["content"]
    texts = [{"type": "text", "text": content}] if isinstance(content, str) else content
    before = [{"type": part.kind, "source": Slot(where, part)} for where, part in left]
    made[last] = {**made[last], "content": [*before, *texts]}
    return made


def _is_parts(content: Any) -> bool:
    return isinstance(content, list) and all(isinstance(part, dict) and "type" in part for part in content)


def slots(messages: Iterable[dict[str, Any]]) -> Iterator[tuple[str, Slot]]:
    """Every media part, in order, with its kind."""
    for i, message in enumerate(messages):
        if not _is_parts(message["content"]):
            continue
        for j, part in enumerate(message["content"]):
            if part["type"] not in MARKS:
                continue
            if part.get("source") is None:
                raise MediaError(
                    f"messages[{i}].content[{j}] is a part of kind {part['type']!r} without a source; give it one, as "
                    f"{{'type': '{part['type']}', '{part['type']}': path}}, or pass it beside the messages"
                )
            yield part["type"], part["source"]


def bare(message: dict[str, Any]) -> dict[str, Any]:
    """A message as templates may see it: without the sources."""
    if not _is_parts(message["content"]):
        return message
    content = [{"type": part["type"]} if part["type"] in MARKS else part for part in message["content"]]
    return {**message, "content": content}


def expanded(
    pieces: list[str],
    messages: list[dict[str, Any]],
    look: Callable[[Any, str], SoftTokens | Sized],
    tokenizer: _core.Tokenizer,
    warnings: list[str],
) -> list[str]:
    """The pieces with each placeholder as what it stands for. What the towers say about it goes to the warnings.

    look: gives the soft tokens of a part, or their sizes.
    """
    waiting = [(kind, slot, look(slot.part, slot.where)) for kind, slot in slots(messages)]
    if not waiting:
        return pieces
    for kind, slot, soft in waiting:
        warnings += [f"{slot.where}: {note}" for note in soft.notes]
        for mark in (MARKS[kind][0], MARKS[kind][2]):
            mark_id(tokenizer, mark, kind, slot.where)
    placeholders = {MARKS[kind][1]: kind for kind in MARKS}
    out: list[str] = []
    for piece in pieces:
        found = placeholders.get(piece) if isinstance(piece, Marker) else None
        at = next((i for i, (k, _, _) in enumerate(waiting) if k == found), None)
        if found is None or at is None:
            out.append(piece)
            continue
        kind = found
        for frame in waiting.pop(at)[2].frames:
            out += [frame.text, Marker(MARKS[kind][0]), SoftPiece.of(frame, kind), Marker(MARKS[kind][2])]
    if waiting:
        raise TemplateError(
            f"chat: the model's template has no place for {waiting[0][1].where} (of kind {waiting[0][0]!r}); "
            "the model was not made for it"
        )
    return out


def encoded(message: dict[str, Any], senses: Senses, quiet: bool = False) -> dict[str, Any]:
    """A checked message with soft tokens in place of its sources, so that it can be kept."""
    if not _is_parts(message["content"]):
        return message
    content = []
    for part in message["content"]:
        slot = part.get("source")
        if part["type"] in MARKS and slot is not None:
            soft = senses.tokens(slot.part, slot.where)
            part = {"type": part["type"], part["type"]: soft.quiet() if quiet else soft}
        content.append(part)
    return {**message, "content": content}
