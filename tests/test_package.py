"""The package as it is installed: one version, typed, importing little, touching no network."""

from __future__ import annotations

import importlib.machinery
import importlib.metadata
import json
import subprocess
import sys
from importlib.resources import files

import pytest

import gemlet
from gemlet import _core

# Top-level names in sys.modules before and after `import gemlet`, in an interpreter that has nothing else to do.
IMPORT = """
import json, sys
opened = []
sys.addaudithook(lambda event, args: opened.append(event) if event.startswith("socket.") else None)
import numpy
before = {name.partition(".")[0] for name in sys.modules}
import gemlet
after = {name.partition(".")[0] for name in sys.modules}
new = sorted(after - before)
print(json.dumps({"new": new, "known": sorted(sys.stdlib_module_names), "opened": opened}))
"""


@pytest.fixture(scope="module")
def imported() -> dict[str, list[str]]:
    run = subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, text=True, check=True)
    return json.loads(run.stdout)


def test_the_version_has_one_source():
    assert gemlet.__version__ == _core.__version__
    try:
        installed = importlib.metadata.version("gemlet")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("run from a checkout: nothing is installed")
    assert gemlet.__version__ == installed


def test_types_are_shipped():
    package = files("gemlet")
    assert package.joinpath("py.typed").is_file()
    assert package.joinpath("_core", "__init__.pyi").is_file() or package.joinpath("_core.pyi").is_file()


def test_the_folder_of_stubs_does_not_shadow_the_module():
    assert _core.__spec__ is not None
    assert isinstance(_core.__spec__.loader, importlib.machinery.ExtensionFileLoader)


def test_importing_brings_numpy_and_the_standard_library_only(imported):
    assert "gemlet" in imported["new"]
    assert set(imported["new"]) - set(imported["known"]) == {"gemlet"}


def test_importing_opens_no_socket(imported):
    assert imported["opened"] == []


def test_the_socket_watch_sees_sockets():
    code = IMPORT.replace("import gemlet", "import socket; socket.socket().close()")
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "socket.__new__" in json.loads(run.stdout)["opened"]
