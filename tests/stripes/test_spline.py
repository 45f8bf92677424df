import numpy as np
import pytest
from scipy.interpolate import BSpline

from drcnet.stripes.spline import cubic_basis, cubic_design, cubic_values

KNOTS = {
    "clamped": np.concatenate([[-2.0] * 3, [-2.0, -1.0, -0.3, 0.0, 0.7, 2.0], [2.0] * 3]),
    "even": np.arange(-6.0, 7.0),
}


@pytest.mark.parametrize("kind", KNOTS)
def test_the_splines_are_those_of_scipy(kind):
    knots = KNOTS[kind]
    inner = knots[3:-3]
    u = np.concatenate([inner, np.random.default_rng(3).uniform(inner[0], inner[-1], 500)])
    wanted = BSpline.design_matrix(u, knots, 3).toarray()
    np.testing.assert_allclose(cubic_design(u, knots), wanted, rtol=0, atol=1e-14)
    first, basis = cubic_basis(u, knots)
    np.testing.assert_allclose(basis.sum(axis=1), 1.0, atol=1e-14)
    assert (first >= 0).all()
    assert (first + 4 <= len(knots) - 4).all()


def test_values_are_those_of_scipy_whatever_the_order_of_places():
    rng = np.random.default_rng(4)
    inner = np.sort(rng.uniform(0, 10, 40))
    knots = np.concatenate([[inner[0]] * 3, inner, [inner[-1]] * 3])
    coef = rng.normal(size=len(knots) - 4)
    place = rng.uniform(inner[0], inner[-1], 500)
    for u in (place, np.sort(place), np.sort(place)[::-1], inner):
        wanted = BSpline(knots, coef, 3)(u)
        np.testing.assert_allclose(cubic_values(u, knots, coef), wanted, atol=1e-12)
