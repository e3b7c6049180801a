"""gemlet: Gemma on your own machine.

Local files in, text and numpy arrays out, on the CPU; nothing connects but the command `gemlet pull`.

>>> import gemlet
>>> model = gemlet.load("demo")
>>> model.generate("Paris is the capital of", max_tokens=1, temperature=0).text
' France'
"""

from __future__ import annotations

TYPE_CHECKING = False  # type checkers read this name as true; importing `typing` for it would cost more than this file
if TYPE_CHECKING:
    from ._core import __version__, isa, isas
    from .chat.awaiting import AsyncChatStream
    from .chat.result import ChatResult
    from .chat.stream import ChatStream
    from .errors import (
        BadFile,
        Cancelled,
        ContextOverflow,
        GemletError,
        MediaError,
        MissingExtra,
        ModelNotFound,
        OutOfMemory,
        SchemaError,
        TemplateError,
        ToolCallError,
        UnsupportedModel,
    )
    from .generation.stream import GenerationStream
    from .model.explaining import ImageExplanation
    from .model.model import Model, load
    from .planning.plan import plan
    from .prompt import Audio, Image, Prompt, Video
    from .quantization import quantize
    from .results import (
        Chunk,
        Decision,
        Draft,
        Generation,
        Perplexity,
        Plan,
        Timings,
        TokenLogprob,
        ToolCall,
        TopToken,
        Usage,
    )
    from .soft import SoftTokens
    from .transcription import Segment, Transcript, TranscriptStream, load_whisper, transcribe
    from .types import GenerateOptions

# Where each public name lives. Modules are imported when a name is first used, so that `import gemlet` stays cheap.
_HOME = {
    **dict.fromkeys(("__version__", "isa", "isas"), "_core"),
    **dict.fromkeys(
        (
            "BadFile",
            "Cancelled",
            "ContextOverflow",
            "GemletError",
            "MediaError",
            "MissingExtra",
            "ModelNotFound",
            "OutOfMemory",
            "SchemaError",
            "TemplateError",
            "ToolCallError",
            "UnsupportedModel",
        ),
        "errors",
    ),
    "ImageExplanation": "model.explaining",
    "GenerationStream": "generation.stream",
    **dict.fromkeys(("Model", "load"), "model.model"),
    "AsyncChatStream": "chat.awaiting",
    "ChatResult": "chat.result",
    "ChatStream": "chat.stream",
    **dict.fromkeys(
        (
            "Chunk",
            "Decision",
            "Draft",
            "Generation",
            "Perplexity",
            "Plan",
            "Timings",
            "TokenLogprob",
            "ToolCall",
            "TopToken",
            "Usage",
        ),
        "results",
    ),
    **dict.fromkeys(("Audio", "Image", "Prompt", "Video"), "prompt"),
    "SoftTokens": "soft",
    **dict.fromkeys(("Segment", "Transcript", "TranscriptStream", "load_whisper", "transcribe"), "transcription"),
    "GenerateOptions": "types",
    "plan": "planning.plan",
    "quantize": "quantization",
}

__all__ = [
    "AsyncChatStream",
    "Audio",
    "BadFile",
    "Cancelled",
    "ChatResult",
    "ChatStream",
    "Chunk",
    "ContextOverflow",
    "Decision",
    "Draft",
    "GemletError",
    "GenerateOptions",
    "Generation",
    "GenerationStream",
    "Image",
    "ImageExplanation",
    "MediaError",
    "MissingExtra",
    "Model",
    "ModelNotFound",
    "OutOfMemory",
    "Perplexity",
    "Plan",
    "Prompt",
    "SchemaError",
    "Segment",
    "SoftTokens",
    "TemplateError",
    "Timings",
    "TokenLogprob",
    "ToolCall",
    "ToolCallError",
    "TopToken",
    "Transcript",
    "TranscriptStream",
    "UnsupportedModel",
    "Usage",
    "Video",
    "__version__",
    "isa",
    "isas",
    "load",
    "load_whisper",
    "plan",
    "quantize",
    "transcribe",
]


def __getattr__(name: str) -> object:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'gemlet' has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(f".{home}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
