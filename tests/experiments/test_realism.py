import numpy as np
import polars as pl
import pytest

from drcnet.config import SimulateSettings
from drcnet.errors import SpectrumError
from drcnet.experiments.realism import SUBCLASSES, Realism, realism_sets
from drcnet.experiments.realism_light import ccd
from drcnet.experiments.realism_page import write_realism
from drcnet.experiments.rest_spectra import common_grid


@pytest.fixture
def made_up():
    grid = common_grid()
    scores = pl.DataFrame(
        {
            "trained_on": ["real", "same", "libraries", "plain"],
            "spectra": [10] * 4,
            "stars": [10] * 4,
            "accuracy": [0.85, 0.84, 0.82, 0.80],
            "low": [0.8] * 4,
            "high": [0.9] * 4,
            "accuracy_inner": [0.9] * 4,
            "low_inner": [0.8] * 4,
            "high_inner": [0.95] * 4,
        }
    )
    wave = np.arange(3700.0, 9100.0, 10.0)
    curve = pl.DataFrame({"wavelength": wave, "real": 1.0, "simulated": 0.9})
    return Realism(
        classifier=scores,
        spectra=pl.DataFrame({"subclass": ["F5"], "rms": [0.01]}),
        medians={
            (name, kind): np.ones(len(grid))
            for name in SUBCLASSES
            for kind in ("real", "simulated")
        },
        snr_shape=curve,
        sky=pl.DataFrame({"line": ["O I 6300"], "uves": [144.0]}),
        sky_spectra=curve.rename({"real": "uves"}),
        ccd=pl.DataFrame({"arm": ["blue"], "real": [6.6]}),
    )


def test_the_page_and_its_figures_are_the_same_again(made_up, tmp_path):
    for folder in ("one", "two"):
        write_realism(made_up, tmp_path / folder)
    names = sorted(p.name for p in (tmp_path / "one").iterdir())
    assert names == ["realism-sky.png", "realism-snr.png", "realism-spectra.png", "realism.md"]
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_the_page_tells_the_gaps_in_points(made_up, tmp_path):
    text = write_realism(made_up, tmp_path).read_text()
    for said in ("1.0 points when LAMOST", "3.0 points with library", "5.0 points with the"):
        assert said in " ".join(text.split())
    assert "| 4500-5500 | 0.90 | 0.90 | 0.90 |" in text
    assert "What is not modelled" in text


def test_bias_frames_show_the_read_noise_of_the_profile(tiny_path, tmp_path):
    (tmp_path / "bias_stats_1.csv").write_text(
        "ccd,med_frame_sstd,bias_mean,bias_sstd\n01b,6,0.1,2\n01r,10,0.1,2\n02b,8,0.1,2\n"
    )
    settings = SimulateSettings(instrument=str(tiny_path), cosmic_rays=0)
    table = ccd(settings, tmp_path)
    found = {(a, n): (r, s) for a, n, _, r, _, s in table.iter_rows()}
    real, ours = found["blue", "med_frame_sstd"]
    assert real == 7
    # 4 e- at 1 e-/ADU on one half, 3 e- at 2 on the other; the median of five frames, which
    # holds the frame itself, takes some of it away
    noise = np.sqrt((4.0**2 + 1.5**2) / 2)
    assert 0.8 * noise < ours < 1.05 * noise


def test_absent_statistics_are_named(tiny_path, tmp_path):
    with pytest.raises(SpectrumError, match="bias_stats"):
        ccd(SimulateSettings(instrument=str(tiny_path)), tmp_path)


def test_the_small_nights_see_every_star_once():
    sets = realism_sets()
    assert set(sets) == {"libraries", "lamost"}
    for name, stars in (("libraries", 856), ("lamost", 1224)):
        one = sets[name].simulate
        room = 227 * one.plates * one.exposures * len(one.spectrographs)
        assert room >= stars
        assert sets[name].split.kind == "test"
