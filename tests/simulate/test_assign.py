import numpy as np
import polars as pl
import pytest

from drcnet.errors import ConfigError
from drcnet.simulate.assign import DEAD, SKY, assign, pointings
from drcnet.simulate.spectra import StarSet


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


def test_sources_come_in_the_same_shares_in_every_class(tiny_settings, tiny_profile, toy_stars):
    """Twelve stars of two sources: 3 of 4 F, 2 of 4 G and 1 of 4 K are from 'here'."""
    here = [0, 3, 6, 1, 4, 2]
    source = ["here" if n in here else "there" for n in range(12)]
    stars = StarSet(
        toy_stars.table.with_columns(source=pl.Series(source)), toy_stars.flux, toy_stars.fwhm
    )
    settings = tiny_settings.model_copy(
        update={"class_shares": {"F": 1, "G": 2, "K": 1}, "balance_sources": True}
    )
    seen = np.concatenate([a.star for a in assign(settings, tiny_profile, stars).values()])
    seen = stars.table[seen[seen >= 0].tolist()]
    for label, rows in (("F", 5), ("G", 10), ("K", 5)):
        own = seen.filter(pl.col("class") == label)
        assert len(own) == rows
        assert abs((own["source"] == "here").sum() - rows / 2) <= 0.5
    # inside a class and source no star comes a third time before all came twice
    visits = seen.group_by("class", "source", "star").len()
    spread = visits.group_by("class", "source").agg(pl.col("len").max() - pl.col("len").min())
    assert spread["len"].max() <= 1


def test_a_class_without_a_source_cannot_be_balanced(tiny_settings, tiny_profile, toy_stars):
    label = pl.when(pl.col("class") == "K").then(pl.lit("there")).otherwise(pl.lit("here"))
    stars = StarSet(
        toy_stars.table.with_columns(label.alias("source")), toy_stars.flux, toy_stars.fwhm
    )
    settings = tiny_settings.model_copy(update={"balance_sources": True})
    with pytest.raises(ConfigError, match="stars of every source in every class, got no there"):
        assign(settings, tiny_profile, stars)
