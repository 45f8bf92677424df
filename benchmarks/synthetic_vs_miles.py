"""Show the built-in stars beside MILES: line indices against Teff, star by star.

    python benchmarks/synthetic_vs_miles.py SHARED_DATA [--out docs/results]

Every MILES star with parameters inside the grid gets a built-in spectrum of the same Teff, log g
and [Fe/H]. Draws `builtin-stars.png` (indices) and `builtin-spectra.png` (four stars) and prints
the tables of `builtin-stars.md`. Where the library is absent, it says so and ends with code 0.
"""

import argparse
import csv
import sys
import time
from pathlib import Path

import matplotlib as mpl
import numpy as np
from scipy.ndimage import gaussian_filter1d, median_filter

from drcnet.simulate.builtin import main_sequence_logg
from drcnet.simulate.grid import FEH, LOGG, TEFF, SpectrumGrid
from drcnet.simulate.spectra import rest_grid
from drcnet.simulate.synthesis import FWHM

mpl.use("Agg")
import matplotlib.pyplot as plt

# Worthey et al. (1994, ApJS 94, 687), air: band, blue and red side bands.
INDICES = {
    "H beta": ((4847.875, 4876.625), (4827.875, 4847.875), (4876.625, 4891.625)),
    "Mg b": ((5160.125, 5192.625), (5117.700, 5142.700), (5191.375, 5206.375)),
    "Ca I 4227": ((4222.250, 4234.750), (4211.000, 4219.750), (4241.000, 4251.000)),
    "G band": ((4281.375, 4316.375), (4266.375, 4282.625), (4317.625, 4335.250)),
    "Na D": ((5876.875, 5909.375), (5860.625, 5875.675), (5922.125, 5948.125)),
    "Fe5270": ((5245.650, 5285.650), (5233.150, 5248.150), (5285.650, 5318.150)),
}
BINS = ((3800, 4300), (4300, 4800), (4800, 5300), (5300, 5800), (5800, 6300), (6300, 7300))
MILES_FWHM = 2.5


def air_to_vacuum(wave):
    """Vacuum angstrom (inverse of Ciddor 1996, as given by Piskunov for VALD)."""
    s2 = (1e4 / np.asarray(wave, float)) ** 2
    return wave * (
        1.0
        + 8.336624212083e-5
        + 0.02408926869968 / (130.1065924522 - s2)
        + 1.599740894897e-4 / (38.92568793293 - s2)
    )


def equivalent_width(wave, flux, bands):
    """Lick-style index in angstrom; flux (n_star, n_pix)."""

    def mean(low, high):
        low, high = air_to_vacuum(low), air_to_vacuum(high)
        edges = np.gradient(wave)
        cover = np.clip(
            (np.minimum(wave + edges / 2, high) - np.maximum(wave - edges / 2, low)) / edges, 0, 1
        )
        return (flux * cover * edges).sum(-1) / (cover * edges).sum()

    centre, blue, red = bands
    blue_at, red_at, at = (sum(b) / 2 for b in (blue, red, centre))
    left, right = mean(*blue), mean(*red)
    level = left + (right - left) * (at - blue_at) / (red_at - blue_at)
    return (1.0 - mean(*centre) / level) * (centre[1] - centre[0])


