"""`gemlet list`: every model that `gemlet.load` finds by a name."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from . import output

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from ..local.caches import CachedModel


def add_arguments(parser: ArgumentParser) -> None:
    """Nothing of its own: what to look at is told by the environment."""


def run(args: Namespace) -> int:
    """A table, or the models as JSON with paths and files."""
    from ..local import caches
    from ..local.demo import models_folder

    models = list(caches.everything())
    places = {"models": str(models_folder()), "hub": str(caches.hub_cache())}
    if args.json:
        output.print_json({"models": [model.as_dict() for model in models], "folders": places})
        return 0
    if not models:
        output.say(f"gemlet: no models in {places['models']} and {places['hub']}; fetch one: gemlet pull ORG/NAME")
        return 0
    head = [("name", "format", "quant", "size", "modified", "")]
    lines = output.table([*head, *map(_row, models)], right=[3]).splitlines()
    print("\n".join([output.colour(lines[0], "1"), *lines[1:]]))
    return 0


def _row(model: CachedModel) -> tuple[str, str, str, str, str, str]:
    when = datetime.fromtimestamp(model.modified).strftime("%Y-%m-%d %H:%M") if model.path else "-"
    note = "not put together yet" if model.path is None else "not complete: pull it again" if model.missing else ""
    if model.missing and model.origin != "hub":
        note = "not complete"
    return model.name, model.format, model.quant, output.size(model.bytes), when, note
