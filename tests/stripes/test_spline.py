import numpy as np
import pytest
from scipy.interpolate import BSpline

from drcnet.stripes.spline import cubic_basis, cubic_design

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
