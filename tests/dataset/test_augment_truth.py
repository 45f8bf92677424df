"""Faded stars beside stars simulated as faint: nothing simple tells them apart."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from drcnet.config import PrepareSettings, StripeSettings

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
GROUPS = 3
LONGER = {  # the tiny spectrograph with twenty fibres, and arms long enough for its arcs
    "shape = [256, 192]": "shape = [384, 392]",
    "[0, 256]": "[0, 384]",
    "data_x = [0, 80]": "data_x = [0, 180]",
    "data_x = [80, 160]": "data_x = [180, 360]",
    "[160, 176]": "[360, 376]",
    "[176, 192]": "[376, 392]",
    "4780.0": "4030.0",
    "4926.0": "4470.0",
    "6400.0": "6300.0",
    "6615.0": "6940.0",
    "count = 8": "count = 20",
    "block = 4": "block = 10",
}


def load(name):
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def bench():
    """The benchmark's two scripts."""
    load("augmentation_night")
    yield load("augmentation_auc")
    for name in ("augmentation_night", "augmentation_auc"):
        del sys.modules[name]


@pytest.fixture(scope="module")
def night(bench, tiny_path, toy_stars, tmp_path_factory):
    """Every star bright and faint on twenty fibres: the store, and the table of its sights."""
    folder = tmp_path_factory.mktemp("sights")
    text = tiny_path.read_text()
    for old, new in LONGER.items():
        assert old in text
        text = text.replace(old, new)
    profile = folder / "longer.toml"
    profile.write_text(text)
    stripes = StripeSettings(row_start=10, row_stop=368, min_identity=0)
    prepare = PrepareSettings(instrument=str(profile), stripes=stripes, workers=1)
    settings = bench.night_settings(
        GROUPS, 3, instrument=str(profile), sky_fibers=6, dead_fibers=0, bias_frames=3
    )
    return bench.make_night(folder, settings, prepare, toy_stars)


def scatter(x, view, bench):
    """Scatter from pixel to pixel, one number a star."""
    x = bench.spectra_of(x, view).numpy()
    step = np.abs(x[..., 1:-1] - 0.5 * (x[..., :-2] + x[..., 2:]))
    return np.log(np.median(step.reshape(len(x), -1), axis=1))


def certainty(x, _view, _bench):
    """Inverse variance, one number a star."""
    return np.log(np.nanmedian(x[:, :, 1].numpy().reshape(len(x), -1), axis=1))


def unrest(x, _view, _bench):
    """Steps of the inverse variance from pixel to pixel, one number a star."""
    ivar = x[:, :, 1].numpy()
    line = np.log(np.where(ivar > 0, ivar, np.nan))
    step = np.abs(line[..., 1:-1] - 0.5 * (line[..., :-2] + line[..., 2:]))
    return np.nanmean(step.reshape(len(x), -1), axis=1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("view", "number"),
    [
        ("stripes", scatter),
        ("box-sky", scatter),
        ("optimal-sky", scatter),
        ("optimal-ivar", scatter),
        ("optimal-ivar", certainty),
        ("optimal-ivar", unrest),
    ],
)
def test_faded_stars_are_told_from_faint_ones_only_without_their_noise(bench, night, view, number):
    store, sights = night
    assert len(sights) > 60
    real = number(bench.look(store, sights["faint"].to_numpy(), view), view, bench)
    label = np.repeat([0, 1], len(sights))

    def apart(made):
        return bench.auc(np.concatenate([real, number(made, view, bench)]), label)

    assert apart(bench.faded(store, sights, view)) == pytest.approx(0.5, abs=0.1)
    careless = apart(bench.faded(store, sights, view, careless=True))
    assert abs(careless - 0.5) > 0.25
