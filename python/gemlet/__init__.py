"""gemlet: Gemma on your own machine."""

from ._core import __version__

__all__ = ["__version__"]
