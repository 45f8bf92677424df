"""What the sky fibres tell of a frame: its true read noise, and light that no model explains.

The noise of a dark pixel is more than the amplifier's: the master bias, the overscan and the
rounding to whole counts add to it. And light scattered in the camera lies under the fibres, flat
where the sky has the fibre's profile. Both are measured on the same frame.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from drcnet.dataset.augment_rays import (
    PIXEL_RAYS,
    RAY_SIGMA,
    RAYS,
    fit_sky,
    missed_rays,
    struck_pixels,
)
from drcnet.dataset.store import Store
from drcnet.stripes.sky import scale_errors

__all__ = ["SKY_CHOICES", "Haze", "held_noise", "measure_haze"]

SKY_CHOICES = 16
"""Sets of sky errors held a star."""

_STRETCH = 250  # rows over which noise and scattered light are taken as even
_MIN_SKIES = 5
_OUTER = [0, 1, -2, -1]  # pixels of a stripe that see the least light
_MAD_TO_SIGMA = 1.4826
_SECOND = 1.5  # variance of a pixel less the mean of the two beside it, over a pixel's
_CLIP = 4.0  # sigma: beyond are cosmic rays
_CLIPPED = 0.998929  # variance of a normal distribution that is cut off there
_ROUNDS = 8  # of the read noise: each takes its error to a few percent


@dataclass(frozen=True, eq=False)
class Haze:
    """Sky fibres of one exposure.

    Parameters
    ----------
    box, optimal, sky : ndarray, shape (m, 2, L)
        Both extractions, and the measured sky at those fibres.
    offset : ndarray, shape (m, 2, L)
        True centre minus the stripe's middle pixel.
    stripes : ndarray, shape (m, 2, S, L), or None
        Electrons; None where only spectra are looked at.
    width : int
        Pixels across a stripe, S.
    ivar : ndarray, shape (m, 2, L), or None
        Inverse variance of `optimal`; None where only stripes are looked at, beside whose noise
        the error of a star's sky is nothing.
    box_ivar : ndarray, shape (m, 2, L), or None
        That of `box`; None likewise.
    """

    box: NDArray[np.float32]
    optimal: NDArray[np.float32]
    sky: NDArray[np.float32]
    offset: NDArray[np.float32]
    stripes: NDArray[np.float32] | None
    width: int
    ivar: NDArray[np.float32] | None = None
    box_ivar: NDArray[np.float32] | None = None

    def floor(self, arm: int) -> float:
        """Measure the variance of a pixel without light.

        What the overscan adds, taken off row by row, is common to all pixels of a row: nothing
        beside a pixel's own noise, but a third of the read noise of their sum. So it is measured
        on the sums where sums are shown: what their extraction counted with, and what sky fibres
        show beyond it; and on the outer pixels of the stripes where stripes are.

        Parameters
        ----------
        arm : int
            0 blue, 1 red.

        Returns
        -------
        float
            Electrons squared; 0 where there are too few sky fibres to tell.
        """
        if len(self.box) < _MIN_SKIES:
            return 0.0
        if self.box_ivar is not None:
            box, ivar = self.box[:, arm], self.box_ivar[:, arm]
            counted = float(np.median(held_noise(box, ivar, self.width)))
            variance = 1.0 / float(np.median(ivar[ivar > 0])) if (ivar > 0).any() else 0.0
            return counted + (_excess(box - self.sky[:, arm], ivar) - 1.0) * variance / self.width
        if self.stripes is None:
            return 0.0
        light = self.stripes[:, arm][:, _OUTER].astype(np.float64)
        sky = self.sky[:, arm][:, None].astype(np.float64)
        share = _share(light, sky)
        # what is left is noise alone: the sky's lines bend from pixel to pixel too
        bend = _bend(light) - share * _bend(sky)
        bright = np.maximum(share * (sky[..., 1:-1] + 0.25 * (sky[..., :-2] + sky[..., 2:])), 0.0)
        photons = bright / _SECOND  # their variance, row by row: a median of rows is no mean
        known = np.isfinite(bend) & np.isfinite(photons)
        dark = known & (photons <= np.median(photons[known]))  # where read noise counts most
        # scattered light is brighter beside the sky's lines than its share of them says
        more = (light[..., 1:-1] - share * sky[..., 1:-1])[dark]
        photons = np.maximum(photons[dark] + float(_trimmed_mean(more, axis=0)), 0.0)
        bend, floor = bend[dark], 0.0
        for _ in range(_ROUNDS):
            variance = np.maximum(photons + floor, 1.0)
            square = bend**2 / (_SECOND * variance)
            # a mean, as the median of values that the store has rounded is off by a percent
            spread = float(square[square < _CLIP**2].mean()) / _CLIPPED
            floor += (spread - 1.0) * float(variance.mean())
        return max(floor, 0.0)

    def excess(self, arm: int) -> float:
        """Measure by how much the optimal light is noisier than the extraction says.

        Profiles and neighbours are not known without an error, which is a percent or two of the
        photons' noise.

        Parameters
        ----------
        arm : int
            0 blue, 1 red.

        Returns
        -------
        float
            Variance of the sky fibres over what their inverse variance says, at least 1; 1 where
            that is not known, or there are too few fibres.
        """
        if self.ivar is None or len(self.box) < _MIN_SKIES:
            return 1.0
        return _excess((self.optimal - self.sky)[:, arm], self.ivar[:, arm])

    def left_over(
        self, arm: int, profile: NDArray[np.float32], spilt: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Measure the light that sky, profile and neighbours do not explain.

        Parameters
        ----------
        arm : int
            0 blue, 1 red.
        profile, spilt : ndarray, shape (m, S, L)
            Of the sky fibres, from `fiber_light`.

        Returns
        -------
        ndarray, shape (S, L) or (1, L), float32
            Electrons a pixel, or of the aperture sum where the stripes are not there; smooth
            along wavelength. Zeros where there are too few sky fibres.
        """
        if len(self.box) < _MIN_SKIES:
            return np.zeros((1, profile.shape[2]), np.float32)
        if self.stripes is None:
            left = (self.box[:, arm] - self.optimal[:, arm] - spilt.sum(axis=1))[:, None]
        else:
            left = self.stripes[:, arm] - self.optimal[:, arm, None] * profile - spilt
        level = np.median(_by_stretch(left, _trimmed_mean), axis=0)  # (S, n)
        rows = left.shape[-1]
        middle = (np.arange(level.shape[1]) + 0.5) * (rows / level.shape[1])
        smooth = [np.interp(np.arange(rows), middle, line) for line in level]
        return np.asarray(smooth, dtype=np.float32)

    def rays(self, arm: int, *, summed: bool) -> NDArray[np.float32]:
        """Find what the mask missed of cosmic rays in the sky fibres.

        In a bright star they drown; in a star as faint as the sky they are there.

        Parameters
        ----------
        arm : int
            0 blue, 1 red.
        summed : bool
            In the aperture sum, rather than in the optimal light.

        Returns
        -------
        ndarray, shape (`SKY_CHOICES`, `RAYS`, 2), float32
            Row and electrons of each, one sky fibre after the other as in `sky_errors`; zeros
            where there are no more, or too few fibres.
        """
        found = np.zeros((SKY_CHOICES, RAYS, 2), np.float32)
        if len(self.box) < _MIN_SKIES:
            return found
        light = (self.box if summed else self.optimal)[:, arm]
        every = [missed_rays(a, s) for a, s in zip(light, self.sky[:, arm], strict=True)]
        found[:] = np.resize(np.array(every), found.shape)
        return found

    def pixel_rays(
        self,
        arm: int,
        profile: NDArray[np.float32],
        spilt: NDArray[np.float32],
        left: NDArray[np.float32],
        floor: float,
    ) -> NDArray[np.float32]:
        """Find cosmic rays in the stripes of the sky fibres, whether the mask knows them or not.

        Parameters
        ----------
        arm : int
            0 blue, 1 red.
        profile, spilt : ndarray, shape (m, S, L)
            Of the sky fibres, from `fiber_light`.
        left : ndarray, shape (S, L)
            From `left_over`.
        floor : float
            From `floor`.

        Returns
        -------
        ndarray, shape (`SKY_CHOICES`, `PIXEL_RAYS`, 2), float32
            Pixel (row across times L, plus row along) and electrons of each, the brightest first,
            one sky fibre after the other as in `sky_errors`; zeros where there are no more, too
            few fibres or no stripes.
        """
        found = np.zeros((SKY_CHOICES, PIXEL_RAYS, 2), np.float32)
        if len(self.box) < _MIN_SKIES or self.stripes is None:
            return found
        every = np.zeros((len(self.box), PIXEL_RAYS, 2), np.float32)
        for one, stripe, light, share, beside in zip(
            every, self.stripes[:, arm], self.optimal[:, arm], profile, spilt, strict=True
        ):
            one[:] = struck_pixels(stripe, light * share + beside + left, floor)
        found[:] = np.resize(every, found.shape)
        return found

    def sky_errors(self) -> NDArray[np.float32]:
        """Measure by how much the sky of single fibres differs from the frame's.

        Throughput, wavelength and line width of a fibre are known to a percent or so. Each sky
        fibre's residual is fitted by its sky, and the sky's first and second differences. Its
        sky's scale is known from all of its light, a star's from the sky's lines alone: what
        these would have said of the sky fibre is added.

        Returns
        -------
        ndarray, shape (`SKY_CHOICES`, 2, 3), float32
            One set of coefficients a line, those of the fibres in turn; zeros where there are
            too few.
        """
        out = np.zeros((SKY_CHOICES, self.sky.shape[1], 3), np.float32)
        if len(self.box) < _MIN_SKIES:
            return out
        for arm in range(self.sky.shape[1]):
            found = [
                fit_sky(o, s) for o, s in zip(self.optimal[:, arm], self.sky[:, arm], strict=True)
            ]
            errors = np.array(found) - np.median(found, axis=0)
            if self.ivar is not None:
                parts = (part[:, arm] for part in (self.optimal, self.ivar, self.sky))
                errors[:, 0] -= scale_errors(*parts)
            out[:, arm] = np.resize(errors, (SKY_CHOICES, 3))
        return out


