"""Foreign values as plain JSON: dict, list, str, int, float, bool, None. What templates and renderers see is made here.

Plain on purpose: an object with methods could be called from a template, and a lone surrogate has no tokens.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ..types import check_text

DEEPEST = 64  # levels of nesting; beyond it a value is a mistake, and recursion would not end well


def plain(value: Any, where: str, depth: int = 0) -> Any:
    """`value` rebuilt from plain types, or an error that says where it is not JSON.

    >>> plain({"days": (1, 2)}, "arguments")
    {'days': [1, 2]}
    """
    if depth > DEEPEST:
        raise ValueError(f"{where} is nested more than {DEEPEST} levels deep")
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str(check_plain_text(value, where))
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{where} is {value!r}, a number that JSON does not have")
        return float(value)
    if isinstance(value, Mapping):
        made = {}
        for key, item in value.items():
            if not isinstance(key, str):
                raise TypeError(f"{where}: keys must be strings, not {key!r}")
            made[check_plain_text(key, f"a key of {where}")] = plain(item, f"{where}[{key!r}]", depth + 1)
        return made
    if isinstance(value, (list, tuple)):
        return [plain(item, f"{where}[{i}]", depth + 1) for i, item in enumerate(value)]
    if hasattr(value, "model_dump"):  # pydantic
        return plain(value.model_dump(mode="json"), where, depth + 1)
    if hasattr(value, "tolist"):  # numpy
        return plain(value.tolist(), where, depth + 1)
    raise TypeError(f"{where} must be made of JSON's types, not {type(value).__name__}")


def check_plain_text(value: str, where: str) -> str:
    """`value` if UTF-8 can hold it; the error names `where`."""
    try:
        return check_text("", where, value)
    except ValueError as error:
        raise ValueError(str(error).removeprefix(": ")) from None
