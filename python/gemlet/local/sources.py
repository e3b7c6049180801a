"""Which file or folder a model's name stands for: a path, "demo", a name in GEMLET_MODELS, or a pulled name.

Looks on this machine only and never connects; opening and checking what it finds is the engine's work.
"""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import BadFile, GemletError, ModelNotFound, UnsupportedModel
from . import caches, demo, names

# GGUF's general.file_type in words: what most of the weights were quantised to.
FILE_TYPES = {
    **dict(enumerate(("F32", "F16", "Q4_0", "Q4_1"))),
    **dict(enumerate(("Q8_0", "Q5_0", "Q5_1", "Q2_K", "Q3_K_S", "Q3_K_M", "Q3_K_L"), 7)),
    **dict(enumerate(("Q4_K_S", "Q4_K_M", "Q5_K_S", "Q5_K_M", "Q6_K"), 14)),
    **{21: "Q2_K_S", 25: "IQ4_NL", 30: "IQ4_XS", 32: "BF16", 38: "MXFP4"},
}


def resolve(path: str | os.PathLike[str]) -> str:
    """The GGUF file or the folder that a name stands for, or ModelNotFound with where it was looked for."""
    name = _text(path)
    if name == "demo":
        return os.fspath(demo.path())
    local = os.path.expanduser(name)
    if os.path.isdir(local):
        return _inside(local, None)[0]
    if os.path.exists(local):
        return local
    return _path_of(_known(name, caches.hub_cache()))


def choose(path: str | os.PathLike[str], quant: str) -> tuple[str, str | None]:
    """As `resolve`, where `quant` picks one of several GGUF files; it is given back if that is not its meaning here."""
    if not isinstance(quant, str):
        raise TypeError(f"load: quant must be a string, not {quant!r}")
    name = _text(path)
    local = os.path.expanduser(name)
    if name == "demo" or os.path.isfile(local):
        return name, quant
    if os.path.isdir(local):
        return _inside(local, quant)
    asked = names.parse(name)
    if asked is None or any(name == model.name for model in caches.own_models()):
        own = demo.models_folder() / name
        return _inside(os.fspath(own), quant) if own.is_dir() and names.is_inside(name) else (name, quant)
    return pretrained(name, quant)


def drafter(draft: str | os.PathLike[str] | None) -> str:
    """ "auto", "lookup", "off", or the file or folder of a drafter."""
    if draft is None:
        return "off"
    try:
        name = os.fspath(draft)
    except TypeError:
        name = None
    if not isinstance(name, str):
        raise TypeError(f"load: draft must be a string, a path or None, not {draft!r}")
    if name in ("auto", "lookup", "off"):
        return name
    path = os.path.expanduser(name)
    if not os.path.exists(path):
        raise ModelNotFound(f"load: draft={name!r} is no file or folder; expected one, or 'auto', 'lookup' or 'off'")
    return path


# What a drafter's file has near its start, and the model_type of a drafter's folder ends with.
_DRAFTERS = (b"gemma4-assistant", b"gemma4_assistant", b"gemma4_mtp")
_ASSISTANT = "_assistant"
_BEGINNING = 4096


def drafters_beside(path: str) -> list[str]:
    """Files and folders beside a model that say they are drafters of Gemma 4. Whose, the engine finds out."""
    folder = path if os.path.isdir(path) else os.path.dirname(os.path.abspath(path))
    found = []
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.name.endswith(".gguf") and entry.is_file() and not os.path.samefile(entry.path, path):
            with open(entry.path, "rb") as file:
                beginning = file.read(_BEGINNING)
            if any(name in beginning for name in _DRAFTERS):
                found.append(entry.path)
        elif os.path.isdir(path) and entry.is_dir() and _is_drafter(entry.path):
            found.append(entry.path)
    apart = os.path.abspath(path) + "-assistant"
    if os.path.isdir(path) and _is_drafter(apart):
        found.append(apart)
    return found


# The kinds of projectors of Gemma 4, as a file with one says near its start: of what sees, and of what hears.
_PROJECTORS = (b"gemma4v", b"gemma4uv", b"gemma4a", b"gemma4ua")


def projectors_beside(path: str) -> list[str]:
    """GGUF files beside a GGUF model that say they hold what sees or hears for a Gemma 4. Whose, the engine finds out.

    A folder is its own: its weights may have been written to another file, what sees is read where it was.
    """
    if os.path.isdir(path):
        return [path]
    found = []
    for entry in sorted(os.scandir(os.path.dirname(os.path.abspath(path))), key=lambda entry: entry.name):
        if entry.name.endswith(".gguf") and entry.is_file() and not os.path.samefile(entry.path, path):
            with open(entry.path, "rb") as file:
                beginning = file.read(16 * _BEGINNING)  # long descriptions may come first
            if b"clip" in beginning and any(name in beginning for name in _PROJECTORS):
                found.append(entry.path)
    return found


def _is_drafter(folder: str) -> bool:
    import json

    try:
        with open(os.path.join(folder, "config.json"), encoding="utf-8") as file:
            config = json.load(file)
    except (OSError, ValueError):
        return False  # whatever it is, nobody asked for it by name
    return isinstance(config, dict) and str(config.get("model_type", "")).endswith(_ASSISTANT)