def _excess(left: NDArray[np.floating], ivar: NDArray[np.floating]) -> float:
    """Variance of sky fibres, their measured sky taken off, over what is said of it; at least 1.

    A fibre's own noise is in the sky that was measured on all.
    """
    variance = 1.0 / np.where(ivar > 0, ivar, np.nan)
    bend = left[:, 1:-1] - 0.5 * (left[:, :-2] + left[:, 2:])
    wanted = variance[:, 1:-1] + 0.25 * (variance[:, :-2] + variance[:, 2:])
    spread = _MAD_TO_SIGMA * np.nanmedian(np.abs(bend) / np.sqrt(wanted))
    return max(1.0, float(spread**2) / (1.0 - 1.0 / len(left)))


def held_noise(
    box: NDArray[np.float32], ivar: NDArray[np.float32], width: int
) -> NDArray[np.float64]:
    """Find the read noise that an extraction counted with, from what it says of its sums.

    The variance of a sum over good pixels is its light and the read noise of each; the noise of
    the master bias is in it, which the index's read noise knows nothing of.

    Parameters
    ----------
    box, ivar : ndarray, shape (n, L)
        Aperture sums, electrons, and their inverse variance.
    width : int
        Pixels in a sum.

    Returns
    -------
    ndarray, shape (n,)
        Squared read noise of one pixel; 0 for a fibre without light.
    """
    known = (ivar > 0) & np.isfinite(box)
    spread = 1.0 / np.where(known, ivar, 1.0).astype(np.float64) - box
    spread = np.where(known, spread, np.nan)
    spread[~known.any(axis=1)] = 0.0
    return np.asarray(np.nanmedian(spread, axis=1) / width)


