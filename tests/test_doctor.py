"""Reasons that doctor gives, without needing the machines they are about."""

from __future__ import annotations

import pytest

from gemlet import doctor


@pytest.mark.parametrize(
    ("affinity", "quota", "environment", "why"),
    [
        (8, 0, 0, "all 8 processors"),
        (4, 0, 0, "this process may use 4 of 8 processors (affinity)"),
        (8, 1.5, 0, "the control group grants 1.5 of 8 processors"),
        (2, 4.0, 0, "this process may use 2 of 8 processors (affinity)"),
        (8, 2.0, 3, "GEMLET_THREADS=3"),
    ],
)
def test_the_reason_for_the_threads(affinity, quota, environment, why):
    cpu = {"online": 8, "affinity": affinity, "cgroup_quota": quota, "environment": environment}
    assert doctor.why_threads(cpu) == why


def test_every_extra_of_the_project_is_looked_for():
    import re
    from pathlib import Path

    text = (Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    section = text.split("[project.optional-dependencies]")[1].split("\n[")[0]
    extras = set(re.findall(r"^(\w+) = ", section, re.MULTILINE))
    assert set(doctor.EXTRAS) == extras - {"all", "dev", "parity"}
