"""Every shipped configuration loads, and says the same after a round trip."""

from pathlib import Path

import pytest

from drcnet.config import (
    Settings,
    SweepSettings,
    TrainSettings,
    load_settings,
    settings_toml,
)
from drcnet.errors import ConfigError
from drcnet.models import MODELS
from drcnet.sweep import plan

CONFIGS = sorted((Path(__file__).parents[1] / "configs").glob("*.toml"))
SWEEPS = sorted((Path(__file__).parents[1] / "configs" / "sweeps").glob("*.toml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_shipped_file_survives_a_round_trip(path, tmp_path):
    settings = load_settings(path, Settings)
    (tmp_path / "again.toml").write_text(settings_toml(settings))
    assert load_settings(tmp_path / "again.toml", Settings) == settings


def test_sweep_and_modern_recipe_are_one():
    modern = load_settings(CONFIGS[0].with_name("modern.toml"), Settings).train
    shared = load_settings(SWEEPS[0].with_name("paper-split.toml"), SweepSettings).recipe
    changed = {"model", "options", "max_seconds"}
    assert all(
        recipe.model_dump(exclude=changed) == shared.model_dump(exclude=changed)
        for recipe in modern.values()
    )


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_shipped_sweep_can_be_planned(path, tmp_path):
    settings = load_settings(path, SweepSettings)
    (tmp_path / "again.toml").write_text(settings_toml(settings))
    assert load_settings(tmp_path / "again.toml", SweepSettings) == settings
    assert len(plan(settings)) > 1


def test_sweep_on_the_paper_split_holds_every_model():
    settings = load_settings(SWEEPS[0].with_name("paper-split.toml"), SweepSettings)
    assert {run.settings.model for run in plan(settings)} == set(MODELS)
    noisy = {run.settings.model for run in plan(settings) if run.settings.augment.noise}
    ladder = {name for name in MODELS if name.startswith("ladder-")}
    assert noisy >= {"drcnet", "rcnet", "sscnn", "logreg", "mlp"} | ladder


def test_there_are_shipped_files():
    assert {path.stem for path in CONFIGS} >= {"demo", "paper", "real-stars"}


def test_paper_recipe_is_table_2():
    recipe = load_settings(Path(__file__).parents[1] / "configs" / "paper.toml", Settings).train[
        "drcnet"
    ]
    assert recipe == TrainSettings()
    assert (recipe.optimizer, recipe.learning_rate, recipe.batch_size) == ("adagrad", 1e-3, 4)
    assert (recipe.epochs, recipe.patience, recipe.options) == (300, 50, {})


@pytest.mark.parametrize(
    ("text", "unknown", "known"),
    [
        ("[simulate]\nseeed = 1", "simulate.seeed", "seed"),
        ("[prepare.stripes]\nhalf = 1", "prepare.stripes.half", "half_width"),
        ("[train.a]\nlr = 1", "train.a.lr", "learning_rate"),
        ("[nonsense]", "nonsense", "simulate"),
    ],
)
def test_unknown_key_is_named_with_the_known_ones(tmp_path, text, unknown, known):
    path = tmp_path / "wrong.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_settings(path, Settings)
    assert str(path) in str(caught.value)
    assert f"unknown key '{unknown}'" in str(caught.value)
    assert known in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[simulate]\nplates = 0", "simulate.plates"),
        ("[simulate]\nsource = 'library'", "needs 'library'"),
        ("[prepare.stripes]\nrow_start = 9\nrow_stop = 9", "must exceed row_start"),
        ("[train", "TOML"),
    ],
)
def test_wrong_value_is_explained(tmp_path, text, message):
    path = tmp_path / "wrong.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_settings(path, Settings)


def test_absent_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match="nowhere.toml"):
        load_settings(tmp_path / "nowhere.toml", Settings)


def test_environment_names_a_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("DRCNET_SHARED_DATA", str(tmp_path))
    path = Path(__file__).parents[1] / "configs" / "real-stars.toml"
    assert load_settings(path, Settings).simulate.library_paths[0] == tmp_path / "miles"
    monkeypatch.delenv("DRCNET_SHARED_DATA")
    with pytest.raises(ConfigError, match="variable in it to be set"):
        _ = load_settings(path, Settings).simulate.library_paths


def test_overrides_are_dotted(tmp_path):
    settings = load_settings(None, Settings, {"prepare.workers": 3})
    assert settings.prepare.workers == 3
