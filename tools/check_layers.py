"""Checks the rules of the house that need no compiler: directions of includes and imports (layers.toml), sizes, names.

Owns no table of directions itself; what the built objects must not contain is tools/check_symbols.py's question.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CPP_SUFFIXES = (".h", ".cpp")
CHECKED_FOLDERS = ("csrc", "python", "tests", "tools", "benchmarks")
FORBIDDEN_NAMES = {"util", "utils", "common", "helper", "helpers", "manager", "impl"}
# Written in two parts so that this file passes its own rule.
PROMISES = re.compile(r"\b(TO" r"DO|FIX" r"ME)\b")
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"\n]+)[>"]', re.MULTILINE)
PRAGMA_OMP = re.compile(r'^[ \t]*#[ \t]*pragma[ \t]+omp\b|\b_Pragma\s*\(\s*"omp\b', re.MULTILINE)
# The linker cannot tell our call from the one a compiler puts into `noexcept` functions, so the sources are read.
TERMINATE = re.compile(r"\bterminate\s*\(")
ANONYMOUS = re.compile(r"\bnamespace\s*\{")
COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
# Digit separators, strings and character literals are matched so that a `//` inside one is not taken for a comment.
COMMENT_OR_LITERAL = re.compile(COMMENT.pattern + r'|\d\'(?=\d)|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.DOTALL)

STANDARD_HEADERS = frozenset(
    """algorithm any array atomic barrier bit bitset charconv chrono cmath compare complex concepts condition_variable
    coroutine deque exception execution filesystem format forward_list fstream functional future initializer_list
    iomanip ios iosfwd istream iterator latch limits list locale map memory memory_resource mutex new numbers numeric
    optional ostream queue random ranges ratio regex scoped_allocator semaphore set shared_mutex source_location span
    sstream stack stdexcept stop_token streambuf string string_view syncstream system_error thread tuple type_traits
    typeindex typeinfo unordered_map unordered_set utility valarray variant vector version
    cassert cctype cerrno cfenv cfloat cinttypes climits clocale csetjmp csignal cstdarg cstddef cstdint cstdio cstdlib
    cstring ctime cuchar cwchar cwctype""".split()
)
# Names that stand for several headers in [cpp_external].
HEADER_GROUPS = {
    "posix": re.compile(
        r"(sys|arpa|linux|netinet)/.*|(dirent|dlfcn|errno|fcntl|poll|pthread|sched|signal|time|unistd)\.h"
    ),
    "intrinsics": re.compile(
        r"(imm|x86|[anpstwxz]mm|avx\w*|f16c|fma)intrin\.h|arm_(neon|fp16|bf16|acle)\.h|cpuid\.h|simde/.*"
    ),
}
# Kernels see plain declarations only: any inline code they shared could be compiled with their wider instructions and
# then be the one copy that the linker keeps for everybody.
KERNEL_HEADERS = {"cstdint", "cstring", "cmath", "cstddef"}
KERNEL_INCLUDES = {"kernels/api.h", "codec/blocks.h"}


@dataclass
class Report:
    """Problems fail the run, warnings are only shown."""

    root: Path
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def problem(self, path: Path, line: int, message: str) -> None:
        self.problems.append(f"{path.relative_to(self.root)}:{line}: {message}")

    def over(self, path: Path, line: int, what: str, lines: int, warn: int, fail: int) -> None:
        """Holds `lines` against a budget."""
        if lines > fail:
            self.problem(path, line, f"{what} has {lines} lines, the limit is {fail}; split it")
        elif lines > warn:
            self.warnings.append(f"{path.relative_to(self.root)}:{line}: {what} has {lines} lines, more than {warn}")


def without_comments(text: str) -> str:
    """C++ text with comments blanked out and lines kept."""

    def blank(match: re.Match[str]) -> str:
        found = match.group(0)
        return re.sub(r"[^\n]", " ", found) if found.startswith(("//", "/*")) else found

    return COMMENT_OR_LITERAL.sub(blank, text)


def line_of(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1


def check_table(report: Report, name: str, table: Mapping[str, list[str]], roots: set[str]) -> None:
    """Every name of the table is known, and no chain of edges leads back to its start."""
    layers = report.root / "layers.toml"
    for source, targets in table.items():
        for target in targets:
            if target not in table and target not in roots:
                report.problem(layers, 1, f"[{name}] {source}: unknown name '{target}'")
    done: set[str] = set()

    def visit(node: str, chain: tuple[str, ...]) -> None:
        if node in chain:
            report.problem(layers, 1, f"[{name}] is not downwards only: {' -> '.join([*chain, node])}")
        elif node not in done:
            for target in table.get(node, ()):
                visit(target, (*chain, node))
            done.add(node)

    for node in table:
        visit(node, ())


def external_name(header: str, external: Mapping[str, list[str]]) -> str | None:
    """The entry of [cpp_external] that speaks for `header`: its own name, its folder's, or a group's."""
    for name in external:
        if header == name or header.startswith(name + "/"):
            return name
    for name, pattern in HEADER_GROUPS.items():
        if pattern.fullmatch(header):
            return name
    return None


class CppRules:
    """Include directions of csrc, and what each file may name from outside."""

    def __init__(self, report: Report, layers: Mapping[str, Any]) -> None:
        self.report = report
        self.csrc = report.root / "csrc"
        self.edges: Mapping[str, list[str]] = layers["cpp"]
        self.external: Mapping[str, list[str]] = layers.get("cpp_external", {})

    def check(self, path: Path) -> list[int]:
        """Checks one file; returns the lines of its OpenMP pragmas."""
        parts = path.relative_to(self.csrc).parts
        if len(parts) < 2 or parts[0] not in self.edges:
            self.report.problem(
                path, 1, f"'{parts[0]}' is no folder of layers.toml [cpp]; add it there with its directions"
            )
            return []
        code = without_comments(path.read_text(encoding="utf-8"))
        for match in INCLUDE.finditer(code):
            self.check_include(path, line_of(code, match.start()), match.group(1) == "<", match.group(2))
        if parts[0] == "kernels" and len(parts) > 2 and path.suffix == ".h" and not ANONYMOUS.search(code):
            self.report.problem(path, 1, "what kernels share lies in an anonymous namespace, or it leaks between flags")
        for match in TERMINATE.finditer(code):
            self.report.problem(path, line_of(code, match.start()), "the library throws; it never calls terminate")
        return [line_of(code, match.start()) for match in PRAGMA_OMP.finditer(code)]

    def check_include(self, path: Path, line: int, angled: bool, header: str) -> None:
        parts = path.relative_to(self.csrc).parts
        if parts[0] == "kernels" and len(parts) > 2 and not self.kernel_may_include(path, angled, header):
            allowed = ", ".join(sorted(KERNEL_INCLUDES | KERNEL_HEADERS))
            self.report.problem(
                path, line, f"a kernel may include {allowed}, intrinsics, its own folder and set; not '{header}'"
            )
        elif angled:
            self.check_external(path, line, header)
        else:
            self.check_internal(path, line, header)

    def kernel_may_include(self, path: Path, angled: bool, header: str) -> bool:
        """kernels/OPERATION/SET.cpp: its own folder, and what kernels/isa/ holds for its own set."""
        if angled:
            return header in KERNEL_HEADERS or HEADER_GROUPS["intrinsics"].fullmatch(header) is not None
        found = self.resolve(path, header)
        if found is None or header in KERNEL_INCLUDES:
            return header in KERNEL_INCLUDES
        for_set = found.stem.split("_")[0]
        foreign = path.suffix == ".cpp" and for_set in self.kernel_sets() - {path.stem}
        return found.parent in (path.parent, self.csrc / "kernels" / "isa") and not foreign

    def kernel_sets(self) -> set[str]:
        return {p.stem for p in self.csrc.glob("kernels/*/*.cpp")}

    def resolve(self, path: Path, header: str) -> Path | None:
        for base in (self.csrc, path.parent):
            found = (base / header).resolve()
            if found.is_file() and found.is_relative_to(self.csrc.resolve()):
                return self.csrc / found.relative_to(self.csrc.resolve())
        return None

    def check_internal(self, path: Path, line: int, header: str) -> None:
        found = self.resolve(path, header)
        if found is None:
            self.report.problem(path, line, f"no file '{header}' in csrc; write <...> for what lies outside")
            return
        source, target = path.relative_to(self.csrc).parts[0], found.relative_to(self.csrc).parts[0]
        if source != target and target not in self.edges[source]:
            allowed = ", ".join(self.edges[source]) or "nothing"
            self.report.problem(path, line, f"{source} may include {allowed}, not {target} ('{header}')")

    def check_external(self, path: Path, line: int, header: str) -> None:
        if header in STANDARD_HEADERS:
            return
        name = external_name(header, self.external)
        if name is None or name not in self.external:
            self.report.problem(path, line, f"<{header}> is neither standard C++ nor in layers.toml [cpp_external]")
            return
        inside = path.relative_to(self.csrc)
        if not {inside.as_posix(), inside.parts[0]} & set(self.external[name]):
            allowed = ", ".join(self.external[name])
            self.report.problem(path, line, f"<{header}> ({name}) may be included in {allowed} only")
        elif name == "Eigen" and path.suffix != ".cpp":
            self.report.problem(path, line, f"<{header}>: Eigen is for .cpp files; a header would spread its templates")


def check_pragmas(report: Report, found: list[tuple[Path, int]]) -> None:
    """Threads are started in one place."""
    home = report.root / "csrc" / "core" / "parallel.cpp"
    for path, line in found:
        if path != home:
            report.problem(path, line, "OpenMP belongs to core/parallel.cpp; call parallel_for")
    at_home = [line for path, line in found if path == home]
    if home.exists() and len(at_home) != 1:
        report.problem(home, at_home[-1] if at_home else 1, f"expected exactly one OpenMP pragma, found {len(at_home)}")


class PythonRules:
    """Import directions of the package, read from the syntax tree; imports inside functions count as well."""

    def __init__(self, report: Report, layers: Mapping[str, Any]) -> None:
        self.report = report
        self.package = report.root / "python" / "gemlet"
        self.edges: Mapping[str, list[str]] = layers["python"]

    def check(self, path: Path, tree: ast.Module) -> None:
        inside = path.relative_to(self.package)
        source = inside.with_suffix("").parts[0]
        if source != "__init__" and source not in self.edges:
            self.report.problem(path, 1, f"'{source}' is not in layers.toml [python]; add it with its directions")
            return
        top_level = set(self.module_level(tree.body))
        for node in ast.walk(tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                for name in self.imported(node, inside):
                    self.check_edge(path, node.lineno, source, name, node in top_level)

    def module_level(self, body: list[ast.stmt]) -> Iterator[ast.stmt]:
        """Statements that run on import: not those in functions, nor under `if TYPE_CHECKING`."""
        for node in body:
            yield node
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
                yield from self.module_level(node.orelse)
            elif isinstance(node, ast.If | ast.Try | ast.With | ast.ClassDef):
                for child in ast.iter_child_nodes(node):
                    if isinstance(child, ast.stmt):
                        yield from self.module_level([child])
                    elif isinstance(child, ast.ExceptHandler):
                        yield from self.module_level(child.body)

    def imported(self, node: ast.Import | ast.ImportFrom, inside: Path) -> Iterator[str]:
        """Absolute names: `gemlet.model`, `numpy`."""
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
            return
        base = node.module or ""
        if node.level:
            # One dot is the folder the file lies in, each further dot the folder above it.
            folder = ["gemlet", *inside.parts[:-1]]
            base = ".".join([*folder[: len(folder) - node.level + 1], *([base] if base else [])])
        if base == "gemlet":
            yield from (f"gemlet.{alias.name}" if self.is_module(alias.name) else "gemlet" for alias in node.names)
        else:
            yield base

    def is_module(self, name: str) -> bool:
        return name in self.edges or name == "_core" or (self.package / f"{name}.py").exists()

    def check_edge(self, path: Path, line: int, source: str, name: str, at_import: bool) -> None:
        parts = name.split(".")
        if parts[0] != "gemlet":
            if at_import and parts[0] not in sys.stdlib_module_names and parts[0] != "numpy":
                self.report.problem(path, line, f"'{parts[0]}' is no core dependency; import it where it is used")
            return
        target = parts[1] if len(parts) > 1 else "__init__"
        if source not in ("__init__", target) and target not in self.edges[source]:
            allowed = ", ".join(self.edges[source]) or "nothing"
            self.report.problem(path, line, f"{source} may import {allowed}, not {target} ('{name}')")


def check_any_file(report: Report, path: Path, size: Mapping[str, int]) -> None:
    """Rules that hold for every source file: name, opening, length, no promises."""
    for part in path.relative_to(report.root).with_suffix("").parts:
        if bad := FORBIDDEN_NAMES.intersection(part.lower().split("_")):
            report.problem(path, 1, f"the name says nothing: '{bad.pop()}'; name what it owns")
    text = path.read_text(encoding="utf-8")
    opening = ("//",) if path.suffix in CPP_SUFFIXES else ("#", '"""', 'r"""')
    if not text.startswith(opening):
        report.problem(path, 1, "the file must open with a comment that says what it owns")
    for match in PROMISES.finditer(text):
        report.problem(path, line_of(text, match.start()), f"{match.group(0)}: do it now or open an issue")
    if path.suffix != ".pyi":  # stubs are generated, as long as the module is wide
        report.over(path, 1, "the file", text.count("\n"), size["file_warn"], size["file_fail"])


def check_python_functions(report: Report, path: Path, tree: ast.Module, size: Mapping[str, int]) -> None:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            report.over(path, node.lineno, f"{node.name}()", lines, size["function_warn"], size["function_fail"])


def check_cpp_functions(report: Report, paths: list[Path], size: Mapping[str, int]) -> None:
    try:
        import lizard
    except ImportError:
        sys.exit("check_layers: lizard measures C++ functions: ./dev setup installs it, --no-lizard leaves them out")
    for path in paths:
        in_kernels = path.is_relative_to(report.root / "csrc" / "kernels")
        fail = size["kernel_function_fail"] if in_kernels else size["function_fail"]
        warn = size["function_fail"] if in_kernels else size["function_warn"]
        for function in lizard.analyze_file(str(path)).function_list:
            lines = function.end_line - function.start_line + 1
            report.over(path, function.start_line, f"{function.name}()", lines, warn, fail)


def check(root: Path, measure_cpp: bool = True) -> Report:
    """Runs every rule over the tree at `root`."""
    report = Report(root)
    layers = tomllib.loads((root / "layers.toml").read_text(encoding="utf-8"))
    check_table(report, "cpp", layers["cpp"], set())
    check_table(report, "python", layers["python"], {"_core"})
    files = sorted(p for folder in CHECKED_FOLDERS for p in (root / folder).rglob("*") if p.is_file())
    cpp = [p for p in files if p.suffix in CPP_SUFFIXES]
    for path in (p for p in files if p.is_relative_to(root / "csrc") and p.suffix not in CPP_SUFFIXES):
        report.problem(path, 1, f"csrc holds {' and '.join(CPP_SUFFIXES)} files only")
    for path in (p for p in files if p.suffix in (*CPP_SUFFIXES, ".py", ".pyi")):
        check_any_file(report, path, layers["size"])

    cpp_rules, pragmas = CppRules(report, layers), []
    for path in (p for p in cpp if p.is_relative_to(root / "csrc")):
        pragmas += [(path, line) for line in cpp_rules.check(path)]
    check_pragmas(report, pragmas)

    python_rules = PythonRules(report, layers)
    for path in (p for p in files if p.suffix == ".py"):
        tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
        check_python_functions(report, path, tree, layers["size"])
        if path.is_relative_to(root / "python" / "gemlet"):
            python_rules.check(path, tree)
    if measure_cpp:
        check_cpp_functions(report, cpp, layers["size"])
    return report


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parents[1])
    parser.add_argument("--no-lizard", action="store_true", help="leave out the length of C++ functions (fast)")
    args = parser.parse_args()
    report = check(args.root.resolve(), measure_cpp=not args.no_lizard)
    for warning in report.warnings:
        print(f"warning: {warning}")
    for problem in report.problems:
        print(problem)
    if report.problems:
        print(f"check_layers: {len(report.problems)} problem(s)")
    return 1 if report.problems else 0


if __name__ == "__main__":
    sys.exit(main())
