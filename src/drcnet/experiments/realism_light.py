"""S/N along wavelength, the sky's lines and the chips' noise, simulated beside real."""

import tempfile
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from drcnet.config import SimulateSettings
from drcnet.dataset.profiles import stored_instrument
from drcnet.dataset.store import ARMS, Store
from drcnet.errors import SpectrumError
from drcnet.experiments.rest_spectra import JOINT
from drcnet.frames.read import read_frame
from drcnet.instruments import InstrumentProfile, load_instrument
from drcnet.simulate.exposure import FrameTask, write_frame
from drcnet.simulate.light import sensitivity
from drcnet.simulate.plan import Exposure, frame_file, make_schedule
from drcnet.simulate.sky import SkyModel, smear

__all__ = ["SKY_LINES", "ccd", "compare_sky", "snr_shape"]

SKY_LINES = {
    "Hg 4358": (4345.0, 4375.0),
    "Hg 5461": (5448.0, 5478.0),
    "O I 6300": (6290.0, 6315.0),
    "OH 7276-7341": (7265.0, 7350.0),
    "OH 7712-7822": (7700.0, 7835.0),
    "OH 8345-8505": (8335.0, 8520.0),
}
"""Vacuum angstrom over which a line's equivalent width is taken. O I 5577 and Na D lie between
the stripes of the two arms."""

_ROWS = 512
_SPIDS = (1, 2)


def snr_shape(store: Store, path: Path) -> pl.DataFrame:
    """S/N along wavelength, relative to its median over 5500-7000 angstrom.

    Parameters
    ----------
    store : Store
        Simulated stars.
    path : Path
        snr_shape.csv: wavelength, median pixel S/N over snrr, of real spectra.

    Returns
    -------
    DataFrame
        Columns wavelength, real, simulated.
    """
    real = np.loadtxt(path, delimiter=",", comments="#")
    rows = store.index.filter("usable")["row"].to_numpy()
    profile = stored_instrument(store)
    first = store.provenance["settings"]["prepare"]["stripes"]["row_start"]
    curves = [
        _snr_of(store, rows[k : k + _ROWS], real[:, 0], (first, profile.n_wave))
        for k in range(0, len(rows), _ROWS)
    ]
    squared = np.concatenate(curves)
    seen = np.isfinite(squared).mean(axis=0) > 0.5
    shape = np.full(len(real), np.nan)
    shape[seen] = np.nanmedian(squared[:, seen], axis=0)
    # Ours has a gap between the arms: the same pixels of both must set the scale.
    inside = (real[:, 0] > 5500) & (real[:, 0] < 7000) & np.isfinite(shape)
    return pl.DataFrame(
        {
            "wavelength": real[:, 0],
            "real": real[:, 1] / np.nanmedian(real[inside, 1]),
            "simulated": shape / np.nanmedian(shape[inside]),
        }
    )


def _snr_of(
    store: Store, rows: NDArray[np.int64], wave: NDArray[np.float64], pixels: tuple[int, int]
) -> NDArray[np.float64]:
    """S/N a 1e-4 dex of each row, on `wave`; both arms' added in quadrature where they meet."""
    light = store.read("optimal", rows).astype(np.float64) - store.read("sky", rows)
    ivar = store.read("optimal_ivar", rows).astype(np.float64)
    polynomial = store.read("wavelength", rows)
    first, n_wave = pixels
    place = 2.0 * (first + np.arange(light.shape[-1])) / (n_wave - 1) - 1.0
    squared = np.zeros((len(rows), len(wave)))
    for n in range(len(rows)):
        for arm in range(2):
            here = np.polynomial.chebyshev.chebval(place, polynomial[n, arm])
            good = np.isfinite(light[n, arm]) & (ivar[n, arm] > 0) & np.isfinite(here)
            if not good.any():
                continue
            a_row = light[n, arm] ** 2 * ivar[n, arm]
            in_step = a_row * here * np.log(10.0) * 1e-4 / np.gradient(here)
            squared[n] += np.interp(wave, here[good], in_step[good], left=0.0, right=0.0)
    squared[squared <= 0] = np.nan
    inside = (wave > 5500) & (wave < 7000)
    value = np.sqrt(squared)
    return np.asarray(value / np.nanmedian(value[:, inside], axis=1)[:, None])


