"""Which runs a sweep consists of."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import PurePath
from typing import Any

from drcnet.config import SweepLine, SweepSettings, TrainSettings, load_settings
from drcnet.errors import ConfigError
from drcnet.models import MODELS
from drcnet.train import effective_settings

__all__ = ["Planned", "plan"]


@dataclass(frozen=True)
class Planned:
    """One run of a sweep.

    Parameters
    ----------
    name : str
        Of its run folder.
    line : str
        Of its line in the table; runs of one line differ by seed and split only.
    settings : TrainSettings
        Model and recipe.
    """

    name: str
    line: str
    settings: TrainSettings


def plan(settings: SweepSettings) -> list[Planned]:
    """Spell a sweep out, line by line, each first without noise.

    Parameters
    ----------
    settings : SweepSettings
        The sweep.

    Returns
    -------
    list of Planned
        Names and settings; the folder of a run is LINE[-noise][-SPLIT][-sSEED], split and seed
        only where there are several.

    Raises
    ------
    ConfigError
        A model, an option or a key of a recipe is unknown, or two runs have one name.
    """
    planned = [run for name, line in settings.lines.items() for run in _runs(settings, name, line)]
    names = [run.name for run in planned]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ConfigError("lines", "runs of different names", f"{twice!r} twice")
    return planned


def _runs(settings: SweepSettings, name: str, line: SweepLine) -> Iterator[Planned]:
    noise = settings.noise if line.noise is None else line.noise
    seeds = settings.seeds if line.seeds is None else line.seeds
    for noisy, split, seed in product(sorted(set(noise)), settings.splits, seeds):
        of_line = f"{name}-noise" if noisy else name
        of_run = of_line
        if len(settings.splits) > 1:
            of_run += f"-{PurePath(split).stem}"
        if len(seeds) > 1:
            of_run += f"-s{seed}"
        recipe = _recipe(settings, name, line)
        changes: dict[str, Any] = {"split": split, "seed": seed}
        changes |= _rests_on(recipe, name, {"split": PurePath(split).stem, "seed": str(seed)})
        if noisy:
            changes["augment"] = recipe.augment.model_copy(update={"noise": True})
        yield Planned(of_run, of_line, recipe.model_copy(update=changes))


def _rests_on(recipe: TrainSettings, name: str, words: dict[str, str]) -> dict[str, Any]:
    """The runs that a run rests on, by their own names."""

    def spell(run: str) -> str:
        try:
            return run.format_map(words)
        except (KeyError, ValueError, IndexError) as err:
            raise ConfigError(f"lines.{name}.recipe", "{split} or {seed}", repr(run)) from err

    found: dict[str, Any] = {}
    if recipe.begin_from is not None:
        found["begin_from"] = spell(recipe.begin_from)
    if recipe.teachers is not None:
        runs = tuple(spell(run) for run in recipe.teachers.runs)
        found["teachers"] = recipe.teachers.model_copy(update={"runs": runs})
    return found


def _recipe(settings: SweepSettings, name: str, line: SweepLine) -> TrainSettings:
    """Lay what is a line's own over the recipe of all."""
    model = line.model or name
    if model not in MODELS:
        raise ConfigError(f"lines.{name}.model", f"one of {', '.join(MODELS)}", repr(model))
    known = MODELS[model].options
    own = {"options": {}} | line.recipe
    shared = {k: v for k, v in (settings.options | settings.recipe.options).items() if k in known}
    unknown = sorted(set(own["options"]) - set(known))
    if unknown:
        wanted = f"options of {model} ({', '.join(known)})"
        raise ConfigError(f"lines.{name}.recipe.options", wanted, ", ".join(unknown))
    values = settings.recipe.model_dump() | own | {"model": model}
    values["options"] = shared | own["options"]
    return effective_settings(load_settings(None, TrainSettings, values))
