"""The tools for built objects, stubs and requirements, on small inputs that show each of their verdicts."""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
from pathlib import Path

import pytest

pytest.importorskip("tomllib", reason="the tools need Python 3.11")

from load_tool import tool, write

needs_compiler = pytest.mark.skipif(
    not (shutil.which("g++") and shutil.which("objdump") and platform.machine() == "x86_64"),
    reason="needs g++ and binutils on x86-64",
)

WEAK = "template <class T> T twice(T x) { return x + x; }\ntemplate float twice<float>(float);\n"
SUM8 = "void f(float* x) { for (int i = 0; i < 64; ++i) x[i] += 1; }\n"
OBJECTS = {
    "weak in a kernel": (
        "kernels/dot/avx2.cpp",
        WEAK,
        "defines 'float twice<float>(float)' weakly, with the flags of avx2",
    ),
    "std in a kernel": (
        "kernels/dot/avx2.cpp",
        "#include <string>\nvoid f(std::string& s) { s.append(3, 'x'); }\n",
        "kernels use plain C and intrinsics only",
    ),
    "puts": ("ops/a.cpp", '#include <cstdio>\nvoid f() { std::puts("x"); }\n', "refers to 'puts', which prints"),
    "printf made puts": ("ops/a.cpp", '#include <cstdio>\nvoid f() { std::printf("x\\n"); }\n', "which prints"),
    "cerr": (
        "bind/a.cpp",
        "#include <iostream>\nvoid f() { std::cerr << 1; }\n",
        "refers to 'std::cerr', which prints",
    ),
    "abort": (
        "core/a.cpp",
        "#include <cstdlib>\nvoid f() { std::abort(); }\n",
        "refers to 'abort', which ends the process",
    ),
    "wide baseline": ("ops/a.cpp", SUM8, "baseline code has"),
    "wide scalar kernel": ("kernels/dot/scalar.cpp", SUM8, "baseline code has"),
}


def build_object(root: Path, name: str, text: str) -> Path:
    """A build folder that holds one object, compiled with the flags of AVX2 throughout."""
    source, output = root / "csrc" / name, root / "build" / "a.o"
    write(root, f"csrc/{name}", text)
    output.parent.mkdir(exist_ok=True)
    subprocess.run(["g++", "-std=c++20", "-O3", "-mavx2", "-c", str(source), "-o", str(output)], check=True)
    entry = {"directory": str(output.parent), "file": str(source), "output": output.name}
    write(root, "build/compile_commands.json", json.dumps([entry]))
    return output.parent


@needs_compiler
@pytest.mark.parametrize("case", OBJECTS)
def test_each_object_rule_names_its_breach(tmp_path, case):
    name, text, expected = OBJECTS[case]
    problems = tool("check_symbols").check(build_object(tmp_path, name, text))
    assert any(expected in problem for problem in problems), problems
    assert all(problem.startswith(f"csrc/{name}: ") for problem in problems)


@needs_compiler
def test_wide_code_is_what_a_kernel_is_for(tmp_path):
    assert tool("check_symbols").check(build_object(tmp_path, "kernels/dot/avx2.cpp", SUM8)) == []


@pytest.mark.parametrize(
    ("instruction", "later"),
    [
        ("sdot\tv1.4s, v2.16b, v3.4b[1]", True),
        ("smmla\tv0.4s, v1.16b, v2.16b", True),
        ("ldaddal\tw1, w0, [x2]", True),
        ("casp\tx0, x1, x2, x3, [x4]", True),
        ("fmla\tv0.8h, v1.8h, v2.8h", True),
        ("add\tz0.s, z1.s, z2.s", True),
        ("fmla\tv0.4s, v1.4s, v2.s[0]", False),
        ("smlal2\tv0.8h, v1.16b, v2.16b", False),
        ("fcvtn\tv0.4h, v1.4s", False),
        ("bfxil\tx0, x3, #0, #32", False),
        ("ldaxr\tw1, [x0]", False),
        ("b\tbf8 <f+0x10>", False),
    ],
)
def test_arm_instructions_beyond_the_baseline(instruction, later):
    line = f"     1c4:\t{instruction}"
    assert bool(tool("check_symbols").LATER_ARM.search(line)) == later


