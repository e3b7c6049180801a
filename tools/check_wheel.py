"""Checks a repaired wheel: small, stripped, brings what it needs, and works on every set where there is no compiler.

    python tools/check_wheel.py dist/gemlet-0.1.0-cp311-cp311-manylinux_2_35_x86_64.whl

Installs it with the demo weights in a fresh environment whose PATH holds that environment alone. All instruction sets
of this CPU must write the same text.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

LIMIT = 6_000_000  # bytes
# What every Linux of the wheel's tag has; the rest must come with the wheel.
SYSTEM = {"libstdc++.so.6", "libm.so.6", "libgcc_s.so.1", "libc.so.6", "libpthread.so.0", "ld-linux-x86-64.so.2"}
PROMPT, EXPECTED = "Paris is the capital of", "France"
COMPILERS = ("cc", "gcc", "g++", "c++", "clang", "clang++", "ld", "cmake", "ninja")


def check_file(wheel: Path) -> list[str]:
    """What is wrong with the file; tells what it links."""
    wrong = []
    size = wheel.stat().st_size
    print(f"{wheel.name}: {size / 1e6:.2f} MB")
    if size > LIMIT:
        wrong.append(f"{size:,} bytes, the limit is {LIMIT:,}")
    if "manylinux" not in wheel.name:
        wrong.append("not repaired: its tag names no manylinux")
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(wheel) as archive:
        libraries = [name for name in archive.namelist() if ".so" in Path(name).name]
        carried = {Path(name).name for name in libraries}
        if not any(Path(name).name.startswith("_core.") for name in libraries):
            wrong.append("it holds no _core")
        for name in libraries:
            path = archive.extract(name, folder)
            needed, sections = needs(path), sections_of(path)
            print(f"  {name}: {os.path.getsize(path) / 1e6:.2f} MB, needs {', '.join(sorted(needed))}")
            wrong += [f"{name}: needs {other}, which it does not bring" for other in needed - SYSTEM - carried]
            kept = [section for section in sections if section == ".symtab" or section.startswith(".debug")]
            if kept and Path(name).name.startswith("_core."):
                wrong.append(f"{name}: not stripped, it has {', '.join(kept)}")
    return wrong


def readelf(option: str, path: str) -> list[list[str]]:
    done = subprocess.run(["readelf", "--wide", option, path], capture_output=True, text=True, check=True)
    return [text.split() for text in done.stdout.splitlines()]


def needs(path: str) -> set[str]:
    return {words[-1].strip("[]") for words in readelf("--dynamic", path) if "(NEEDED)" in words}


def sections_of(path: str) -> list[str]:
    lines = (" ".join(words).replace("[ ", "[").split() for words in readelf("--section-headers", path))
    return [words[1] for words in lines if len(words) > 2 and words[0].startswith("[") and words[1].startswith(".")]


def try_it(wheel: Path, folder: Path) -> list[str]:
    """What goes wrong with the wheel alone in an environment."""
    venv.create(folder, with_pip=True)
    programs = folder / "bin"
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("CC", "CXX", "CFLAGS", "CXXFLAGS", "LD_LIBRARY_PATH", "PYTHONPATH", "PYTHONHOME", "GEMLET_ISA")
    }
    environment["PATH"] = str(programs)
    found = [name for name in COMPILERS if shutil.which(name, path=environment["PATH"])]
    if found:
        return [f"the empty environment is not empty: {', '.join(found)}"]

    def run(*words: str, isa: str = "") -> str:
        chosen = {**environment, **({"GEMLET_ISA": isa} if isa else {})}
        done = subprocess.run(words, env=chosen, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(
                f"check_wheel: {' '.join(words)} ended with {done.returncode}: {done.stderr or done.stdout}"
            )
        return done.stdout.strip()

    python = str(programs / "python")
    run(python, "-m", "pip", "install", "--quiet", "--only-binary", ":all:", f"{wheel}[demo]")
    told = run(
        python,
        "-c",
        "import json, gemlet; from gemlet._core import isa, isas; print(json.dumps([gemlet.__file__, isas(), isa()]))",
    )
    path, isas, best = json.loads(told)
    wrong = [] if Path(path).is_relative_to(folder) else [f"{path} was imported, not the wheel"]
    texts = {}
    for isa in isas:
        words = ("run", "demo", PROMPT, "-n", "6", "--temperature", "0", "-q")
        texts[isa] = run(str(programs / "gemlet"), *words, isa=isa)
        print(f"  {isa}{' (chosen)' if isa == best else ''}: {PROMPT} {texts[isa]!r}")
    if len(set(texts.values())) != 1 or EXPECTED not in next(iter(texts.values())):
        wrong.append(f"expected {EXPECTED!r} and one text on all instruction sets, got {texts}")
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path)
    wheel = parser.parse_args().wheel.resolve()
    wrong = check_file(wheel)
    with tempfile.TemporaryDirectory() as folder:
        wrong += try_it(wheel, Path(folder).resolve() / "empty")
    for text in wrong:
        print(f"check_wheel: {text}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
