from datetime import datetime
from itertools import pairwise

import numpy as np
import pytest

from drcnet.config import SimulateSettings
from drcnet.errors import ConfigError
from drcnet.simulate.plan import (
    DEAD,
    SKY,
    Exposure,
    assign,
    frame_file,
    lmjd_of,
    lmjm_of,
    make_schedule,
    place_stars,
    pointings,
)


def test_local_minutes_and_days_are_those_of_real_files():
    # names of real files: raw frame of 2015-09-23; DR10 header LMJD 59522 with LMJMLIST 85711495
    assert lmjm_of(datetime(2015, 9, 23, 23, 45, 27)) == 82496145  # noqa: DTZ001
    assert lmjd_of(85711495) == 59522


def test_schedule_keeps_calibrations_before_plates_and_frames_apart():
    settings = SimulateSettings(plates=3, exposures=2, bias_frames=2, flat_frames=2)
    calibrations, plates = make_schedule(settings)
    assert [e.kind for e in calibrations] == ["bias", "bias", "flat", "flat", "arc"]
    objects = [e for p in plates for e in p.exposures]
    assert [len(p.exposures) for p in plates] == [2, 2, 2]
    everything = calibrations + objects
    assert [e.run for e in everything] == list(range(1, 12))
    starts = [e.start for e in everything]
    assert starts == sorted(starts)
    gaps = [(b.start - a.start).total_seconds() for a, b in pairwise(objects)]
    assert min(gaps) >= settings.exposure_time + 60
    assert len({lmjd_of(e.lmjm) for e in everything}) == 1


def test_a_night_too_long_is_refused():
    with pytest.raises(ConfigError, match="at most 25 exposures"):
        make_schedule(SimulateSettings(plates=13, exposures=2))
    make_schedule(SimulateSettings(plates=13, exposures=2, exposure_time=600))


def test_file_names_pair_by_minute_and_differ_by_seconds(tiny_profile):
    import re

    exposure = Exposure("object", datetime(2015, 9, 23, 19, 0), 12)  # noqa: DTZ001
    names = [frame_file(exposure, 4, arm, tiny_profile, ".fits.fz") for arm in ("blue", "red")]
    parts = [re.match(tiny_profile.file_pattern, name).groupdict() for name in names]
    assert [p["arm"] for p in parts] == ["b", "r"]
    assert {p["lmjm"] for p in parts} == {str(exposure.lmjm)}
    assert {p["spid"] for p in parts} == {"04"}
    assert parts[0]["time"] != parts[1]["time"]
    assert all(p["time"].startswith("201509231900") for p in parts)


def test_stars_are_never_confused_by_position():
    ra, dec = place_stars(500, 3)
    x = (ra - ra[0] + 180) % 360 - 180
    x = x * np.cos(np.radians(dec))
    apart = np.hypot(x[:, None] - x, dec[:, None] - dec) + 9 * np.eye(500)
    assert apart.min() * 3600 > 100


def test_assignment_follows_the_shares(tiny_settings, tiny_profile, toy_stars):
    settings = tiny_settings.model_copy(
        update={"class_shares": {"F": 1.0, "K": 3.0}, "snr_shares": {"0-10": 1, "30-120": 1}}
    )
    total = pointings(settings, tiny_profile)
    assert total == 5 * 2 * 2
    seen = assign(settings, tiny_profile, toy_stars)
    assert sorted(seen) == [(0, 1), (0, 3), (1, 1), (1, 3)]
    stars = np.concatenate([a.star for a in seen.values()])
    classes = toy_stars.table["class"].to_numpy()[stars[stars >= 0]]
    assert [(classes == c).sum() for c in "FGK"] == [5, 0, 15]
    targets = np.concatenate([a.target for a in seen.values()])
    targets = targets[np.isfinite(targets)]
    assert ((targets >= 2) & (targets < 10)).sum() == 10
    assert ((targets >= 30) & (targets <= 120)).sum() == 10
    for a in seen.values():
        assert (a.star == SKY).sum() == 2
        assert (a.star == DEAD).sum() == 1
        np.testing.assert_array_equal(np.isnan(a.target), a.star < 0)


def test_dead_fibres_stay_dead_under_all_plates(tiny_settings, tiny_profile, toy_stars):
    seen = assign(tiny_settings, tiny_profile, toy_stars)
    np.testing.assert_array_equal(seen[0, 1].star == DEAD, seen[1, 1].star == DEAD)


def test_every_star_comes_once_before_any_comes_again(tiny_settings, tiny_profile, toy_stars):
    settings = tiny_settings.model_copy(update={"class_shares": {"F": 1, "G": 1, "K": 1}})
    stars = np.concatenate([a.star for a in assign(settings, tiny_profile, toy_stars).values()])
    count = np.bincount(stars[stars >= 0], minlength=12)
    assert count.min() >= 1
    assert count.max() <= 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"class_shares": {"M": 1.0}}, "classes that the source has"),
        ({"class_shares": {"F": 0.0}}, "a share above 0"),
        ({"snr_shares": {"low": 1.0}}, "intervals such as '10-20'"),
        ({"snr_shares": {"0-1": 1.0}}, "an upper edge above 2"),
        ({"sky_fibers": 8}, "fewer than the 8 fibres"),
    ],
)
def test_shares_that_cannot_be_met_are_refused(
    tiny_settings, tiny_profile, toy_stars, change, message
):
    with pytest.raises(ConfigError, match=message):
        assign(tiny_settings.model_copy(update=change), tiny_profile, toy_stars)
