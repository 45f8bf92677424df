"""What the flat says of a row, and the view that shows it."""

import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from drcnet.dataset.loader import electrons, lit_arms, rows_beside, see
from drcnet.dataset.profiles import (
    ANGSTROM,
    FLAT_ARRAYS,
    arm_reader,
    read_profiles,
    row_reader,
)
from drcnet.dataset.reading import row_bytes
from drcnet.dataset.store import ARMS, open_store
from drcnet.errors import StoreError
from drcnet.instruments import load_instrument

from .known_light import STRIPES, L, augmenter_of, make_work, samples_of

ROWS = np.array([3, 7, 30])
S = 11


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    return make_work(tmp_path_factory.mktemp("profiles") / "work")


@pytest.fixture
def store(work):
    return open_store(work)


def test_profile_and_neighbours_stand_below_stripe_and_sky(store):
    x = see("stripes-flat", row_reader(store, ROWS))
    assert x.shape == (3, 2, 3 * S + 1, L)
    assert x.dtype == np.float32
    plain = see("stripes-sky", row_reader(store, ROWS))
    np.testing.assert_array_equal(x[:, :, : S + 1], plain)
    profile, spilt = read_profiles(store, ROWS)
    np.testing.assert_array_equal(x[:, :, S + 1 : 2 * S + 1], profile)
    np.testing.assert_array_equal(x[:, :, 2 * S + 1 :], spilt)
    assert row_bytes(store, "stripes-flat") == x[0].nbytes


def test_stripe_and_what_stands_below_come_apart(store):
    x = torch.from_numpy(see("stripes-flat", row_reader(store, ROWS)))
    stripe, shown = electrons(x, "stripes-flat")
    below = rows_beside(x, "stripes-flat")
    assert shown == "stripes"
    assert torch.equal(torch.cat([stripe, below], dim=2).nan_to_num(), x.nan_to_num())
    assert below.shape[2] == 1 + 2 * S


@pytest.mark.parametrize("view", ["stripes-flat", "stripes-sky"])
def test_an_arm_without_a_pixel_is_dark_whatever_stands_below(store, view):
    x = see(view, row_reader(store, ROWS))
    assert lit_arms(x, view).all()
    x[1, 0, :S] = np.nan
    assert lit_arms(x, view).tolist() == [[True, True], [False, True], [True, True]]


def test_rows_in_any_order_have_their_own_profiles(store):
    profile, spilt = read_profiles(store, ROWS[::-1])
    for ours, theirs in zip((profile, spilt), read_profiles(store, ROWS), strict=True):
        np.testing.assert_array_equal(ours, theirs[::-1])
    assert len(read_profiles(store, np.empty(0, np.int64))[0]) == 0


def test_a_measured_exposure_answers_as_the_store_does(work, store):
    every = np.arange(store.n_fiber)
    wanted = row_reader(store, every)
    for a, arm in enumerate(ARMS):
        one = SimpleNamespace(**{k: store.read(k, every)[:, a] for k in ("offset", "optimal")})
        path = next((work / "traces").glob(f"01-{arm}-*.fits"))
        measured = SimpleNamespace(
            arms={arm: one}, calibrations={arm: path}, n_fiber=store.n_fiber
        )
        get = arm_reader(measured, arm, STRIPES)
        for name in (*FLAT_ARRAYS, "offset"):
            np.testing.assert_array_equal(get(name), wanted(name)[:, a])


def test_without_its_calibrations_a_store_shows_no_profile(work, tmp_path):
    shutil.copytree(work, tmp_path / "work")
    shutil.rmtree(tmp_path / "work" / "traces")
    with pytest.raises(StoreError, match="the calibration of spectrograph 01, arm blue"):
        see("stripes-flat", row_reader(open_store(tmp_path / "work"), ROWS))


