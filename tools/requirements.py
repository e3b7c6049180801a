"""Prints what the build and the named extras of pyproject.toml require, one a line, without the package itself.

For environments in which the checkout is worked on but not installed: `pip install -r <(tools/requirements.py dev)`.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def expand(project: dict[str, Any], extra: str) -> Iterator[str]:
    """The requirements of an extra; `gemlet[a,b]` in it stands for its own extras."""
    extras = project["optional-dependencies"]
    if extra not in extras:
        sys.exit(f"requirements: no extra '{extra}' in pyproject.toml; it has {', '.join(extras)}")
    for requirement in extras[extra]:
        if own := re.fullmatch(rf"{project['name']}\[([\w, -]+)\]", requirement):
            for name in own.group(1).split(","):
                yield from expand(project, name.strip())
        else:
            yield requirement


def requirements(text: str, extras: list[str]) -> list[str]:
    """For the text of a pyproject.toml: build, core and the extras' requirements, each once."""
    data = tomllib.loads(text)
    found = [*data["build-system"]["requires"], *data["project"]["dependencies"]]
    for extra in extras:
        found += expand(data["project"], extra)
    return list(dict.fromkeys(found))


if __name__ == "__main__":
    pyproject = Path(__file__).resolve().parents[1] / "pyproject.toml"
    print("\n".join(requirements(pyproject.read_text(encoding="utf-8"), sys.argv[1:])))
