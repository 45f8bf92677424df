import re

import numpy as np
import pytest

from drcnet.config import settings_toml
from drcnet.errors import ConfigError
from drcnet.instruments import (
    InstrumentProfile,
    instrument_names,
    load_instrument,
    recognise_name,
)

LAMOST = load_instrument("lamost-lrs")
NAMES = {
    "lamost-lrs": "rb-16r-20150923234527-10000-82496145.fit.gz",
    "boss": "sdR-b1-00123456.fit.gz",
    "kast": "kast-b27.fits.gz",
}


def test_every_shipped_profile_has_a_name_here():
    assert sorted(NAMES) == instrument_names()


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_profile_is_whole(name):
    profile = load_instrument(name)
    assert profile.name == name
    centers = profile.fibers.centers()
    assert len(centers) == profile.fibers.count
    assert (np.diff(centers) > 0).all()
    assert 0 < centers[0] <= centers[-1] < profile.n_spatial
    for arm in profile.arms.values():
        assert arm.wavelength_start < arm.wavelength_stop
    covered = np.zeros((profile.n_spatial, profile.n_wave), int)
    for span in profile.turned_spans("blue"):
        covered[span] += 1
    assert (covered == 1).all()


@pytest.mark.parametrize("name", NAMES)
def test_a_profile_survives_its_toml(name, tmp_path):
    profile = load_instrument(name)
    (tmp_path / "mine.toml").write_text(settings_toml(profile))
    assert load_instrument(str(tmp_path / "mine.toml")) == profile


@pytest.mark.parametrize("name", NAMES)
def test_a_raw_files_name_is_recognised_by_its_own_profile_alone(name):
    assert recognise_name(NAMES[name]) == name
    takes = [n for n in NAMES if re.match(load_instrument(n).file_pattern, NAMES[name])]
    assert takes == [name]


def test_other_names_are_not_recognised():
    assert recognise_name("spec-55862-B6212_sp06-006.fits.gz") is None


def test_lamost_as_the_page_of_facts_has_it():
    assert (LAMOST.n_spatial, LAMOST.n_wave, LAMOST.fibers.count) == (4096, 4136, 250)
    assert LAMOST.turned_spans("red") == [
        (slice(0, 2048), slice(0, 4136)),
        (slice(2048, 4096), slice(0, 4136)),
    ]
    centers = LAMOST.fibers.centers()
    assert centers[0] == 45
    assert centers[25] - centers[24] == pytest.approx(15.8 + 6)
    assert centers[-1] == pytest.approx(45 + 249 * 15.8 + 9 * 6)


def test_boss_is_marked_untested_and_has_gains_of_its_own_in_red():
    boss = load_instrument("boss")
    assert not boss.tested
    assert (boss.n_spatial, boss.n_wave, boss.fibers.count) == (4096, 4112, 500)
    assert boss.gains("blue").tolist() == pytest.approx([1.048, 1.048, 1.018, 1.006])
    assert boss.gains("red").tolist() == pytest.approx([1.966, 1.566, 1.542, 1.546])
    assert boss.read_noises("red").shape == (4,)
    # IDL slices include their last pixel: the four quadrants must meet.
    assert boss.image_area == (slice(56, 4168), slice(128, 4224))


def changed(**changes):
    return InstrumentProfile.model_validate(LAMOST.model_dump() | changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"file_pattern": "("}, "file_pattern is no regular expression"),
        ({"file_pattern": "x"}, "file_pattern has no group 'arm'"),
        ({"shape": (4136, 4150)}, "outside axis 1"),
        ({"amplifiers": LAMOST.model_dump()["amplifiers"][:1] * 2}, "do not tile one rectangle"),
        ({"dispersion_axis": 2}, "less than or equal to 1"),
        ({"file_kinds": {"o": "lamp"}}, "Input should be 'object'"),
        ({"colour": "red"}, "Extra inputs are not permitted"),
    ],
)
def test_a_profile_that_cannot_be_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        changed(**changes)


def test_gains_for_every_amplifier_or_none():
    arms = LAMOST.model_dump()["arms"]
    arms["red"]["gains"] = (1.0, 2.0, 3.0)
    with pytest.raises(ValueError, match="arm red: 3 values for 2 amplifiers"):
        changed(arms=arms)


def test_an_unknown_instrument_lists_the_known_ones():
    with pytest.raises(ConfigError, match=r"boss, kast, lamost-lrs.*got 'hubble'"):
        load_instrument("hubble")


def test_turned_spans_follow_the_directions():
    boss = load_instrument("boss")
    turned = boss.arms["blue"].model_copy(update={"direction": -1, "fiber_direction": -1})
    boss = boss.model_copy(update={"arms": {"blue": turned}})
    assert boss.turned_spans("blue")[0] == (slice(2048, 4096), slice(2056, 4112))
