"""The check of a wheel's file, on small ones that show each of its verdicts; that it runs is for `./dev wheel`."""

from __future__ import annotations

import platform
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("tomllib", reason="the tools need Python 3.11")

from load_tool import tool

check = tool("check_wheel")
pytestmark = pytest.mark.skipif(
    not (shutil.which("g++") and shutil.which("readelf") and platform.machine() == "x86_64"),
    reason="needs g++ and binutils on x86-64",
)
NAME = "gemlet-0.1.0-cp311-cp311-manylinux_2_35_x86_64.whl"


def wheel(folder: Path, *options: str, name: str = NAME, carried: tuple[str, ...] = ()) -> Path:
    source, module = folder / "a.cpp", folder / "_core.so"
    source.write_text("int x;\n")
    subprocess.run(["g++", "-shared", "-fPIC", str(source), "-o", str(module), *options], check=True)
    with zipfile.ZipFile(folder / name, "w") as archive:
        archive.write(module, "gemlet/_core.cpython-311-x86_64-linux-gnu.so")
        for library in carried:
            archive.write(module, f"gemlet.libs/{library}")
    return folder / name


def test_a_good_one(tmp_path, capsys):
    assert check.check_file(wheel(tmp_path, "-s", "-Wl,--no-as-needed", "-lm")) == []
    assert "libm.so.6" in capsys.readouterr().out


def test_what_it_does_not_bring(tmp_path):
    options = ("-s", "-Wl,--no-as-needed", "-lgomp")
    (wrong,) = check.check_file(wheel(tmp_path, *options))
    assert wrong.endswith("needs libgomp.so.1, which it does not bring")
    assert check.check_file(wheel(tmp_path, *options, carried=("libgomp.so.1",)))[1:] == []


def test_symbols_left_in_a_tag_not_given_and_size(tmp_path, monkeypatch):
    name = "gemlet-0.1.0-cp311-cp311-linux_x86_64.whl"
    monkeypatch.setattr(check, "LIMIT", 1000)
    size, tag, symbols = check.check_file(wheel(tmp_path, "-g", name=name))
    assert "the limit is 1,000" in size
    assert "not repaired" in tag
    assert "not stripped, it has .debug" in symbols
    assert ".symtab" in symbols


def test_a_wheel_without_the_module(tmp_path):
    path = tmp_path / NAME
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("gemlet/__init__.py", "")
    assert check.check_file(path) == ["it holds no _core"]
