"""Checks a build's object files: what the kernels' wide flags may not leak, and what a library may not call.

Reads compile_commands.json for the objects, then `nm` and `objdump`. Rules for sources are tools/check_layers.py's.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# Instruction sets whose files are built for the machine that every user has.
BASELINE_SETS = {"scalar", "neon"}

# Printing and ending the process are the caller's business; the library throws.
PRINTS = """printf fprintf vprintf vfprintf dprintf puts fputs putc putchar fputc putchar_unlocked fwrite perror
    stdout stderr __printf_chk __fprintf_chk __vprintf_chk __vfprintf_chk __dprintf_chk
    _ZSt4cout _ZSt4cerr _ZSt4clog _ZSt5wcout _ZSt5wcerr _ZSt5wclog _ZNSt8ios_base4InitC1Ev""".split()
ENDS = """abort exit _exit _Exit quick_exit raise kill __assert_fail __assert
    _ZSt9terminatev _ZSt10unexpectedv""".split()
FORBIDDEN = dict.fromkeys(PRINTS, "prints") | dict.fromkeys(ENDS, "ends the process")

# symbol -> why an object of ours may refer to it all the same.
ALLOWED = {
    # No source of ours names it: check_layers.py sees to that.
    "_ZSt9terminatev": "in std::thread's own destructor, and where a compiler guards noexcept and parallel regions",
}
# symbol -> why a kernel's object may define it weakly all the same.
ALLOWED_WEAK = {
    "DW.ref.__gxx_personality_v0": "a pointer in the unwinding tables, not code",
}

NM_LINE = re.compile(r"^(?:[0-9a-f]+)?\s*([A-Za-z?])\s+(\S+)$")
# Mangled names in std:: or Eigen::, functions as well as members.
TEMPLATES = re.compile(r"_Z(N[KVRO]*)?(St|S[absiod]|5Eigen)")
# Registers and encodings that a processor without AVX does not know. VEX-encoded names begin with v.
WIDE = re.compile(r"%[yz]mm\d|\tv[a-z0-9]+\s.*%xmm|\{%k[1-7]\}")
# What came to 64-bit ARM after its first version and a compiler may choose: integer dot and matrix products, rounding
# multiplications, arithmetic on halves and bfloat16, atomics, scalable vectors.
LATER_ARM = re.compile(
    r"^\s*[0-9a-f]+:\t((([su]|us|su)dot|(us?|s)mmla|sqrdml[as]h|fjcvtzs|bf(dot|mmla|mlal[bt]|cvtn?2?)"
    r"|(casp?|swp|ld(add|clr|eor|set|[su]max|[su]min))(a|l|al)?[bh]?)\s"
    r"|f(add|mul|mla|mls|sub|div)\s+v\d+\.[48]h|[a-z0-9]+\s+z\d+\.)"
)
FUNCTION = re.compile(r"^[0-9a-f]+ <(.+)>:$")


@dataclass(frozen=True)
class Object:
    """One object file of the build and the source it came from, relative to csrc."""

    path: Path
    source: Path

    @property
    def kernel_set(self) -> str | None:
        """The instruction set of kernels/OPERATION/SET.cpp."""
        parts = self.source.parts
        return self.source.stem if parts[0] == "kernels" and len(parts) > 2 else None


def find_objects(build: Path) -> list[Object]:
    """The objects of the present build only: a folder of objects also keeps those of sources that are gone."""
    database = build / "compile_commands.json"
    if not database.is_file():
        sys.exit(f"check_symbols: no {database}; run ./dev build first, or name the build folder")
    found = []
    for entry in json.loads(database.read_text(encoding="utf-8")):
        source = Path(entry["file"])
        if "csrc" not in source.parts:
            continue
        path = Path(entry["directory"]) / entry["output"]
        if not path.is_file():
            sys.exit(f"check_symbols: {path} is not built; run ./dev build first")
        inside = source.parts[len(source.parts) - source.parts[::-1].index("csrc") :]
        found.append(Object(path, Path(*inside)))
    if not found:
        sys.exit(f"check_symbols: {database} lists no object from csrc; is it this project's build?")
    return found


def run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def symbols(path: Path, tools: str) -> Iterator[tuple[str, str]]:
    """(nm's letter, mangled name)."""
    for line in run(f"{tools}nm", str(path)).splitlines():
        if match := NM_LINE.match(line):
            yield match.group(1), match.group(2)


def demangled(name: str) -> str:
    return run("c++filt", name).strip() if shutil.which("c++filt") else name


def check_symbols(obj: Object, tools: str = "") -> Iterator[str]:
    """Weak definitions and templates in kernels; printing and ending the process everywhere."""
    in_kernel = obj.kernel_set is not None
    for kind, name in symbols(obj.path, tools):
        if in_kernel and kind in "WVu" and name not in ALLOWED_WEAK:
            advice = "the linker may keep this copy for all callers; put it into an anonymous namespace"
            yield f"defines '{demangled(name)}' weakly, with the flags of {obj.kernel_set}: {advice}"
        elif in_kernel and kind in "Uw" and TEMPLATES.match(name) and name not in ALLOWED:
            yield f"refers to '{demangled(name)}': kernels use plain C and intrinsics only"
        elif kind in "Uw" and name in FORBIDDEN and name not in ALLOWED:
            yield f"refers to '{demangled(name)}', which {FORBIDDEN[name]}; throw an error of core/error.h instead"


def check_baseline(obj: Object, later: re.Pattern[str], tools: str = "") -> Iterator[str]:
    """No instruction beyond the baseline: the first one in each function is named."""
    function, told = "?", ""
    for line in run(f"{tools}objdump", "-d", "--no-show-raw-insn", str(obj.path)).splitlines():
        if match := FUNCTION.match(line):
            function = match.group(1)
        elif function != told and later.search(line):
            told = function
            yield f"baseline code has '{' '.join(line.split()[1:])}' in '{demangled(function)}'"


def beyond_baseline(obj: Object, tools: str) -> re.Pattern[str] | None:
    """Instructions that not every processor of the object's kind has."""
    header = run(f"{tools}objdump", "-f", str(obj.path))
    return WIDE if "x86-64" in header else LATER_ARM if "aarch64" in header else None


def check(build: Path, tools: str = "") -> list[str]:
    """Runs every rule over the objects of `build`."""
    objects = find_objects(build)
    later = beyond_baseline(objects[0], tools)
    problems = []
    for obj in objects:
        found = list(check_symbols(obj, tools))
        if later is not None and (obj.kernel_set is None or obj.kernel_set in BASELINE_SETS):
            found += check_baseline(obj, later, tools)
        problems += [f"csrc/{obj.source}: {problem}" for problem in found]
    return problems


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("build", type=Path, help="a CMake build folder, such as build/dev")
    parser.add_argument("--tools", default="", metavar="PREFIX", help="of nm and objdump, such as aarch64-linux-gnu-")
    args = parser.parse_args()
    for program in (f"{args.tools}nm", f"{args.tools}objdump"):
        if shutil.which(program) is None:
            sys.exit(f"check_symbols: no `{program}`: install binutils, or those of the cross compiler")
    problems = check(args.build.resolve(), args.tools)
    for problem in problems:
        print(problem)
    if problems:
        print(f"check_symbols: {len(problems)} problem(s)")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
