"""From light in fibres to a raw frame: frozen layers with one render step each.

A layer takes the image so far, (n_spatial, n_wave) in electrons, and a random generator, and
returns the image with its own effect. `render` runs layers in order, each with its own stream,
so that leaving one out does not change the random numbers of the others.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from drcnet.instruments import InstrumentProfile
from drcnet.simulate.kernels import WINDOW, paint_fibers, paint_tracks, poisson_from_normal
from drcnet.simulate.optics import Traces

__all__ = [
    "BiasPattern",
    "CosmicRays",
    "FiberLight",
    "Layer",
    "PhotonNoise",
    "PixelFlat",
    "Readout",
    "ScatteredLight",
    "render",
]

Image = NDArray[np.float32]


class Layer(Protocol):
    """One effect on an image."""

    def render(self, image: Image, rng: np.random.Generator) -> Image:
        """Return the image with this effect."""
        ...


def render(layers: Sequence[Layer], shape: tuple[int, int], seed: np.random.SeedSequence) -> Image:
    """Run layers over an empty image.

    Parameters
    ----------
    layers : sequence of Layer
        Effects, in the order in which light meets them.
    shape : tuple of int
        (n_spatial, n_wave).
    seed : SeedSequence
        Stream `i` of it drives layer `i`.

    Returns
    -------
    ndarray, shape (n_spatial, n_wave), float32
        Electrons.
    """
    image = np.zeros(shape, dtype=np.float32)
    for index, layer in enumerate(layers):
        child = np.random.SeedSequence(seed.entropy, spawn_key=(*seed.spawn_key, index))
        image = layer.render(image, np.random.Generator(np.random.SFC64(child)))
    return image


@dataclass(frozen=True, eq=False)
class FiberLight:
    """Light of fibres spread along their traces.

    The profile is a pseudo-Voigt: a Gaussian integrated over pixels, and a Lorentzian of the
    same FWHM that holds `wing_fraction` of the light. Light beyond the kernels' window of 40
    pixels is left to `ScatteredLight`.

    Parameters
    ----------
    traces : Traces
        Where the fibres run.
    light : ndarray, shape (n_fiber, n_wave)
        Electrons of each fibre in each row.
    wing_fraction : float
        Share of the light in Lorentzian wings.
    """

    traces: Traces
    light: NDArray[np.float32]
    wing_fraction: float

    def render(self, image: Image, rng: np.random.Generator) -> Image:  # noqa: ARG002
        """Add the fibres.

        Parameters
        ----------
        image : ndarray, shape (n_spatial, n_wave)
            Electrons.
        rng : Generator
            Not used.

        Returns
        -------
        ndarray, shape (n_spatial, n_wave)
            Electrons.
        """
        image = image.copy()
        paint_fibers(
            image,
            self.traces.centers,
            self.traces.fwhm,
            np.ascontiguousarray(self.light, dtype=np.float32),
            self.wing_fraction,
        )
        return image

    def lost_share(self) -> float:
        """Give the share of light that falls outside the window of the profile.

        Returns
        -------
        float
            Between 0 and `wing_fraction`.
        """
        gamma = float(self.traces.fwhm.mean()) / 2
        return float(self.wing_fraction * (1 - 2 / np.pi * np.arctan((WINDOW + 0.5) / gamma)))


@dataclass(frozen=True)
class ScatteredLight:
    """A smooth glow that follows the light on the chip.

    Parameters
    ----------
    fraction : float
        Glow, as a share of the light in the image.
    blur : float
        Gaussian sigma of the glow, as a share of the chip's side.
    """

    fraction: float
    blur: float = 0.08

    def render(self, image: Image, rng: np.random.Generator) -> Image:  # noqa: ARG002
        """Add the glow.

        Parameters
        ----------
        image : ndarray, shape (n_spatial, n_wave)
            Electrons.
        rng : Generator
            Not used.

        Returns
        -------
        ndarray, shape (n_spatial, n_wave)
            Electrons.
        """
        total = float(image.sum(dtype=np.float64))
        if self.fraction == 0 or total == 0:
            return image
        block = max(1, min(image.shape) // 64)
        ny, nx = (n // block for n in image.shape)
        coarse = image[: ny * block, : nx * block].reshape(ny, block, nx, block).mean((1, 3))
        glow = gaussian_filter(coarse, [self.blur * n for n in coarse.shape], mode="nearest")
        # half follows the light near by, half fills the camera
        glow = (0.5 * glow + 0.5 * glow.mean()).astype(np.float32)
        smooth = _stretch(_stretch(glow.T, image.shape[1]).T, image.shape[0])
        return image + smooth * np.float32(self.fraction * total / smooth.sum(dtype=np.float64))


def _stretch(coarse: Image, fine: int) -> Image:
    """Interpolate linearly along the first axis to `fine` pixels; equal on any number of cores."""
    place = np.clip((np.arange(fine) + 0.5) * len(coarse) / fine - 0.5, 0, len(coarse) - 1)
    left = np.minimum(place.astype(int), max(len(coarse) - 2, 0))
    right = np.minimum(left + 1, len(coarse) - 1)
    part = (place - left).astype(np.float32)[:, None]
    return coarse[left] * (1 - part) + coarse[right] * part


@dataclass(frozen=True)
class PixelFlat:
    """Pixels of unequal response, the same in every frame of a CCD.

    Parameters
    ----------
    seed : SeedSequence
        The CCD's own stream.
    rms : float
        Spread of the response.
    """

    seed: np.random.SeedSequence
    rms: float = 0.01

    def render(self, image: Image, rng: np.random.Generator) -> Image:  # noqa: ARG002
        """Multiply by the response.

        Parameters
        ----------
        image : ndarray, shape (n_spatial, n_wave)
            Electrons.
        rng : Generator
            Not used: the response belongs to the CCD, not to the frame.

        Returns
        -------
        ndarray, shape (n_spatial, n_wave)
            Electrons.
        """
        own = np.random.Generator(np.random.SFC64(self.seed))
        response = own.standard_normal(image.shape, dtype=np.float32)
        response *= np.float32(self.rms)
        response += np.float32(1)
        return np.maximum(image * response, np.float32(0))


@dataclass(frozen=True)
class PhotonNoise:
    """Poisson noise of the electrons."""

    def render(self, image: Image, rng: np.random.Generator) -> Image:
        """Draw counts with the image as their mean.

        Parameters
        ----------
        image : ndarray, shape (n_spatial, n_wave)
            Mean electrons, not negative.
        rng : Generator
            The frame's stream.

        Returns
        -------
        ndarray, shape (n_spatial, n_wave)
            Whole electrons.
        """
        normal = rng.standard_normal(image.shape, dtype=np.float32)
        return poisson_from_normal(image, normal)


@dataclass(frozen=True)
class CosmicRays:
    """Tracks of charged particles.

    Tracks are straight, isotropic, mostly short; the charge a pixel of path is drawn from a
    log-normal distribution around 600 electrons, about what a minimum-ionising particle leaves
    in some 10 micron of silicon (80 electron-hole pairs a micron, Janesick 2001).

    Parameters
    ----------
    rate : float
        Tracks per million pixels.
    """

    rate: float

    def render(self, image: Image, rng: np.random.Generator) -> Image:
        """Add tracks.

        Parameters
        ----------
        image : ndarray, shape (n_spatial, n_wave)
            Electrons.
        rng : Generator
            The frame's stream.

        Returns
        -------
        ndarray, shape (n_spatial, n_wave)
            Electrons.
        """
        count = int(rng.poisson(self.rate * image.size / 1e6))
        start = rng.uniform(0, 1, (count, 2)) * np.array(image.shape)
        angle = rng.uniform(0, 2 * np.pi, count)
        # path on the chip is depth times tan(incidence): mostly a few pixels, rarely dozens
        length = np.minimum(1.5 + rng.pareto(1.6, count) * 1.8, 120.0)
        charge = 600.0 * np.exp(rng.normal(0, 0.45, count))
        image = image.copy()
        paint_tracks(image, start, angle, length, charge)
        return image


@dataclass(frozen=True)
class BiasPattern:
    """Offsets of a CCD's readout.

    Parameters
    ----------
    seed : SeedSequence
        The CCD's own stream: levels of the amplifiers and the fixed column pattern.
    drift : float
        Spread of the level between frames, ADU.
    pattern : float
        Rms of the fixed pattern in the image area, ADU.
    """

    seed: np.random.SeedSequence
    drift: float = 2.0
    pattern: float = 1.0


@dataclass(frozen=True)
class Readout:
    """Amplifiers, bias, overscan and the converter: electrons to a raw array in ADU.

    Parameters
    ----------
    profile : InstrumentProfile
        Amplifiers, raw shape, dispersion axis, saturation.
    arm : str
        'blue' or 'red'; its direction turns the array.
    bias : BiasPattern
        Levels and pattern of this CCD.
    """

    profile: InstrumentProfile
    arm: str
    bias: BiasPattern

    def raw(self, image: Image, rng: np.random.Generator) -> NDArray[np.uint16]:
        """Read the chip out.

        Parameters
        ----------
        image : ndarray, shape (n_spatial, n_wave)
            Whole electrons.
        rng : Generator
            The frame's stream.

        Returns
        -------
        ndarray, shape `profile.shape`, uint16
            ADU, [y, x] as the instrument's files hold it, clipped at saturation.
        """
        profile = self.profile
        turned = image if profile.arms[self.arm].direction > 0 else image[:, ::-1]
        chip = turned.T if profile.dispersion_axis == 0 else turned
        y0 = min(amp.data_y[0] for amp in profile.amplifiers)
        x0 = min(amp.data_x[0] for amp in profile.amplifiers)
        own = np.random.default_rng(self.bias.seed)
        adu = np.zeros(profile.shape, dtype=np.float32)
        gains, noises = profile.gains(self.arm), profile.read_noises(self.arm)
        for amp, gain, read_noise in zip(profile.amplifiers, gains, noises, strict=True):
            rows = own.uniform(900, 1300) + self._levels(rng)
            data = adu[slice(*amp.data_y), slice(*amp.data_x)]
            part = chip[
                amp.data_y[0] - y0 : amp.data_y[1] - y0, amp.data_x[0] - x0 : amp.data_x[1] - x0
            ]
            np.divide(part, gain, out=data, casting="same_kind")
            data += np.float32(self.bias.pattern) * own.standard_normal(
                data.shape[1], dtype=np.float32
            )
            ramp = np.linspace(0.0, 1.0, len(data), dtype=np.float64) ** 2
            data += _column(np.multiply(ramp, own.uniform(0.5, 3.0)))
            over = adu[slice(*amp.overscan_y), slice(*amp.overscan_x)]
            noise = np.float32(read_noise / gain)
            for area, span in ((data, amp.data_y), (over, amp.overscan_y)):
                wander = noise * rng.standard_normal(area.shape, dtype=np.float32)
                np.add(area, wander + _column(rows[slice(*span)]), out=area)
        np.rint(adu, out=adu)
        np.clip(adu, 0, min(profile.saturation, 65535), out=adu)
        return adu.astype(np.uint16)

    def _levels(self, rng: np.random.Generator) -> NDArray[np.float64]:
        """Offset of this frame's level, and its slow wander over the rows, ADU; shape (n_y,)."""
        phase = rng.uniform(0, 2 * np.pi)
        wander = 0.6 * np.sin(np.linspace(0.0, 5.0, self.profile.shape[0]) + phase)
        return np.asarray(wander + rng.normal(0, self.bias.drift), dtype=np.float64)


def _column(values: NDArray[np.float64]) -> NDArray[np.float32]:
    """One value a row, ready to be added to an image."""
    return values.astype(np.float32)[:, None]
