"""What a transcription gives back: segments with times, and the whole of them as text, subtitles and JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

_WIDTH = 42  # characters a line of subtitles has by custom


class Segment(NamedTuple):
    """Something that was said: `start` and `end` in seconds, and `text`, with the space that words begin with.

    The other figures are Whisper's: `tokens` (with times), how likely they were, how well the text compresses (above
    2.4 it goes in circles), and how likely there was no speech; None where the model tells nothing of the kind.
    Of a live source, `final` is False for what may still change; two readings in a row began with `agreed`.
    """

    id: int
    start: float
    end: float
    text: str
    tokens: tuple[int, ...] = ()
    temperature: float = 0.0
    avg_logprob: float | None = None
    compression_ratio: float | None = None
    no_speech_prob: float | None = None
    seek: int = 0
    final: bool = True
    agreed: str = ""

    def __str__(self) -> str:
        return f"[{clock(self.start)} - {clock(self.end)}]{'' if self.final else ' ...'} {self.text.strip()}"

    def as_dict(self) -> dict[str, Any]:
        """As OpenAI's `verbose_json` has a segment."""
        fields = self._asdict()
        del fields["final"], fields["agreed"]
        return {**fields, "tokens": list(self.tokens)}


def clock(seconds: float) -> str:
    """Minutes and seconds, with hours where there are any.

    >>> clock(61.26), clock(3600)
    ('01:01.26', '1:00:00.00')
    """
    hundredths = round(max(0.0, seconds) * 100)
    minutes, hundredths = divmod(hundredths, 6000)
    hours, minutes = divmod(minutes, 60)
    return f"{f'{hours}:' if hours else ''}{minutes:02d}:{hundredths // 100:02d}.{hundredths % 100:02d}"


def _stamp(seconds: float, point: str) -> str:
    thousandths = round(max(0.0, seconds) * 1000)
    minutes, thousandths = divmod(thousandths, 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{thousandths // 1000:02d}{point}{thousandths % 1000:03d}"


def _lines(text: str, width: int) -> str:
    import textwrap

    text = " ".join(text.split())
    if not width:
        return text
    return "\n".join(textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False))


def srt_cue(number: int, segment: Segment, width: int = _WIDTH) -> str:
    """One subtitle, with the empty line behind it."""
    times = f"{_stamp(segment.start, ',')} --> {_stamp(segment.end, ',')}"
    return f"{number}\n{times}\n{_lines(segment.text, width)}\n\n"


VTT_HEAD = "WEBVTT\n\n"


def vtt_cue(segment: Segment, width: int = _WIDTH) -> str:
    """One WebVTT cue, with the empty line behind it."""
    times = f"{_stamp(segment.start, '.')} --> {_stamp(segment.end, '.')}"
    text = segment.text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return f"{times}\n{_lines(text, width)}\n\n"


@dataclass(frozen=True)
class Transcript:
    """All that was said. `str()` is the text; iterating gives the segments; notebooks show a table.

    `duration` is the seconds of the sound, `speech` those that the model was given. `words` is None: the times of
    words are not known. `warnings`: what was done that was not asked for, and what could not be.

    >>> said = Transcript((Segment(0, 0.5, 2.0, " Hello"), Segment(1, 2.5, 3.0, " there.")), "en", 3.2)
    >>> said.text
    'Hello there.'
    >>> print(said.to_srt(), end="")
    1
    00:00:00,500 --> 00:00:02,000
    Hello
    <BLANKLINE>
    2
    00:00:02,500 --> 00:00:03,000
    there.
    <BLANKLINE>
    """

    segments: tuple[Segment, ...]
    language: str | None
    duration: float
    speech: float = 0.0
    language_probability: float | None = None
    task: str = "transcribe"
    model: str = ""
    warnings: list[str] = field(default_factory=list)
    words: None = None

    @property
    def text(self) -> str:
        """Everything that was said, in one string."""
        return "".join(segment.text for segment in self.segments).strip()

    def to_srt(self, *, width: int = _WIDTH) -> str:
        """SubRip subtitles, in lines of at most `width` characters; 0 breaks no lines."""
        said = [segment for segment in self.segments if segment.text.strip()]
        return "".join(srt_cue(i, segment, width) for i, segment in enumerate(said, 1))

    def to_vtt(self, *, width: int = _WIDTH) -> str:
        """WebVTT subtitles, in lines of at most `width` characters; 0 breaks no lines."""
        return VTT_HEAD + "".join(vtt_cue(segment, width) for segment in self.segments if segment.text.strip())

    def to_dict(self) -> dict[str, Any]:
        """As OpenAI's `verbose_json`, with the warnings.

        >>> sorted(Transcript((), "en", 1.0).to_dict())
        ['duration', 'language', 'segments', 'task', 'text', 'warnings']
        """
        return {
            "task": self.task,
            "language": self.language,
            "duration": self.duration,
            "text": self.text,
            "segments": [segment.as_dict() for segment in self.segments],
            "warnings": list(self.warnings),
        }

    def to_json(self) -> str:
        """`to_dict` as text."""
        import json

        return json.dumps(self.to_dict(), ensure_ascii=False)

    def __iter__(self) -> Iterator[Segment]:
        return iter(self.segments)

    def __len__(self) -> int:
        return len(self.segments)

    def __bool__(self) -> bool:
        return True

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        shown = [str(segment) for segment in self.segments[:8]]
        if len(self.segments) > 8:
            shown.append(f"... {len(self.segments) - 8} more")
        head = f"<gemlet.Transcript, {self.language or 'language unknown'}, {self.duration:.1f} s"
        count = f"{len(self.segments)} segment{'' if len(self.segments) == 1 else 's'}>"
        return "\n".join([f"{head}, {count}", *shown])

    def _repr_html_(self) -> str:
        from html import escape

        def left(tag: str, content: str) -> str:
            return f'<{tag} style="text-align:left">{content}</{tag}>'

        rows = "".join(
            f"<tr><td>{clock(s.start)}</td><td>{clock(s.end)}</td>{left('td', escape(s.text))}</tr>"
            for s in self.segments
        )
        told = "".join(f"<div><small>{escape(text)}</small></div>" for text in self.warnings)
        head = f"<tr><th>from</th><th>to</th>{left('th', 'said')}</tr>"
        return f"<table>{head}{rows}</table>{told}"
