"""Reasons that doctor gives, without needing the machines they are about."""

from __future__ import annotations

import pytest

from gemlet import doctor


@pytest.mark.parametrize(
    ("cpu", "forced", "why"),
    [
        ({"cores": 8, "affinity": 8, "cgroup_quota": None}, None, "all 8 cores"),
        ({"cores": 8, "affinity": 4, "cgroup_quota": None}, None, "this process may use 4 of 8 cores (affinity)"),
        ({"cores": 8, "affinity": 8, "cgroup_quota": 1.5}, None, "the cgroup allows 1.5 of 8 cores"),
        ({"cores": 8, "affinity": 8, "cgroup_quota": 2.0}, "3", "GEMLET_THREADS=3"),
    ],
)
def test_the_reason_for_the_threads(cpu, forced, why):
    assert doctor.why_threads(cpu, forced) == why


def test_every_extra_of_the_project_is_looked_for():
    import re
    from pathlib import Path

    text = (Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    section = text.split("[project.optional-dependencies]")[1].split("\n[")[0]
    extras = set(re.findall(r"^(\w+) = ", section, re.MULTILINE))
    assert set(doctor.EXTRAS) == extras - {"all", "dev"}