def _text(path: str | os.PathLike[str]) -> str:
    try:
        name = os.fspath(path)
    except TypeError:
        raise TypeError(f"load: path must be a string or a path, not {path!r}") from None
    if not isinstance(name, str):
        raise TypeError(f"load: path must be a string or a path, not {path!r}")
    return name


def pretrained(
    name: str, quant: str | None = None, revision: str | None = None, cache_dir: str | os.PathLike[str] | None = None
) -> tuple[str, str | None]:
    """The path of a pulled model, and what of `quant` is left for loading: None, unless the model is a folder.

    Looks in `cache_dir`, else in the hub's cache.
    """
    asked = names.parse(name) if isinstance(name, str) else None
    if asked is None:
        raise ValueError(f"from_pretrained: {name!r} is no name on the hub; expected 'org/name' or 'org/name:quant'")
    if revision is not None and not names.is_revision(revision):
        raise ValueError(f"from_pretrained: revision {revision!r} is no branch, tag or commit")
    if revision is not None and asked.revision not in (None, revision):
        raise ValueError(
            f"from_pretrained: revision {revision!r} and {asked.revision!r} of {name!r} contradict each other"
        )
    if quant is not None and asked.quant is not None and quant.upper() != asked.quant.upper():
        raise ValueError(f"from_pretrained: quant {quant!r} contradicts {name!r}")
    cache = caches.hub_cache() if cache_dir is None else Path(cache_dir).expanduser()
    repo = names.Name(asked.repo, revision or asked.revision)
    wanted = names.Name(repo.repo, repo.revision, quant or asked.quant)
    if quant is not None and asked.quant is None:
        found = _only_folder(repo, cache)
        if found is not None:
            return _path_of(found), quant
    return _path_of(_known(str(wanted), cache)), None


def _only_folder(name: names.Name, cache: Path) -> caches.CachedModel | None:
    """The model, if it is a folder without GGUF files to choose from."""
    try:
        found = caches.find(name, cache)
    except ModelNotFound:
        return None
    if found is None or found.format != "safetensors" or names.gguf_groups(found.files):
        return None
    return found


def _known(name: str, cache: Path) -> caches.CachedModel:
    """The model of GEMLET_MODELS or of a cache that has this name."""
    for model in caches.own_models():
        if name in (model.name, f"{model.name}.gguf"):
            return model
    asked = names.parse(name)
    if asked is not None:
        found = caches.find(asked, cache)
        if found is not None:
            return found
    raise _not_found(name, asked, cache)


def _path_of(model: caches.CachedModel) -> str:
    if model.missing:
        again = f"; fetch it: gemlet pull {model.name}" if model.origin == "hub" else ""
        raise BadFile(
            f"load: {model.name} is not complete: {names.listed(model.missing)} missing in {model.path}{again}"
        )
    if model.path is None:
        raise GemletError(f"load: {model.name} has no file yet")
    return model.path


def _inside(folder: str, quant: str | None) -> tuple[str, str | None]:
    """The folder itself if it is a model, else the GGUF file in it that is meant."""
    files = sorted(entry.name for entry in os.scandir(folder) if entry.is_file())
    if any(file == "config.json" or file.endswith((".safetensors", ".safetensors.index.json")) for file in files):
        return folder, quant
    groups = names.gguf_groups(files)
    if not groups:
        raise UnsupportedModel(
            f"load: {folder} is a folder without a model: expected config.json with *.safetensors, or one *.gguf"
        )
    if quant is None and len(groups) > 1:
        listed = names.listed(group.files[0] for group in groups)
        raise UnsupportedModel(f"load: {folder} is a folder of {len(groups)} models: {listed}; give the path of one")
    group = names.pick(groups, quant, f"load: {folder}")
    if group.missing:
        raise BadFile(f"load: {folder}: {names.listed(group.missing)} missing, parts of {group.files[0]}")
    return os.path.join(folder, group.files[0]), None


def _not_found(name: str, asked: names.Name | None, cache: Path) -> ModelNotFound:
    import difflib

    text = f"load: no file {name!r} (from {os.getcwd()})"
    if name.endswith(".gguf") or (asked is None and os.sep in name):
        return ModelNotFound(f"{text}; give the path of a GGUF file or a model folder, or 'demo' for the demo model")
    text += f", no such model in {demo.models_folder()} (GEMLET_MODELS)" + (f" or in {cache} (hub)" if asked else "")
    known = {model.name.lower(): model.name for model in caches.everything(cache)}
    for model in list(known.values()):  # without the quant, a name is nearer to what people type
        known.setdefault(model.split(":")[0].lower(), model)
    near = [known[found] for found in difflib.get_close_matches(name.lower(), known, n=3, cutoff=0.5)]
    if near:
        text += f"; nearest: {names.listed(near)}"
    if asked is not None:
        return ModelNotFound(f"{text}; to fetch it: gemlet pull {asked}")
    return ModelNotFound(f"{text}; gemlet list shows what is there, 'demo' is the demo model")
