import numpy as np
import pytest

from drcnet.config import SimulateSettings
from drcnet.errors import NightError
from drcnet.instruments import load_instrument
from drcnet.simulate.optics import Optics, Traces, make_optics


@pytest.fixture(scope="module")
def lamost():
    return load_instrument("lamost-lrs")


@pytest.mark.parametrize("arm", ["blue", "red"])
@pytest.mark.parametrize("spid", range(1, 17))
def test_all_fibres_of_all_spectrographs_stay_on_the_chip(lamost, arm, spid):
    traces = make_optics(lamost, arm, SimulateSettings(), spid).traces()
    assert traces.centers.min() > 20
    assert traces.centers.max() < lamost.n_spatial - 20
    assert np.all(np.diff(traces.centers, axis=0) > 14)
    assert np.all(traces.dispersion > 0)
    nominal = lamost.arms[arm]
    assert np.abs(traces.wavelength[:, 0] - nominal.wavelength_start).max() < 20
    assert np.abs(traces.wavelength[:, -1] - nominal.wavelength_stop).max() < 20


def test_widths_grow_from_the_centre_to_the_corners(lamost):
    fwhm = make_optics(lamost, "red", SimulateSettings(profile_fwhm=7.0), 1).traces().fwhm
    assert fwhm.min() == pytest.approx(7.0, abs=0.01)
    assert fwhm[0, 0] == pytest.approx(fwhm.max(), rel=0.01)
    assert 7.8 < fwhm.max() < 8.2


def test_traces_bend_and_wavelengths_smile_by_pixels(lamost):
    traces = make_optics(lamost, "blue", SimulateSettings(), 2).traces()
    bend = np.ptp(traces.centers - traces.centers[:, :1], axis=1)
    assert bend.min() > 0.5
    smile = np.ptp(traces.wavelength[:, 2000]) / traces.dispersion.mean()
    assert 3 < smile < 25


def test_flexure_moves_light_by_whole_pixels_exactly():
    optics = Optics(
        np.array([[50.0, 1.0, 2.0, 0.5]]),
        np.full((1, 3), 7.0),
        np.array([[5e3, 9.0, 1.0, 0.2]]),
        101,
    )
    still, moved = optics.traces(), optics.flexed(0.25, 3.0).traces()
    np.testing.assert_allclose(moved.centers[:, 3:], still.centers[:, :-3] + 0.25)
    np.testing.assert_allclose(moved.wavelength[:, 3:], still.wavelength[:, :-3])


def test_geometry_belongs_to_seed_spectrograph_and_arm(lamost):
    def shape(seed, spid, arm):
        return make_optics(lamost, arm, SimulateSettings(seed=seed), spid).centers

    first = shape(1, 1, "blue")
    np.testing.assert_array_equal(first, shape(1, 1, "blue"))
    for other in (shape(2, 1, "blue"), shape(1, 2, "blue"), shape(1, 1, "red")):
        assert not np.allclose(first, other)


def test_traces_of_unequal_shape_are_refused():
    with pytest.raises(NightError, match="one shape"):
        Traces(np.zeros((2, 3)), np.zeros((2, 3)), np.zeros((2, 4)))
