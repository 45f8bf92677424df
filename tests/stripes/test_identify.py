import numpy as np
import pytest

from drcnet.instruments import FiberLayout
from drcnet.stripes.identify import UNREFERENCED_CONFIDENCE, identify_fibers

LAMOST = FiberLayout(count=250, block=25, pitch=15.8, gap=6.0, edge=45.0)


def case(rng, *, shift=0.0, dead=0, scale=1.0):
    """Measured centres, light and true labels of a flat."""
    reference = rng.uniform(0.5, 1.3, 250)
    alive = np.ones(250, dtype=bool)
    alive[rng.choice(250, dead, replace=False)] = False
    middle = LAMOST.centers().mean()
    center = middle + shift + scale * (LAMOST.centers() - middle) + rng.normal(0, 0.3, 250)
    level = reference * np.exp(rng.normal(0, 0.05, 250)) * 4e4
    reference[rng.choice(250, dead, replace=False)] = np.nan
    return center[alive], level[alive], reference, np.flatnonzero(alive) + 1


@pytest.mark.parametrize("shift", [-15.8, -8.0, 0.0, 7.9, 15.8])
def test_no_wrong_label_up_to_a_pitch_and_ten_dead(rng, shift):
    for _ in range(4):
        center, level, reference, truth = case(rng, shift=shift, dead=10, scale=1.0003)
        found = identify_fibers(center, LAMOST, level=level, reference=reference)
        np.testing.assert_array_equal(found.fiber_id, truth)
        assert found.confidence > 0.99
        assert found.referenced


def test_gaps_alone_serve_but_cap_the_confidence(rng):
    center, _, _, truth = case(rng, shift=3.0, dead=3)
    found = identify_fibers(center, LAMOST)
    np.testing.assert_array_equal(found.fiber_id, truth)
    assert found.confidence == UNREFERENCED_CONFIDENCE
    assert not found.referenced


def test_without_gaps_a_lost_end_fiber_leaves_doubt():
    plain = FiberLayout(count=20, block=20, pitch=15.8, gap=0.0, edge=20.0)
    center = plain.centers()[1:] - 7.9  # either fibres 1-19 or 2-20, half a pitch away
    assert identify_fibers(center, plain).confidence < 0.8


def test_a_reference_settles_what_places_cannot(rng):
    plain = FiberLayout(count=20, block=20, pitch=15.8, gap=0.0, edge=20.0)
    reference = rng.uniform(0.5, 1.3, 20)
    center = plain.centers()[1:] - 7.9
    found = identify_fibers(center, plain, level=reference[1:] * 1e4, reference=reference)
    np.testing.assert_array_equal(found.fiber_id, np.arange(2, 21))
    assert found.confidence > 0.99


def test_a_peak_that_is_no_fiber_gets_no_label(rng):
    center = np.sort(np.append(LAMOST.centers(), LAMOST.centers()[40] + 8.5))
    found = identify_fibers(center, LAMOST)
    assert found.fiber_id[41] == 0
    np.testing.assert_array_equal(np.delete(found.fiber_id, 41), np.arange(1, 251))
