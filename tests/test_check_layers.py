"""The layer checker checks: for each rule, a small tree that breaks it and the sentence that names the breach."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

pytest.importorskip("tomllib", reason="the tools need Python 3.11")

from load_tool import TOOLS, tool, write

LAYERS = """
[cpp]
core = []
codec = ["core"]
kernels = ["codec", "core"]
ops = ["core", "kernels"]
bind = ["ops"]
[cpp_external]
"posix" = ["core"]
"intrinsics" = ["kernels"]
"pybind11" = ["bind"]
"Eigen" = ["ops", "kernels"]
"omp.h" = ["core/parallel.cpp"]
[python]
errors = []
types = ["errors"]
model = ["_core", "errors", "types"]
cli = ["model", "errors"]
[size]
file_warn = 20
file_fail = 30
function_warn = 5
function_fail = 10
kernel_function_fail = 14
"""

CLEAN = {
    "csrc/core/error.h": "// Errors.\n#pragma once\n#include <string>\n",
    "csrc/core/file.cpp": '// Files.\n#include <sys/mman.h>\n\n#include "core/error.h"\n',
    "csrc/core/parallel.cpp": "// Threads.\n#include <omp.h>\nvoid f() {\n#pragma omp parallel\n  {\n  }\n}\n",
    "csrc/codec/blocks.h": "// Blocks.\n#pragma once\n#include <cstdint>\n",
    "csrc/kernels/api.h": '// The table.\n#pragma once\n#include "codec/blocks.h"\n',
    "csrc/kernels/dot/avx2.cpp": '// Dot.\n#include <immintrin.h>\n#include "kernels/isa/avx2.h"\n#include "lanes.h"\n',
    "csrc/kernels/dot/scalar.cpp": '// Dot.\n#include "kernels/api.h"\n#include "kernels/isa/scalar_exp.h"\n',
    "csrc/kernels/dot/lanes.h": "// Lanes.\n#pragma once\n#include <cmath>\nnamespace {\n}\n",
    "csrc/kernels/isa/avx2.h": '// AVX2.\n#pragma once\n#include "kernels/isa/x256.h"\nnamespace {\n}\n',
    "csrc/kernels/isa/scalar_exp.h": "// Exp.\n#pragma once\nnamespace {\n}\n",
    "csrc/kernels/isa/x256.h": "// Shared.\n#pragma once\n#include <immintrin.h>\nnamespace {\n}\n",
    "csrc/ops/linear.cpp": '// Matmul. Calls terminate() never.\n#include <Eigen/Core>\n\n#include "kernels/api.h"\n',
    "csrc/bind/module.cpp": "// Contents.\n#include <pybind11/pybind11.h>\n",
    "python/gemlet/__init__.py": '"""Face."""\n\nfrom .model import Model\n',
    "python/gemlet/_core/__init__.pyi": "# Generated.\n" + "x: int\n" * 40,
    "python/gemlet/errors.py": '"""Errors."""\n',
    "python/gemlet/types.py": '"""Types."""\n\nimport numpy as np\n\nfrom . import errors\n',
    "python/gemlet/model.py": '"""Model."""\n\nfrom . import _core, types\nfrom .errors import E\n',
    "python/gemlet/cli/run.py": '"""Run."""\n\nfrom ..model import Model\nfrom gemlet import errors\n',
    "tools/make.py": '"""Makes."""\n\nimport lizard\n',
}


@pytest.fixture(scope="module")
def layers() -> ModuleType:
    return tool("check_layers")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "layers.toml").write_text(LAYERS)
    for name, text in CLEAN.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_a_clean_tree_passes(layers, tree):
    report = layers.check(tree, measure_cpp=False)
    assert report.problems == []
    assert report.warnings == []


LATER, BROKEN = "".join(["TO", "DO"]), "".join(["FIX", "ME"])  # in parts: this file is checked as well
KERNEL = "csrc/kernels/dot/avx2.cpp"
RULES = {
    "cpp upwards": ("csrc/core/file.cpp", '// F.\n#include "codec/blocks.h"\n', "core may include nothing, not codec"),
    "cpp not listed": ("csrc/ops/a.cpp", '// A.\n#include "codec/blocks.h"\n', "not codec"),
    "cpp unknown folder": ("csrc/media/a.h", "// A.\n", "'media' is no folder of layers.toml"),
    "cpp no folder": ("csrc/a.h", "// A.\n", "'a.h' is no folder of layers.toml"),
    "cpp missing file": ("csrc/ops/a.cpp", '// A.\n#include "core/gone.h"\n', "no file 'core/gone.h'"),
    "cpp escapes csrc": ("csrc/ops/a.cpp", '// A.\n#include "../../tests/a.h"\n', "no file '../../tests/a.h'"),
    "cpp unknown external": ("csrc/ops/a.cpp", "// A.\n#include <boost/any.hpp>\n", "<boost/any.hpp> is neither"),
    "cpp external elsewhere": (
        "csrc/ops/a.cpp",
        "// A.\n#include <pybind11/stl.h>\n",
        "(pybind11) may be included in bind",
    ),
    "cpp external one file": ("csrc/core/file.cpp", "// F.\n#include <omp.h>\n", "included in core/parallel.cpp only"),
    "cpp posix elsewhere": ("csrc/ops/a.cpp", "// A.\n#include <unistd.h>\n", "(posix) may be included in core"),
    "cpp intrinsics": ("csrc/ops/a.cpp", "// A.\n#include <immintrin.h>\n", "(intrinsics) may be included in kernels"),
    "Eigen in a header": ("csrc/ops/a.h", "// A.\n#include <Eigen/Core>\n", "Eigen is for .cpp files"),
    "Eigen in a kernel": (KERNEL, "// K.\n#include <Eigen/Core>\n", "not 'Eigen/Core'"),
    "kernel standard": (KERNEL, "// K.\n#include <vector>\n", "not 'vector'"),
    "kernel core": (KERNEL, '// K.\n#include "core/error.h"\n', "not 'core/error.h'"),
    "kernel other set": (KERNEL, '// K.\n#include "kernels/isa/scalar_exp.h"\n', "not 'kernels/isa/scalar_exp.h'"),
    "kernel other operation": (
        "csrc/kernels/gemm/avx2.cpp",
        '// K.\n#include "kernels/dot/lanes.h"\n',
        "not 'kernels/dot",
    ),
    "kernel leaks": ("csrc/kernels/dot/lanes.h", "// L.\nnamespace k {\n}\n", "lies in an anonymous namespace"),
    "omp elsewhere": ("csrc/ops/a.cpp", "// A.\n  #  pragma omp simd\n", "OpenMP belongs to core/parallel.cpp"),
    "omp operator": (
        "csrc/ops/a.cpp",
        '// A.\nvoid f() { _Pragma("omp simd") }\n',
        "OpenMP belongs to core/parallel.cpp",
    ),
    "omp twice": (
        "csrc/core/parallel.cpp",
        "// T.\n#pragma omp parallel\n#pragma omp for\n",
        "exactly one OpenMP pragma",
    ),
    "omp none": ("csrc/core/parallel.cpp", "// T.\n// #pragma omp parallel\n", "exactly one OpenMP pragma, found 0"),
    "terminate": ("csrc/ops/a.cpp", "// A.\nvoid f() { std::terminate(); }\n", "never calls terminate"),
    "other suffix": ("csrc/ops/a.cc", "// A.\n", "csrc holds .h and .cpp files only"),
    "name": ("csrc/core/string_utils.h", "// S.\n", "the name says nothing: 'utils'"),
    "name of a folder": ("tests/common/a.py", '"""A."""\n', "the name says nothing: 'common'"),
    "cpp opening": ("csrc/core/a.h", "#pragma once\n", "must open with a comment"),
    "python opening": ("python/gemlet/types.py", "import numpy\n", "must open with a comment"),
    "python empty": ("tests/__init__.py", "", "must open with a comment"),
    "promise in cpp": ("csrc/core/a.h", f"// A.\n// {LATER}: later\n", "do it now"),
    "promise in python": ("tests/a.py", f'"""A."""\n# {BROKEN}\n', "do it now"),
    "file too long": ("csrc/core/a.h", "// A.\n" * 31, "the file has 31 lines, the limit is 30"),
    "function too long": (
        "tools/make.py",
        '"""A."""\ndef f():\n' + "    x = 1\n" * 10,
        "f() has 11 lines, the limit is 10",
    ),
    "python upwards": (
        "python/gemlet/errors.py",
        '"""E."""\nfrom . import types\n',
        "errors may import nothing, not types",
    ),
    "python absolute": ("python/gemlet/errors.py", '"""E."""\nimport gemlet.types\n', "not types ('gemlet.types')"),
    "python from package": ("python/gemlet/errors.py", '"""E."""\nfrom gemlet import model\n', "not model"),
    "python in a function": ("python/gemlet/errors.py", '"""E."""\ndef f():\n    from .model import M\n', "not model"),
    "python the face": ("python/gemlet/model.py", '"""M."""\nfrom . import __version__\n', "not __init__ ('gemlet')"),
    "python in a folder": ("python/gemlet/cli/run.py", '"""R."""\nfrom .. import _core\n', "not _core"),
    "python unknown module": ("python/gemlet/media.py", '"""M."""\n', "'media' is not in layers.toml [python]"),
    "python dependency": ("python/gemlet/model.py", '"""M."""\nimport tqdm\n', "'tqdm' is no core dependency"),
    "python tried": (
        "python/gemlet/model.py",
        '"""M."""\ntry:\n    import tqdm\nexcept E:\n    pass\n',
        "'tqdm' is no",
    ),
}


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_names_its_breach(layers, tree, rule):
    name, text, expected = RULES[rule]
    write(tree, name, text)
    problems = layers.check(tree, measure_cpp=False).problems
    assert len(problems) == 1, problems
    assert problems[0].startswith(f"{name}:")
    assert expected in problems[0]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("csrc/ops/a.cpp", '// A.\n/* #include "codec/blocks.h" */\n// std::terminate()\n'),
        ("csrc/ops/a.cpp", "// A.\nconst int k = 1'000;  // isn't terminate()\n"),
        ("csrc/ops/a.cpp", '// A.\nconst char* k = "//";\nvoid f() { std::set_terminate(nullptr); }\n'),
        ("python/gemlet/model.py", '"""M."""\ndef f():\n    import tqdm\n'),
        ("python/gemlet/model.py", '"""M."""\nfrom typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import tqdm\n'),
        ("python/gemlet/cli/show.py", '"""S."""\nfrom . import run\nfrom .run import go\n'),
    ],
)
def test_what_looks_like_a_breach_and_is_none(layers, tree, name, text):
    write(tree, name, text)
    assert layers.check(tree, measure_cpp=False).problems == []


@pytest.mark.parametrize(
    ("line", "by", "expected"),
    [
        ("core = []", 'core = ["ops"]', "is not downwards only: core -> ops -> core"),
        ("core = []", 'core = ["cores"]', "core: unknown name 'cores'"),
        ("errors = []", 'errors = ["model"]', "is not downwards only: errors -> model -> errors"),
    ],
)
def test_the_table_itself_is_checked(layers, tree, line, by, expected):
    (tree / "layers.toml").write_text(LAYERS.replace(line, by))
    assert any(expected in problem for problem in layers.check(tree, measure_cpp=False).problems)


def test_sizes_between_the_limits_only_warn(layers, tree):
    write(tree, "tools/make.py", '"""A."""\ndef f():\n' + "    x = 1\n" * 6 + "# x\n" * 15)
    report = layers.check(tree, measure_cpp=False)
    assert report.problems == []
    assert [warning.split(": ", 1)[1] for warning in report.warnings] == [
        "the file has 23 lines, more than 20",
        "f() has 7 lines, more than 5",
    ]


@pytest.mark.parametrize(
    ("lines", "in_ops", "in_kernels"), [(8, [0, 1], [0, 0]), (11, [1, 0], [0, 1]), (15, [1, 0], [1, 0])]
)
def test_cpp_functions_have_a_budget_and_kernels_their_own(layers, tree, lines, in_ops, in_kernels):
    pytest.importorskip("lizard")
    body = "int f(int x) {\n" + "  x += 1;\n" * (lines - 3) + "  return x;\n}\n"
    for folder, expected in (("csrc/ops", in_ops), ("csrc/kernels/dot", in_kernels)):
        write(tree, f"{folder}/long.cpp", "// L.\n" + body)
        report = layers.check(tree)
        assert [len(report.problems), len(report.warnings)] == expected, (folder, report)
        assert f"f() has {lines} lines" in "".join(report.problems + report.warnings) or expected == [0, 0]
        (tree / folder / "long.cpp").unlink()


def test_the_command_fails_on_a_breach(tree):
    command = [sys.executable, str(TOOLS / "check_layers.py"), "--no-lizard", "--root", str(tree)]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    write(tree, "csrc/core/file.cpp", '// F.\n#include "codec/blocks.h"\n')
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert "csrc/core/file.cpp:2: core may include nothing" in run.stdout
