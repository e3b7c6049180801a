"""Every error of the package, all under `GemletError`. Wrong arguments are `TypeError` and `ValueError`."""

from __future__ import annotations


class GemletError(Exception):
    """Anything that gemlet refuses or cannot do."""


class BadFile(GemletError):
    """A file is damaged, truncated, or not of the kind it was given as."""


class ModelNotFound(GemletError):
    """No file, folder or pulled model has this name."""


class UnsupportedModel(GemletError):
    """The file is sound, but its architecture or a tensor type is not one that gemlet runs."""


class ContextOverflow(GemletError):
    """The prompt and the tokens asked for do not fit the context."""


class OutOfMemory(GemletError):
    """An allocation failed or would pass a limit."""


class SchemaError(GemletError):
    """A schema, grammar or choice list cannot be applied."""


class TemplateError(GemletError):
    """A chat template is missing, broken or refuses the messages."""


class ToolCallError(GemletError):
    """A tool call cannot be parsed or names an unknown tool."""


class MediaError(GemletError):
    """An image, sound or video cannot be read, or the model has no part for it."""


class Cancelled(GemletError):
    """The call was cancelled before it had a result."""


class MissingExtra(GemletError, ImportError):
    """An optional dependency is not installed; the message names the install line."""
