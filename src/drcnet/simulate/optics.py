"""Where light falls on a chip: traces, widths and wavelengths of every fibre, as polynomials."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.polynomial import polynomial
from numpy.typing import NDArray

from drcnet.config import SimulateSettings
from drcnet.errors import NightError
from drcnet.instruments import InstrumentProfile

__all__ = ["Optics", "Traces", "ccd_seed", "make_optics"]

FULL_CHIP = 4096.0
"""Pixels of the chip for which bends are given; smaller chips bend less."""

ARM_CODE = {"blue": 0, "red": 1}


@dataclass(frozen=True, eq=False)
class Traces:
    """Geometry of one exposure, evaluated on every wavelength row.

    Parameters
    ----------
    centers : ndarray, shape (n_fiber, n_wave)
        Centres across the fibres, pixels.
    fwhm : ndarray, shape (n_fiber, n_wave)
        FWHM of the spatial profile, pixels.
    wavelength : ndarray, shape (n_fiber, n_wave)
        Vacuum angstrom, as seen from the ground.
    """

    centers: NDArray[np.float64]
    fwhm: NDArray[np.float64]
    wavelength: NDArray[np.float64]

    def __post_init__(self) -> None:
        """Hold the invariant of shape."""
        shapes = {self.centers.shape, self.fwhm.shape, self.wavelength.shape}
        if len(shapes) != 1:
            raise NightError("Traces", "three arrays of one shape", str(sorted(shapes)))

    @property
    def dispersion(self) -> NDArray[np.float64]:
        """Angstrom per pixel, shape (n_fiber, n_wave)."""
        return np.asarray(np.gradient(self.wavelength, axis=1))


@dataclass(frozen=True, eq=False)
class Optics:
    """Geometry of one CCD, as polynomials in t, which runs from -1 to 1 along wavelength.

    Parameters
    ----------
    centers : ndarray, shape (n_fiber, 4)
        Coefficients of the centres (pixels), lowest power first.
    fwhm : ndarray, shape (n_fiber, 3)
        Coefficients of the spatial FWHM (pixels).
    wavelength : ndarray, shape (n_fiber, 4)
        Coefficients of the vacuum wavelength (angstrom).
    n_wave : int
        Rows along wavelength.
    shift : tuple of float
        Flexure: pixels across the fibres, and pixels along wavelength.
    """

    centers: NDArray[np.float64]
    fwhm: NDArray[np.float64]
    wavelength: NDArray[np.float64]
    n_wave: int
    shift: tuple[float, float] = (0.0, 0.0)

    def flexed(self, across: float, along: float) -> "Optics":
        """Move the image on the chip.

        Parameters
        ----------
        across, along : float
            Pixels by which light moves to higher fibre and wavelength pixels.

        Returns
        -------
        Optics
            The same optics with this shift in place of any older one.
        """
        return replace(self, shift=(float(across), float(along)))

    def traces(self) -> Traces:
        """Evaluate the geometry on every row.

        Returns
        -------
        Traces
            Arrays of shape (n_fiber, n_wave).
        """
        across, along = self.shift
        t = 2.0 * (np.arange(self.n_wave) - along) / (self.n_wave - 1) - 1.0
        return Traces(
            np.asarray(polynomial.polyval(t, self.centers.T) + across, dtype=np.float64),
            np.asarray(polynomial.polyval(t, self.fwhm.T), dtype=np.float64),
            np.asarray(polynomial.polyval(t, self.wavelength.T), dtype=np.float64),
        )


def ccd_seed(settings: SimulateSettings, spid: int, arm: str, use: int) -> np.random.SeedSequence:
    """Name the random stream of one property of one CCD.

    Parameters
    ----------
    settings : SimulateSettings
        The seed.
    spid : int
        Spectrograph.
    arm : str
        'blue' or 'red'.
    use : int
        Which property.

    Returns
    -------
    SeedSequence
        Equal for equal arguments, independent otherwise.
    """
    return np.random.SeedSequence([settings.seed, 1, spid, ARM_CODE.get(arm, 2), use])


def make_optics(
    profile: InstrumentProfile, arm: str, settings: SimulateSettings, spid: int
) -> Optics:
    """Draw the geometry of one CCD.

    The bow, tilt and stretch of the traces and the smile of the wavelengths are a few pixels on
    a full chip; no spectrograph's true values are published, so these are inferred.

    Parameters
    ----------
    profile : InstrumentProfile
        The instrument: nominal centres, arms, size of the chip.
    arm : str
        'blue' or 'red'.
    settings : SimulateSettings
        Profile width and seed.
    spid : int
        Spectrograph.

    Returns
    -------
    Optics
        The unflexed geometry.
    """
    rng = np.random.default_rng(ccd_seed(settings, spid, arm, 0))
    nominal = profile.fibers.centers()
    middle = (profile.n_spatial - 1) / 2
    u = (nominal - middle) / (profile.n_spatial / 2)  # -1..1 across the chip
    bend = min(1.0, profile.n_spatial / FULL_CHIP) ** 0.5
    return Optics(
        _centers(nominal, u, bend, rng),
        _widths(u, settings.profile_fwhm),
        _wavelengths(profile, arm, u, rng),
        profile.n_wave,
    )


def _centers(
    nominal: NDArray[np.float64], u: NDArray[np.float64], bend: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Offset and jitter in the slit, tilt, bow (stronger at the edges), stretch; (n_fiber, 4)."""
    offset = bend * rng.normal(0, 1.5)
    tilt = bend * rng.normal(0, 2.0)
    bow = bend * rng.uniform(2.0, 4.0) * rng.choice([-1, 1])
    stretch = bend * rng.normal(0, 1.5)
    cubic = bend * rng.normal(0, 0.3)
    slit = rng.normal(0, 0.25, len(u))
    constant = nominal + offset + slit - bow / 3
    return np.stack(
        [constant, tilt + stretch * u, bow * (1 + 0.3 * u), cubic * (1 + 0.2 * u)], axis=1
    )