def read_miles(folder):
    """MILES stars inside the grid: parameters (n, 3), types, flux on `rest_grid`."""
    with (folder / "miles" / "miles_fgk.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    pack = np.load(folder / "miles" / "miles_fgk.npz")
    number = [[r[k].strip("-+") and r[k] for k in ("teff", "logg", "feh")] for r in rows]
    parameters = np.array([[float(v or "nan") for v in row] for row in number])
    low, high = np.array([(a[0], a[-1]) for a in (TEFF, LOGG, FEH)]).T
    keep = np.all((parameters >= low) & (parameters <= high), axis=1)
    wave = air_to_vacuum(3540.5 + 0.9 * np.arange(pack["flux"].shape[1]))
    sigma = np.sqrt(FWHM**2 - MILES_FWHM**2) / 2.3548 / 0.9
    flux = gaussian_filter1d(pack["flux"][keep].astype(float), sigma, axis=1)
    grid = rest_grid()
    grid = grid[grid < wave[-5]]
    flux = np.array([np.interp(grid, wave, f) for f in flux])
    types = [r["spt"] for r, k in zip(rows, keep, strict=True) if k]
    return parameters[keep], types, grid, flux


def flatten(flux):
    """Divide a running median (about 250 angstrom) out."""
    return flux / median_filter(flux, size=(1, 401), mode="nearest")


def print_tables(parameters, indices, spectra):
    (real, ours), (wave, real_flux, our_flux) = indices, spectra
    teff, logg, feh = parameters.T
    print("| stars | n | " + " | ".join(real) + " | blue | red |")
    print("|---|---|" + "---|" * (len(real) + 2))
    blue, red = (wave > 3900) & (wave < 4900), (wave > 4900) & (wave < 7300)
    for name, group in (("dwarfs", logg >= 3.8), ("giants", logg < 3.5)):
        for low, high in BINS:
            inside = group & (teff >= low) & (teff < high) & (feh > -0.5)
            if inside.sum() < 4:
                continue
            cells = []
            for index in real:
                ratio = np.median(ours[index][inside]) / np.median(real[index][inside])
                cells.append(f"{np.median(real[index][inside]):.2f} ({ratio:.2f})")
            off = flatten(our_flux[inside]) - flatten(real_flux[inside])
            cells += [f"{100 * np.median(np.std(off[:, b], axis=1)):.1f}" for b in (blue, red)]
            print(f"| {name} {low}-{high} K | {inside.sum()} | " + " | ".join(cells) + " |")


def draw_indices(path, parameters, real, ours):
    teff, logg, feh = parameters.T
    figure, axes = plt.subplots(2, 3, figsize=(13, 7.5), layout="constrained")
    solar = feh > -0.5
    groups = (("dwarfs", solar & (logg >= 3.8), "C0"), ("giants", solar & (logg < 3.5), "C3"))
    for ax, index in zip(axes.flat, real, strict=True):
        for name, group, color in groups:
            ax.plot(teff[group], real[index][group], ".", color=color, alpha=0.35, ms=5,
                    label=f"MILES {name}")  # fmt: skip
            ax.plot(teff[group], ours[index][group], "x", color=color, ms=4, mew=0.8,
                    label=f"built-in, same parameters ({name})")  # fmt: skip
        ax.set(title=index, xlabel="Teff [K]", ylabel="equivalent width [angstrom]")
        ax.set_xlim(7500, 3700)
    axes.flat[0].legend(fontsize=7)
    figure.suptitle("Built-in stars beside MILES, [Fe/H] > -0.5, FWHM 2.8 angstrom")
    figure.savefig(path, dpi=80)
    plt.close(figure)


def draw_spectra(path, parameters, real_flux, our_flux, wave):
    teff, logg, feh = parameters.T
    wanted = ((6900, 4.2), (5777, 4.44), (4450, 4.6), (3900, 4.7), (4700, 2.5), (3900, 1.2))
    figure, axes = plt.subplots(len(wanted), 1, figsize=(15, 20), layout="constrained")
    for ax, (t, g) in zip(axes, wanted, strict=True):
        distance = np.abs(teff - t) / 100 + np.abs(logg - g) * 2 + np.abs(feh) * 4
        near = np.argsort(distance)[:4]
        mean = np.mean(real_flux[near] / np.median(real_flux[near], axis=1)[:, None], axis=0)
        twin = np.mean(our_flux[near] / np.median(our_flux[near], axis=1)[:, None], axis=0)
        ax.plot(wave, mean, "k", lw=0.8, label="MILES, mean of 4")
        ax.plot(wave, twin, "C1", lw=0.8, label="built-in, same parameters")
        ax.set_xlim(3650, 7420)
        ax.set_title(f"{t} K, log g {g}: means {teff[near].mean():.0f}, {logg[near].mean():.2f}")
    axes[0].legend()
    figure.savefig(path, dpi=70)
    plt.close(figure)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder that holds miles/")
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    parser.add_argument("--lines", type=Path, help="a fuller line list")
    options = parser.parse_args()
    if not (options.data / "miles" / "miles_fgk.npz").is_file():
        print(f"skipped: no MILES in {options.data}")
        return 0
    parameters, _, wave, real_flux = read_miles(options.data)
    begin = time.perf_counter()
    our_flux = SpectrumGrid(lines=options.lines).interpolate(parameters)[:, : len(wave)]
    print(f"{len(parameters)} stars in {time.perf_counter() - begin:.0f} s")
    real = {k: equivalent_width(wave, real_flux, v) for k, v in INDICES.items()}
    ours = {k: equivalent_width(wave, our_flux, v) for k, v in INDICES.items()}
    print_tables(parameters, (real, ours), (wave, real_flux, our_flux))
    sequence = np.abs(parameters[:, 1] - main_sequence_logg(parameters[:, 0])) < 0.5
    print(f"{sequence.sum()} of them within 0.5 dex of the main sequence of the built-in stars")
    options.out.mkdir(parents=True, exist_ok=True)
    draw_indices(options.out / "builtin-stars.png", parameters, real, ours)
    draw_spectra(options.out / "builtin-spectra.png", parameters, real_flux, our_flux, wave)
    return 0


if __name__ == "__main__":
    sys.exit(main())
