"""Fibres as if alike: light over throughput, S/N as it was."""

from dataclasses import fields

import numpy as np
import pytest

from drcnet.errors import FrameError
from drcnet.stripes.fiberflat import divide_fibers
from drcnet.stripes.measure import ArmStripes


@pytest.fixture
def measured(rng):
    n, width, rows = 3, 11, 20
    shapes = {"stripes": (n, width, rows), "wavelength": (n, 5)}
    single = ("snr", "fwhm", "gain", "read_noise", "flags", "sky_fibers")
    values = {}
    for name in (f.name for f in fields(ArmStripes) if f.name not in ("notes", "mask")):
        shape = shapes.get(name, (n,) if name in single else (n, rows))
        values[name] = rng.uniform(100, 200, shape).astype(np.float32)
    return ArmStripes(mask=np.zeros((n, width, rows), np.uint8), **values)


def test_light_is_divided_and_noise_with_it(measured):
    share = np.array([0.5, 1.0, np.nan], np.float32)[:, None] * np.ones(20, np.float32)
    flat = divide_fibers(measured, share)
    for name in ("box", "optimal", "sky"):
        np.testing.assert_allclose(getattr(flat, name)[0], 2 * getattr(measured, name)[0])
        np.testing.assert_array_equal(getattr(flat, name)[1:], getattr(measured, name)[1:])
    for name in ("box", "optimal"):
        old = getattr(measured, name) ** 2 * getattr(measured, f"{name}_ivar")
        new = getattr(flat, name) ** 2 * getattr(flat, f"{name}_ivar")
        np.testing.assert_allclose(new, old, rtol=1e-6)
    np.testing.assert_allclose(flat.stripes[0], 2 * measured.stripes[0], atol=0.126)
    assert (flat.stripes * 4 == np.rint(flat.stripes * 4)).all()
    for name in ("gain", "read_noise"):
        np.testing.assert_allclose(getattr(flat, name)[0], 2 * getattr(measured, name)[0])
        np.testing.assert_array_equal(getattr(flat, name)[1:], getattr(measured, name)[1:])
    assert flat.notes["fiber_flat"]


def test_another_shape_is_refused(measured):
    with pytest.raises(FrameError, match="a throughput of shape"):
        divide_fibers(measured, np.ones((3, 19), np.float32))