def measure_haze(store: Store, rows: NDArray[np.int64], width: int, *, stripes: bool) -> Haze:
    """Read the sky fibres of an exposure.

    Parameters
    ----------
    store : Store
        A finished store.
    rows : ndarray, shape (m,), int64
        Their rows.
    width : int
        Pixels across a stripe, S.
    stripes : bool
        Read the stripes too, for `Haze.left_over`.

    Returns
    -------
    Haze
        Of those fibres.
    """
    spectra = {name: store.read(name, rows) for name in ("box", "optimal", "sky", "offset")}
    if stripes:
        return Haze(**spectra, stripes=store.read("stripes", rows), width=width)
    ivar, box_ivar = (store.read(name, rows) for name in ("optimal_ivar", "box_ivar"))
    return Haze(**spectra, stripes=None, width=width, ivar=ivar, box_ivar=box_ivar)


def _bend(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """A pixel less the mean of the two beside it; two fewer along the last axis."""
    return np.asarray(values[..., 1:-1] - 0.5 * (values[..., :-2] + values[..., 2:]))


def _share(light: NDArray[np.floating], sky: NDArray[np.floating]) -> NDArray[np.floating]:
    """Light over sky, even over each stretch, pixels that cosmic rays touched left out."""
    sky, size = np.maximum(sky, 1.0), light.shape[-1]
    first = _unfolded(_by_stretch(light / sky, np.nanmedian), size)
    away = np.abs(light - first * sky)
    scale = _MAD_TO_SIGMA * _unfolded(_by_stretch(away, np.nanmedian), size)
    bound = RAY_SIGMA * np.maximum(scale, np.sqrt(np.maximum(first * sky, 0.0)))
    use = np.isfinite(away) & (away <= bound)
    ours = _by_stretch(np.where(use, light, 0.0), np.sum)
    theirs = _by_stretch(np.where(use, sky, 0.0), np.sum)
    return _unfolded(ours / np.maximum(theirs, 1.0), size)[..., 1:-1]


def _unfolded(values: NDArray[np.floating], size: int) -> NDArray[np.floating]:
    """What `_by_stretch` made, on each of `size` rows again."""
    parts = np.array_split(np.arange(size), values.shape[-1])
    return np.repeat(values, [len(part) for part in parts], axis=-1)


def _by_stretch(
    values: NDArray[np.floating], how: Callable[..., NDArray[np.floating]]
) -> NDArray[np.floating]:
    """Some average over each stretch of the last axis; shape (..., n)."""
    parts = np.array_split(values, max(values.shape[-1] // _STRETCH, 1), axis=-1)
    return np.stack([how(part, axis=-1) for part in parts], axis=-1)


def _trimmed_mean(values: NDArray[np.floating], axis: int) -> NDArray[np.floating]:
    """Mean of the middle four fifths: cosmic rays out, rounding averaged."""
    cut = values.shape[axis] // 10
    inner = np.sort(values, axis=axis)[..., cut : values.shape[axis] - cut]
    return np.asarray(inner.mean(axis=axis))