def _widths(u: NDArray[np.float64], fwhm: float) -> NDArray[np.float64]:
    """Widths that grow by a seventh from the centre to the corners; (n_fiber, 3)."""
    grow = 0.07 * fwhm
    return np.stack([fwhm + grow * u**2, np.zeros_like(u), np.full_like(u, grow)], axis=1)


def _wavelengths(
    profile: InstrumentProfile, arm: str, u: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Nominal range bent by a few per mille; a smile and a tilt of some pixels; (n_fiber, 4)."""
    span = profile.arms[arm]
    half = (span.wavelength_stop - span.wavelength_start) / 2
    center = (span.wavelength_stop + span.wavelength_start) / 2
    bend, cubic = rng.normal(0.008, 0.002), rng.normal(0, 0.002)
    reach = min(1.0, profile.n_wave / FULL_CHIP)
    smile = reach * rng.uniform(4.0, 8.0) * rng.choice([-1, 1])
    tilt, offset = reach * rng.normal(0, 2.0, 2)
    slit = reach * rng.normal(0, 0.15, len(u))
    shift = 2.0 * (smile * (u**2 - 1 / 3) + tilt * u + offset + slit) / profile.n_wave
    # the curve c + h t + h b (1 - t^2) + h q (t^3 - t), moved by `shift` along t
    base = np.array([center + half * bend, half * (1 - cubic), -half * bend, half * cubic])
    return np.stack([_moved(base, s) for s in shift])


def _moved(coefficients: NDArray[np.float64], shift: float) -> NDArray[np.float64]:
    """Coefficients of p(t - shift)."""
    result = np.zeros(1)
    for value in coefficients[::-1]:
        result = polynomial.polyadd(polynomial.polymul(result, [-shift, 1.0]), [value])
    moved = np.zeros(len(coefficients))
    moved[: len(result)] = result[: len(moved)]
    return moved
