from functools import partial

import numpy as np
import polars as pl
import pytest

from drcnet.config import SimulateSettings, StripeSettings
from drcnet.frames.calibrate import master_bias
from drcnet.frames.read import parse_name, read_frame
from drcnet.instruments import load_instrument
from drcnet.simulate.survey import simulate
from drcnet.stripes.calibration import calibrate_arm
from drcnet.stripes.measure import measure_arm
from drcnet.stripes.snr import combined_snr, measured_snrr, whole_profile


def flat_light(level, sigma, start=5500.0, stop=7000.0, rows=1500):
    wave = np.linspace(start, stop, rows)[None]
    return np.full((1, rows), level), np.full((1, rows), sigma**-2.0), wave


def expected(snr_row, step):
    """S/N a row to S/N a 1e-4 dex at the middle of the band."""
    middle = np.sqrt(5500.0 * 7000.0)
    return snr_row * np.sqrt(middle * np.log(10) * 1e-4 / step)


@pytest.mark.parametrize("exposures", [1, 3])
def test_exposures_add_in_quadrature(exposures):
    light, ivar, wave = flat_light(50.0, 10.0)
    found = combined_snr([light] * exposures, [ivar] * exposures, [wave] * exposures)
    wanted = expected(5.0, wave[0, 1] - wave[0, 0]) * np.sqrt(exposures)
    np.testing.assert_allclose(found, wanted, rtol=1e-3)


def test_noise_is_not_signal(rng):
    _, ivar, wave = flat_light(0.0, 10.0)
    found = combined_snr([rng.normal(0, 10, (1, 1500))], [ivar], [wave])
    assert abs(found[0]) < 0.3


def test_bad_rows_and_gaps_do_not_matter():
    light, ivar, wave = flat_light(50.0, 10.0)
    ivar[:, ::7] = 0.0
    light[:, ::7] = 1e6
    ivar[:, 400:700] = 0.0
    found = combined_snr([light], [ivar], [wave])
    np.testing.assert_allclose(found, expected(5.0, wave[0, 1] - wave[0, 0]), rtol=0.01)


def test_beyond_the_band_there_is_none():
    found = combined_snr(*[[part] for part in flat_light(50.0, 10.0, 4000.0, 5000.0)])
    assert np.isnan(found).all()


@pytest.mark.parametrize(("light", "wanted"), [(1e8, 1 / 0.9354), (1e-4, 1.0093)])
def test_the_whole_profile_gains_the_light_beyond_the_stripe(light, wanted):
    """Bright: the light inside, by erf over phases; dark: the sum of the squared profile."""
    one = np.ones(1)
    gain = whole_profile(np.full((1, 3), light), 4 * one, 7 * one, 11)
    np.testing.assert_allclose(gain, wanted, rtol=2e-3)
    wide = whole_profile(np.full((1, 3), light), 4 * one, 7 * one, 41)
    np.testing.assert_allclose(wide, 1.0, atol=1e-3)


def test_a_fibre_without_a_width_is_left_alone():
    gain = whole_profile(np.full((2, 3), 1e4), np.full(2, 4.0), np.array([np.nan, 7.0]), 11)
    assert (gain[0] == 1).all()
    assert (gain[1] > 1.05).all()


@pytest.mark.slow
@pytest.mark.parametrize("exposures", [1, 3])
def test_it_is_the_catalogue_s_to_five_percent(tmp_path, tiny_path, toy_stars, exposures):
    narrow = tiny_path.with_name("narrow.toml")
    settings = SimulateSettings(
        instrument=str(narrow),
        seed=7,
        exposures=exposures,
        sky_fibers=3,
        dead_fibers=0,
        bias_frames=5,
        workers=1,
    )
    night = simulate(settings, tmp_path / "night", stars=toy_stars)
    profile, cut = load_instrument(str(narrow)), StripeSettings(min_identity=0.0)
    files = {}
    for path in sorted((night / "raw").iterdir()):
        name = parse_name(path, profile)
        files.setdefault((name.arm, name.kind), []).append(path)
    truth = pl.read_parquet(night / "truth" / "fibers.parquet").sort("fiberid")
    sky = (truth["target"].str.to_lowercase() == "sky").to_numpy()
    arms = []
    for arm in ("blue", "red"):
        bias = master_bias(files[arm, "bias"], profile)
        read = partial(read_frame, profile=profile, master_bias=bias)
        flat, arc = (read(files[arm, kind][0]) for kind in ("flat", "arc"))
        calibration = calibrate_arm(flat, arc, profile, cut)
        arms += [
            measure_arm(read(path), calibration, cut, sky_fibers=sky)
            for path in files[arm, "object"]
        ]
    found = measured_snrr(arms, row_start=cut.row_start, n_wave=profile.n_wave)
    wanted = truth["snrr"].to_numpy()
    known = (wanted > 10) & (wanted < 100) & np.isfinite(found)
    ratio = found[known] / wanted[known]
    assert known.sum() >= 5
    assert np.median(ratio) == pytest.approx(1.0, abs=0.05)
