"""Which kernels run and on how many processors: what the environment forces takes effect, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gemlet import _core

TINY = Path(__file__).parent / "golden" / "gemma3_tiny.gguf"


def in_a_process(code: str, **environment: str) -> dict:
    """What `code` leaves in `out`. It may use _core and TINY; a ValueError's text comes back as out["error"]."""
    program = f"""
import json, os
from gemlet import _core
TINY = {str(TINY)!r}
out = {{}}
try:
{chr(10).join("    " + line for line in code.splitlines())}
except ValueError as error:
    out["error"] = str(error)
print(json.dumps(out))
"""
    clean = {k: v for k, v in os.environ.items() if k not in ("GEMLET_ISA", "GEMLET_THREADS")}
    done = subprocess.run(
        [sys.executable, "-c", program], env={**clean, **environment}, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def test_the_plainest_set_comes_first() -> None:
    assert _core.isas()[0] == "scalar"
    assert len(set(_core.isas())) == len(_core.isas())


def test_the_best_set_is_the_default_and_never_an_emulated_one() -> None:
    default = in_a_process("out['isa'] = _core.isa()")["isa"]
    assert default == _core.isas()[-1]
    assert "emulated" not in default


@pytest.mark.parametrize("isa", _core.isas())
def test_a_forced_set_takes_effect(isa: str) -> None:
    code = "out['isa'] = _core.isa()\nout['model'] = _core.Model(TINY, threads=1).info()['isa']"
    assert in_a_process(code, GEMLET_ISA=isa) == {"isa": isa, "model": isa}


def test_a_model_gives_the_same_bits_on_every_set() -> None:
    code = "out['bits'] = _core.Model(TINY, threads=2).logits([2, 5, 9, 1, 7, 3]).tobytes().hex()"
    bits = {in_a_process(code, GEMLET_ISA=isa)["bits"] for isa in _core.isas()}
    assert len(bits) == 1
    assert any(byte for byte in bytes.fromhex(bits.pop()))


@pytest.mark.parametrize("wrong", ["neon2", "AVX2", "avx2 ", "avx1024"])
def test_an_absent_set_is_refused_by_name_with_those_present(wrong: str) -> None:
    for code in ("_core.isa()", "_core.Model(TINY)"):
        message = in_a_process(code, GEMLET_ISA=wrong)["error"]
        assert repr(wrong) in message
        assert "GEMLET_ISA" in message
        for isa in _core.isas():
            assert isa in message


def test_an_empty_environment_variable_is_an_unset_one() -> None:
    code = "out['isa'] = _core.isa()\nout['threads'] = _core.cpu()['environment']"
    assert in_a_process(code, GEMLET_ISA="", GEMLET_THREADS="") == {"isa": _core.isas()[-1], "threads": 0}


@pytest.mark.parametrize("threads", ["1", "3", "7"])
def test_the_forced_number_of_threads_takes_effect(threads: str) -> None:
    code = "out['cpu'] = _core.cpu()\nout['model'] = _core.Model(TINY).info()['threads']"
    out = in_a_process(code, GEMLET_THREADS=threads)
    assert out["cpu"]["threads"] == out["cpu"]["environment"] == out["model"] == int(threads)


@pytest.mark.parametrize("wrong", ["0", "-1", "two", "1.5", "4x", "99999999999999999999", "1025"])
def test_a_wrong_number_of_threads_is_refused(wrong: str) -> None:
    for code in ("_core.cpu()", "_core.Model(TINY)"):
        message = in_a_process(code, GEMLET_THREADS=wrong)["error"]
        assert "GEMLET_THREADS" in message
        assert f"'{wrong}'" in message
        assert "1024" in message


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs an affinity mask")
def test_the_affinity_mask_is_respected() -> None:
    one = min(os.sched_getaffinity(0))
    code = f"""os.sched_setaffinity(0, {{{one}}})
out['cpu'] = _core.cpu()
out['model'] = _core.Model(TINY).info()['threads']"""
    out = in_a_process(code)
    assert out["cpu"]["affinity"] == 1
    assert out["cpu"]["threads"] == 1
    assert out["cpu"]["online"] >= 1
    assert out["model"] == 1


def test_threads_follow_the_mask_and_the_quota() -> None:
    cpu = in_a_process("out.update(_core.cpu())")
    allowed = cpu["affinity"]
    if cpu["cgroup_quota"] > 0:
        allowed = min(allowed, max(1, int(cpu["cgroup_quota"] + 0.01)))
    assert cpu["affinity"] <= cpu["online"]
    assert cpu["threads"] == allowed
    assert cpu["environment"] == 0