def compare_sky(store: Store, path: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Hold the frames' sky, freed of the sensitivity, against the UVES sky at our resolution.

    Parameters
    ----------
    store : Store
        Simulated stars.
    path : Path
        FITS table of the UVES sky: wavelength, flux.

    Returns
    -------
    lines : DataFrame
        Columns line, uves, simulated, simulated_moonless: equivalent widths, angstrom of
        continuum.
    spectra : DataFrame
        Columns wavelength, uves, simulated: photons relative to 5500-5540 angstrom.

    Raises
    ------
    SpectrumError
        The file cannot be read.
    """
    wave, uves = _read_uves(path)
    ours = _mean_sky(store, wave)
    level = (wave > 5500) & (wave < 5540)
    uves, ours = uves / np.median(uves[level]), ours / np.nanmedian(ours[level])
    dark = _dark_sky(wave)
    lines = [
        {
            "line": name,
            "uves": _equivalent_width(wave, uves, span),
            "simulated": _equivalent_width(wave, ours, span),
            "simulated_moonless": _equivalent_width(wave, dark, span),
        }
        for name, span in SKY_LINES.items()
    ]
    spectra = pl.DataFrame({"wavelength": wave, "uves": uves, "simulated": ours})
    return pl.DataFrame(lines), spectra


def _dark_sky(wave: NDArray[np.float64]) -> NDArray[np.float64]:
    """Our sky before any instrument, without a moon."""
    sky = SkyModel(1.0, 0.0)
    return sky.continuum(wave) + smear(sky.lines(wave), 3.0, float(wave[1] - wave[0]))


def _read_uves(path: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """UVES sky as photons, smoothed to 3 angstrom in the blue and 4.4 in the red."""
    from astropy.io import fits  # noqa: PLC0415

    try:
        table = fits.getdata(path, 1)
        wave = np.asarray(table["wavelength"], np.float64)
        energy = np.asarray(table["flux"], np.float64)
    except (OSError, KeyError, IndexError) as err:
        raise SpectrumError(path, "the UVES sky (columns wavelength, flux)", str(err)) from err
    grid = np.arange(3700.0, 9000.0, 0.5)
    photons = np.interp(grid, wave, smear(energy * wave, 0.5, float(np.median(np.diff(wave)))))
    blue, red = smear(photons, 3.0, 0.5), smear(photons, 4.4, 0.5)
    return grid, np.where(grid < np.mean(JOINT), blue, red)


def _mean_sky(store: Store, wave: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean sky of the store's sky fibres per angstrom, over the sensitivity."""
    profile = stored_instrument(store)
    first = store.provenance["settings"]["prepare"]["stripes"]["row_start"]
    rows = store.index.filter(pl.col("usable")).head(40)["row"].to_numpy()
    sky, polynomial = store.read("sky", rows), store.read("wavelength", rows)
    place = 2.0 * (first + np.arange(sky.shape[-1])) / (profile.n_wave - 1) - 1.0
    arms = []
    for arm, name in enumerate(ARMS):
        each = []
        for n in range(len(rows)):
            here = np.polynomial.chebyshev.chebval(place, polynomial[n, arm])
            per_angstrom = sky[n, arm] / np.gradient(here)
            each.append(np.interp(wave, here, per_angstrom, left=np.nan, right=np.nan))
        seen = sensitivity(wave, profile, name)
        lit = np.isfinite(each).any(axis=0)
        mean = np.full(len(wave), np.nan)
        mean[lit] = np.nanmean(np.asarray(each)[:, lit], axis=0)
        arms.append(mean / np.where(seen > 0.02, seen, np.nan))
    return np.where(wave < np.mean(JOINT), arms[0], arms[1])


def _equivalent_width(
    wave: NDArray[np.float64], flux: NDArray[np.float64], span: tuple[float, float]
) -> float:
    """Angstrom of continuum in a line; the continuum is the median of 60 angstrom beside it."""
    inside = (wave >= span[0]) & (wave < span[1])
    beside = (wave >= span[0] - 30) & (wave < span[1] + 30) & ~inside
    level = np.nanmedian(flux[beside])
    return float(np.nansum(flux[inside] / level - 1.0) * (wave[1] - wave[0]))


def ccd(settings: SimulateSettings, folder: Path) -> pl.DataFrame:
    """Measure bias frames of our CCDs as bias_stats measures real ones.

    Parameters
    ----------
    settings : SimulateSettings
        The survey whose CCDs are looked at; two spectrographs, five frames.
    folder : Path
        With bias_stats_*.csv.

    Returns
    -------
    DataFrame
        One row an arm and number: its median and 10-90% over the real chips, and ours; ADU.

    Raises
    ------
    SpectrumError
        There is no such table.
    """
    tables = sorted(folder.glob("bias_stats_*.csv"))
    if not tables:
        raise SpectrumError(folder, "bias_stats_*.csv", "none")
    real = pl.read_csv(tables[0])
    profile = load_instrument(settings.instrument)
    asked = settings.model_copy(update={"bias_frames": 5})
    biases = [one for one in make_schedule(asked)[0] if one.kind == "bias"]
    lines = []
    for arm in profile.arms:
        cubes = [_bias_cube(asked, profile, (spid, arm), biases) for spid in _SPIDS]
        ours = np.mean([_bias_numbers(cube) for cube in cubes], axis=0)
        theirs = real.filter(pl.col("ccd").str.ends_with(arm[0]))
        for name, value in zip(("med_frame_sstd", "bias_mean", "bias_sstd"), ours, strict=True):
            values = theirs[name].to_numpy()
            low, middle, high = np.percentile(values, [10, 50, 90])
            lines.append(
                {"arm": arm, "number": name, "real_10": low, "real": middle, "real_90": high}
                | {"simulated": float(value)}
            )
    return pl.DataFrame(lines)


def _bias_cube(
    settings: SimulateSettings,
    profile: InstrumentProfile,
    chip: tuple[int, str],
    biases: list[Exposure],
) -> NDArray[np.float32]:
    """Bias frames of one CCD (spectrograph, arm) less their overscan, written and read back."""
    frames = []
    with tempfile.TemporaryDirectory() as scratch:
        for one in biases:
            path = Path(scratch) / frame_file(one, *chip, profile, ".fit")
            write_frame(FrameTask(path, one, *chip, settings, profile, "bias"))
            frame = read_frame(path, profile)
            level = frame.pedestal[frame.amplifier, np.arange(profile.n_wave)]
            frames.append(frame.counts - level)
            path.unlink()
    return np.stack(frames)


def _bias_numbers(cube: NDArray[np.float32]) -> tuple[float, float, float]:
    """Median over frames of the scatter about the master, and the master's mean and scatter."""
    master = np.median(cube, axis=0)
    scatter = float(np.median([np.std(frame - master) for frame in cube]))
    return scatter, float(master.mean()), float(master.std())