def test_what_is_believed_stays_when_star_and_trace_change(work):
    augmenter = augmenter_of(work, "stripes-flat", noise=True, trace_shift=1.0, broaden=0.2)
    at = torch.tensor([6, 29])
    made, plain = augmenter.batch(at, 2), augmenter.original(at)
    assert made.shape == (2, 2, 3 * S + 1, L)
    assert torch.equal(made[:, :, S:], plain[:, :, S:])
    assert not torch.equal(made[:, :, :S].nan_to_num(), plain[:, :, :S].nan_to_num())
    assert augmenter.copy(2).shape == (len(augmenter.x), 2, 3 * S + 1, L)


def test_another_sky_comes_with_its_own_neighbours(work):
    augmenter = augmenter_of(work, "stripes-flat", replace_sky=True)
    made = augmenter.batch(torch.tensor([7]), 1)[0]
    last = 2 * S + 1
    assert any(torch.equal(made[:, last:], one[:, last:]) for one in augmenter.skies)
    assert not torch.equal(made[:, last:], augmenter.beside[7][:, last - S :])
    own = samples_of(work, "stripes-sky", augmenter.row[[7]])[0]
    profile, _ = read_profiles(own, augmenter.row[[7]])
    assert torch.equal(made[:, S + 1 : 2 * S + 1], torch.from_numpy(profile[0]))


@pytest.mark.parametrize(
    ("view", "base", "told"),
    [
        ("optimal-full", "optimal-ivar", ("sky", ANGSTROM)),
        ("stripes-full", "stripes-sky", (ANGSTROM,)),
    ],
)
def test_a_full_view_ends_with_what_it_is_told(store, view, base, told):
    get = row_reader(store, ROWS)
    x, plain = see(view, get), see(base, get)
    rows = plain.shape[2]
    np.testing.assert_array_equal(x[:, :, :rows], plain)
    for number, name in enumerate(told):
        np.testing.assert_array_equal(x[:, :, rows + number], get(name))
    assert row_bytes(store, view) == x[0].nbytes
    below = rows_beside(torch.from_numpy(x), view)
    assert torch.equal(below[:, :, -1], torch.from_numpy(get(ANGSTROM)))
    light, _ = electrons(torch.from_numpy(x), view)
    assert light.shape == ((3, 2, L) if view == "optimal-full" else (3, 2, S, L))
    x[1, 0, : 1 if view == "optimal-full" else S] = np.nan
    assert lit_arms(x, view).tolist() == [[True, True], [False, True], [True, True]]


def test_wavelengths_are_those_of_the_polynomials(store):
    found = row_reader(store, ROWS)(ANGSTROM)
    n_wave = load_instrument("lamost-lrs").n_wave
    wanted = 5000 + 500 * (2 * np.arange(L) / (n_wave - 1) - 1)
    np.testing.assert_allclose(found, np.broadcast_to(wanted, found.shape), rtol=1e-6)


@pytest.mark.parametrize("view", ["optimal-full", "stripes-full"])
def test_what_a_full_view_is_told_stays_when_a_star_fades(work, view):
    augmenter = augmenter_of(work, view, noise=True, scale=(0.1, 0.1))
    at = torch.tensor([6, 29])
    made, plain = augmenter.batch(at, 2), augmenter.original(at)
    below = -2 if view == "optimal-full" else S
    assert torch.equal(made[:, :, below:], plain[:, :, below:])
    assert made[:, :, 0].nansum() < plain[:, :, 0].nansum()
    assert augmenter.copy(2).shape == (len(augmenter.x), *plain.shape[1:])


@pytest.mark.parametrize("view", ["optimal-full", "stripes-full"])
def test_before_another_sky_a_full_view_keeps_its_wavelengths(work, view):
    augmenter = augmenter_of(work, view, replace_sky=True)
    at = torch.tensor([7])
    made, plain = augmenter.batch(at, 1), augmenter.original(at)
    assert made.shape == plain.shape
    assert torch.equal(made[:, :, -1], plain[:, :, -1])
    assert torch.equal(made[:, :, 0], plain[:, :, 0]) == (view == "optimal-full")  # no sky left
