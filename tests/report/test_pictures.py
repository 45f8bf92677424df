import base64
import dataclasses
import io

import numpy as np
import polars as pl
import pytest
from matplotlib.image import imread

from drcnet.dataset.store import open_store
from drcnet.errors import StoreError
from drcnet.report import pictures


def pixels_of(uri):
    head, data = uri.split(",", 1)
    assert head == "data:image/png;base64"
    return imread(io.BytesIO(base64.b64decode(data)), format="png")[..., 0]


def test_first_row_is_at_the_bottom_and_more_is_lighter():
    image = pixels_of(pictures.png_uri(np.array([[0.0, 1.0], [2.0, 3.0]]), percentiles=(0, 100)))
    assert image.shape == (2, 2)
    assert image[1, 0] == 0
    assert image[0, 1] == 1
    assert image[1, 1] == pytest.approx(np.sqrt(1 / 3), abs=0.01)


def test_nan_is_black_and_an_empty_picture_no_crash():
    image = pixels_of(pictures.png_uri(np.array([[np.nan, 1.0, 2.0]]), percentiles=(0, 100)))
    assert image[0, 0] == 0
    assert pixels_of(pictures.png_uri(np.full((2, 2), np.nan))).max() == 0


def test_a_star_has_two_arms_with_their_wavelengths(work):
    blue, red = pictures.star_picture(open_store(work), 3)
    # 3610 angstrom at row 0 of the frame, 20 a row; the stripe is rows 30 to 89.
    assert (blue.arm, blue.span) == ("blue", "4210 to 5390 Å")
    assert red.span == "6210 to 7390 Å"
    assert "Hβ" in blue.spectrum
    assert "Hβ" not in red.spectrum
    assert "Hα" in red.spectrum
    assert pixels_of(blue.stripe).shape == (11, 15)


def test_unknown_wavelengths_and_no_light_are_said(work, monkeypatch):
    store = open_store(work)
    read = type(store).read

    def blind(self, name, rows):
        return np.full_like(read(self, name, rows), np.nan)

    monkeypatch.setattr(type(store), "read", blind)
    for arm in pictures.star_picture(store, 0):
        assert arm.span == ""
        assert "no light in this arm" in arm.spectrum


def test_a_store_that_does_not_say_how_it_was_made_is_refused(work):
    store = dataclasses.replace(open_store(work), provenance={"settings": {"prepare": {"x": 1}}})
    with pytest.raises(StoreError, match=r"provenance\.json: wanted the settings of prepare"):
        pictures.star_picture(store, 0)


@pytest.mark.parametrize("across", [1, 11])
def test_evidence_stands_over_the_pixels_of_its_wavelengths(work, across):
    pixel = [None] if across == 1 else [*range(-5, 6)]
    wave = np.linspace(4220, 5380, 30)
    looked = pl.DataFrame(
        [
            {"row": 3, "class": "G", "predicted": "F", "arm": "blue", "pixel": p}
            | {"wavelength": w, "evidence": float(k == 20), "evidence_true": 0.0}
            for p in pixel
            for k, w in enumerate(wave)
        ],
        schema_overrides={"pixel": pl.Int64},
    )
    blue, red = pictures.star_picture(open_store(work), 3, looked)
    assert "above the line for F, below for G" in blue.evidence
    assert red.evidence == red.evidence_stripe == ""
    # the stripe runs from 4210 to 5390 angstrom over 750 units, and the peak is the only one up
    at = round(750 * (wave[20] - 4210) / 1180)
    peak = [p for p in blue.evidence.split('d="M')[1].split("L") if p.endswith(",0.0")]
    assert len(peak) == 1
    assert float(peak[0].split(",")[0]) == pytest.approx(at, abs=8)
    assert bool(blue.evidence_stripe) == (across == 11)
    if across == 11:
        assert pixels_of(blue.evidence_stripe).shape == (11, 30)
    assert pictures.star_picture(open_store(work), 4, looked)[0].evidence == ""
