"""Which file or folder a model's name stands for: a path, "demo", a name in GEMLET_MODELS, or a pulled name.

Looks on this machine only and never connects; opening and checking what it finds is the engine's work.
"""

from __future__ import annotations

import os
from pathlib import Path

from . import caches, names
from .errors import BadFile, GemletError, ModelNotFound, UnsupportedModel

# GGUF's general.file_type in words: what most of the weights were quantised to.
FILE_TYPES = {
    **dict(enumerate(("F32", "F16", "Q4_0", "Q4_1"))),
    **dict(enumerate(("Q8_0", "Q5_0", "Q5_1", "Q2_K", "Q3_K_S", "Q3_K_M", "Q3_K_L"), 7)),
    **dict(enumerate(("Q4_K_S", "Q4_K_M", "Q5_K_S", "Q5_K_M", "Q6_K"), 14)),
    **{21: "Q2_K_S", 25: "IQ4_NL", 30: "IQ4_XS", 32: "BF16", 38: "MXFP4"},
}


def resolve(path: str | os.PathLike[str]) -> str:
    """The GGUF file or the folder that a name stands for, or ModelNotFound with where it was looked for."""
    try:
        name = os.fspath(path)
    except TypeError:
        raise TypeError(f"load: path must be a string or a path, not {path!r}") from None
    if not isinstance(name, str):
        raise TypeError(f"load: path must be a string or a path, not {path!r}")
    if name == "demo":
        from . import demo

        return os.fspath(demo.path())
    local = os.path.expanduser(name)
    if os.path.isdir(local):
        return _inside(local)
    if os.path.exists(local):
        return local
    return _path_of(_known(name, caches.hub_cache()))


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
    own = caches.own_models()
    for model in own:
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


def _inside(folder: str) -> str:
    """The folder itself if it is a model, else the only model in it."""
    models = caches.folder_models(Path(folder), os.path.basename(os.path.abspath(folder)))
    if not models:
        raise UnsupportedModel(
            f"load: {folder} is a folder without a model: expected config.json with *.safetensors, or one *.gguf"
        )
    if len(models) > 1:
        files = names.listed(model.files[0] for model in models)
        raise UnsupportedModel(f"load: {folder} is a folder of {len(models)} models: {files}; give the path of one")
    return folder if models[0].format == "safetensors" else _path_of(models[0])


def _not_found(name: str, asked: names.Name | None, cache: Path) -> ModelNotFound:
    import difflib

    text = f"load: no file {name!r} (from {os.getcwd()})"
    if name.endswith(".gguf") or (asked is None and os.sep in name):
        return ModelNotFound(f"{text}; give the path of a GGUF file or a model folder, or 'demo' for the demo model")
    from .demo import models_folder

    text += f", no such model in {models_folder()} (GEMLET_MODELS)" + (f" or in {cache} (hub)" if asked else "")
    known = {model.name.lower(): model.name for model in caches.everything(cache)}
    for model in list(known.values()):  # without the quant, a name is nearer to what people type
        known.setdefault(model.split(":")[0].lower(), model)
    near = [known[found] for found in difflib.get_close_matches(name.lower(), known, n=3, cutoff=0.5)]
    if near:
        text += f"; nearest: {names.listed(near)}"
    if asked is not None:
        return ModelNotFound(f"{text}; to fetch it: gemlet pull {asked}")
    return ModelNotFound(f"{text}; gemlet list shows what is there, 'demo' is the demo model")
