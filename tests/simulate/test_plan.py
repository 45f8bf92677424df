from datetime import datetime
from itertools import pairwise

import numpy as np
import pytest

from drcnet.config import SimulateSettings
from drcnet.errors import ConfigError
from drcnet.simulate.assign import pointings
from drcnet.simulate.plan import (
    Exposure,
    frame_file,
    lmjd_of,
    lmjm_of,
    make_schedule,
    place_stars,
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


def test_bad_dates_spectrographs_and_instruments_are_refused(tiny_settings, tiny_profile):
    with pytest.raises(ConfigError, match="YYYY-MM-DD"):
        make_schedule(tiny_settings.model_copy(update={"date": "23.9.2015"}))
    with pytest.raises(ConfigError, match="different numbers"):
        pointings(tiny_settings.model_copy(update={"spectrographs": (1, 1)}), tiny_profile)
    exposure = make_schedule(tiny_settings)[0][0]
    other = tiny_profile.model_copy(update={"file_pattern": "^sdR-(?P<arm>[br])1"})
    with pytest.raises(ConfigError, match="knows LAMOST's only"):
        frame_file(exposure, 1, "blue", other, ".fit")
    silent = tiny_profile.model_copy(update={"file_kinds": {"o": "object"}})
    with pytest.raises(ConfigError, match="file letter for 'bias'"):
        frame_file(exposure, 1, "blue", silent, ".fit")
