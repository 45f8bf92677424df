"""Throughput patterns: learnt, written, read, refused."""

import numpy as np
import polars as pl
import pytest

from drcnet.config import StripeSettings
from drcnet.errors import FrameError
from drcnet.stripes import reference as room
from drcnet.stripes.reference import learn_reference, read_reference, write_reference


@pytest.fixture
def drawn(monkeypatch, scene, renderer, tmp_path):
    """Two flats of one lamp; in the second the lamp is half as bright."""
    flats = {tmp_path / "a.fit": scene.flat, tmp_path / "b.fit": scene.flat}
    science = renderer.make_frame(scene.profile, np.zeros(scene.flat.counts.shape))
    flats[tmp_path / "c.fit"] = science
    monkeypatch.setattr(room, "read_frame", lambda path, profile, **_: flats[path])
    return list(flats)


def test_the_pattern_is_the_fibres_light(drawn, scene):
    table, refused = learn_reference(drawn, scene.profile, StripeSettings())
    assert table["fiberid"].to_list() == [*range(1, 17)]
    assert table["n_flats"].to_list() == [2] * 16
    expected = scene.throughput / np.median(scene.throughput)
    np.testing.assert_allclose(table["throughput"], expected, rtol=0.02)
    assert len(refused) == 1
    assert "a flat frame" in refused[0]


def test_no_flat_at_all_is_an_error(drawn, scene):
    with pytest.raises(FrameError, match="a flat whose fibres can be told apart"):
        learn_reference(drawn[2:], scene.profile, StripeSettings())


@pytest.fixture
def written(tmp_path):
    table = pl.DataFrame(
        {
            "spid": [1] * 4,
            "arm": ["blue"] * 4,
            "fiberid": [1, 2, 3, 4],
            "throughput": [1.0, None, 0.5, 1.5],
        }
    )
    write_reference(tmp_path / "r.csv", table, {"seed": 1})
    return tmp_path / "r.csv"


def test_what_is_written_is_read_again(written):
    assert written.read_text().startswith("# {")
    np.testing.assert_allclose(read_reference(written, 1, "blue", 4), [1, np.nan, 0.5, 1.5])
    assert read_reference(written, 1, "red", 4) is None
    assert read_reference(written, 2, "blue", 4) is None


def test_other_fibres_or_other_files_are_refused(written, tmp_path):
    with pytest.raises(FrameError, match="fibres 1 to 250"):
        read_reference(written, 1, "blue", 250)
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    with pytest.raises(FrameError, match="the columns spid, arm, fiberid, throughput"):
        read_reference(tmp_path / "x.csv", 1, "blue", 4)
    with pytest.raises(FrameError, match="throughput patterns"):
        read_reference(tmp_path / "gone.csv", 1, "blue", 4)