@needs_compiler
def test_the_standard_librarys_own_terminate_is_allowed(tmp_path):
    text = "#include <thread>\nvoid g();\nvoid f() { std::thread t(g); }\n"
    build = build_object(tmp_path, "core/a.cpp", text)
    assert "_ZSt9terminatev" in subprocess.run(["nm", build / "a.o"], capture_output=True, text=True, check=True).stdout
    problems = tool("check_symbols").check(build)
    assert [p for p in problems if "terminate" in p] == []


def test_a_missing_build_is_named(tmp_path):
    with pytest.raises(SystemExit, match=r"no .*compile_commands\.json; run \./dev build first"):
        tool("check_symbols").check(tmp_path)


STUB = """
\'\'\'Docs.\'\'\'
from __future__ import annotations
import numpy
import typing_extensions
from . import testing
__all__: list[str] = ['B', 'f', 'testing']
def g(x: typing_extensions.Buffer = b'') -> tuple:
    \'\'\'More.\'\'\'
def f() -> dict[str, list]:
    ...
class B:
    def z(self) -> numpy.ndarray:
        ...
    @property
    def a(self) -> int:
        ...
    @a.setter
    def a(self, arg0: int) -> None:
        ...
__version__: str = '0.1.0'
"""
STABLE = """import typing

import numpy
import numpy.typing
import typing_extensions

from . import testing

__all__: list[str] = ["B", "f", "testing"]
__version__: str

class B:
    @property
    def a(self) -> int: ...
    @a.setter
    def a(self, arg0: int) -> None: ...
    def z(self) -> numpy.typing.NDArray[typing.Any]: ...

def f() -> dict[str, list[typing.Any]]: ...
def g(x: bytes | bytearray | memoryview = b"") -> tuple[typing.Any, ...]: ...
"""


def test_stubs_lose_what_varies_and_are_stable():
    pytest.importorskip("ruff")
    stubs = tool("make_stubs")
    once = stubs.stabilize(STUB)
    assert once == stubs.HEADER + STABLE.replace("import typing_extensions\n", "")
    assert stubs.stabilize(once) == once


def test_stubs_are_written_and_compared(tmp_path):
    stubs = tool("make_stubs")
    target = tmp_path / "_core"
    write(tmp_path, "_core.pyi", "draft\n")
    write(tmp_path, "_core/gone.pyi", "x: int\n")
    built = {"__init__.pyi": "x: int\n", "testing.pyi": "y: int\n"}
    assert "-x: int" in stubs.difference(built, target)
    stubs.write(built, target)
    assert stubs.difference(built, target) == ""
    assert sorted(p.name for p in target.iterdir()) == ["__init__.pyi", "testing.pyi"]
    assert not (tmp_path / "_core.pyi").exists()
    found = stubs.difference({**built, "testing.pyi": "y: str\n"}, target)
    assert "-y: int" in found
    assert "+y: str" in found


def test_requirements_of_extras_are_flat_and_single():
    text = """
[build-system]
requires = ["make", "a"]
[project]
name = "gemlet"
dependencies = ["numpy>=1"]
[project.optional-dependencies]
x = ["a"]
y = ["gemlet[x]", "b==1"]
z = ["gemlet[x, y]", "c"]
"""
    requirements = tool("requirements").requirements
    assert requirements(text, ["z"]) == ["make", "a", "numpy>=1", "b==1", "c"]
    assert requirements(text, []) == ["make", "a", "numpy>=1"]
    with pytest.raises(SystemExit, match=r"no extra 'w' in pyproject\.toml; it has x, y, z"):
        requirements(text, ["w"])
