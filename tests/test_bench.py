"""The arithmetic of the roofline, with limits and speeds that are known."""

from __future__ import annotations

import pytest

from gemlet import bench


class Known:
    name, isa, threads = "known", "scalar", 3
    info = {  # noqa: RUF012
        "madds_per_token": 1000,
        "madds_per_prompt_token": 600,
        "madds_head": 5000,
        "bytes_per_token": 2000,
    }


def test_fractions_count_what_was_executed():
    limits = {"read_gb_s": 1e-3, "int8_gops": 1e-3}  # 1 MB/s, 1 Mop/s
    samples = {"prefill": [(100.0, limits), (200.0, limits), (400.0, limits)], "decode": [(50.0, limits)]}
    report = bench._report(Known(), 10, 5, 0.25, {"peak_rss_mib": 1.0}, samples)
    assert report["prefill"] == {
        "tokens": 10,
        "tok_s": 200.0,
        "limit_fraction": pytest.approx(200 * 2 * (0.9 * 600 + 100 + 500) / 1e6),
    }
    assert report["decode"] == {"tokens": 5, "tok_s": 50.0, "limit_fraction": pytest.approx(50 * 2000 / 1e6)}
    assert (report["load_s"], report["threads"], report["limits"]) == (0.25, 3, limits)


def test_limits_are_measured_around_each_sample(monkeypatch):
    calls = []

    def limits(threads: int) -> dict[str, float]:
        calls.append(("limits", threads))
        return {"read_gb_s": float(len(calls)), "int8_gops": 10.0}

    monkeypatch.setattr(bench._core, "measure_limits", limits)
    tok_s, found = bench._sample(Known(), lambda: calls.append("run") or 7.0)
    assert calls == [("limits", 3), "run", ("limits", 3)]
    assert (tok_s, found) == (7.0, {"read_gb_s": 2.0, "int8_gops": 10.0})


def test_resident_memory_grows_with_what_is_used():
    before = bench.resident()
    block = bytearray(64 << 20)
    block[::4096] = b"x" * len(block[::4096])
    after = bench.resident()
    assert after["anon_mib"] - before["anon_mib"] > 50
    assert after["peak_rss_mib"] >= before["peak_rss_mib"]


@pytest.mark.parametrize("options", [{"prompt": 0}, {"generate": 1}, {"repeat": 0}])
def test_sizes_are_checked_before_loading(options):
    with pytest.raises(ValueError, match="bench"):
        bench.measure("no-such-file", **options)
