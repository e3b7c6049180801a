"""Loads scripts, which belong to no package, for tests: of tools, of benchmarks, and the makers of golden files."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

TOOLS = Path(__file__).resolve().parents[1] / "tools"
GOLDEN = Path(__file__).resolve().parent / "golden"


def write(root: Path, name: str, text: str) -> None:
    """Writes `text` to a file below `root`, with its folders."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def tool(name: str) -> ModuleType:
    """The module of tools/`name`.py."""
    return script(TOOLS / f"{name}.py")


def maker(name: str) -> ModuleType:
    """The module of tests/golden/`name`.py, loaded anew."""
    return script(GOLDEN / f"{name}.py")


def script(path: Path) -> ModuleType:
    """The module of one file, under its stem."""
    name = path.stem
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    sys.path.insert(0, str(path.parent))  # as for a script that is run: it may import its neighbours
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(path.parent))
    return module
