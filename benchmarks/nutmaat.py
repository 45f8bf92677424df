"""NutMaat (a Python port of MKCLASS) on the spectra that our models see.

    python benchmarks/nutmaat.py spectra WORK SPECTRA.npz [--split FILE] [--rows N]
    OTHER_PYTHON benchmarks/nutmaat.py classify SPECTRA.npz ANSWERS.csv --library MKLIB
    drcnet evaluate RUNS --predictions ANSWERS.csv --name nutmaat --work WORK
    drcnet compare RUNS

The second line wants an interpreter with NutMaat (pip install NutMaat; it pins pandas 2.2.2, so
give it a virtual environment of its own) and nothing of ours. Its standards are not in the wheel
nor in the source package of release 0.1.1: MKLIB is the folder `NutMaat/resources` of its
repository, with `nutmaat.lib` and `libnor36/` in it. With --rows some test rows are taken, evenly;
`drcnet evaluate` wants all of them.

Its disadvantages here are unfair, and are to be printed beside any number:

- it looks at 3800-4600 angstrom only (libnor36); LAMOST's plates and our rows begin near or above
  3900, in the faintest part of the blue arm (in the simulated night at 3882), and everything
  redder, where F, G and K are bright, is not looked at;
- it wants flux-calibrated or rectified spectra at 3.6 angstrom; ours are counts, rectified here by
  a running quantile, 2-3 angstrom wide, smoothed to 3.6;
- it was never shown one of these stars, has no training on noise, and answers among O to M and
  peculiar types, where ours know that there are three classes: an answer that is none of them
  counts as wrong;
- the labels are the libraries' literature types, on which ours were trained.

Not run to an answer here: the standards could not be fetched (no network but package registries),
so the columns read below are those of its source, and the first line alone has run.

One advantage: it needs no training set and gives subclass and luminosity.
"""

import argparse
import contextlib
import csv
import importlib.util
import io
import os
import re
import sys
import time
from pathlib import Path

import numpy as np

RANGE = (3800.0, 4600.0)  # air angstrom, libnor36
WIDTH = 3.6  # angstrom, its resolution
OURS = 2.7  # angstrom, about that of the blue arm
STEP = 0.5
CONTINUUM = 100.0  # angstrom, of the running quantile


def to_air(vacuum):
    """Air wavelength (Morton 2000, ApJS 130, 403, as the IAU takes it)."""
    s = (1e4 / vacuum) ** 2
    index = 1 + 8.34254e-5 + 2.406147e-2 / (130 - s) + 1.5998e-4 / (38.9 - s)
    return vacuum / index


def smooth(flux, angstrom):
    """Gaussian of so many angstrom FWHM on the grid."""
    sigma = angstrom / 2.3548 / STEP
    x = np.arange(-int(4 * sigma) - 1, int(4 * sigma) + 2)
    kernel = np.exp(-0.5 * (x / sigma) ** 2)
    weight = np.convolve(np.ones(len(flux)), kernel, "same")
    return np.convolve(flux, kernel, "same") / weight


def rectify(flux):
    """Divide by a smoothed running quantile of 0.9."""
    half = int(CONTINUUM / STEP / 2)
    level = [np.quantile(flux[max(0, i - half) : i + half + 1], 0.9) for i in range(len(flux))]
    level = smooth(np.array(level), CONTINUUM)
    return flux / np.maximum(level, 1e-3 * np.abs(level).max() + 1e-9)


def make_spectra(args):
    """Extract, shift to rest where the catalogue tells the velocity, resample, rectify."""
    import polars as pl

    from drcnet.dataset.split import read_split, split_file
    from drcnet.dataset.store import open_store
    from drcnet.stripes.polynomial import chebyshev_basis

    store = open_store(args.work)
    split = read_split(split_file(args.work, args.split)).filter(pl.col("part") == "test")
    rows = split["row"].sort().to_numpy().astype(np.int64)
    if args.rows:
        rows = rows[np.linspace(0, len(rows) - 1, args.rows).astype(int)]
    light = store.read("optimal", rows)[:, 0] - store.read("sky", rows)[:, 0]
    start = store.provenance["settings"]["prepare"]["stripes"]["row_start"]
    coefficients = store.read("wavelength", rows)[:, 0]
    basis = chebyshev_basis(start + np.arange(light.shape[1]), 4136, coefficients.shape[1] - 1)
    velocity = store.index[rows.tolist()]["rv"].fill_nan(None).fill_null(0.0).to_numpy()
    wave = to_air(coefficients @ basis) / (1 + velocity[:, None] / 299792.458)
    low = max(RANGE[0], float(wave[:, 0].max()))
    grid = np.arange(np.ceil(low), RANGE[1] + STEP / 2, STEP)
    extra = np.sqrt(WIDTH**2 - OURS**2)
    flux = np.array(
        [
            rectify(smooth(np.interp(grid, w, np.nan_to_num(f)), extra))
            for w, f in zip(wave, light, strict=True)
        ]
    )
    np.savez_compressed(args.out, row=rows, wave=grid, flux=flux.astype(np.float32))
    print(f"{len(rows)} spectra of {grid[0]:.0f}-{grid[-1]:.0f} angstrom (air) in {args.out}")


def classify(args):
    """One row a spectrum: its class, or 'unclassified'; the type as NutMaat gives it."""
    if importlib.util.find_spec("NutMaat") is None:
        sys.exit("nutmaat.py: wanted an interpreter with NutMaat, got one without it")
    if not (args.library / "nutmaat.lib").is_file():
        sys.exit(
            f"nutmaat.py: {args.library}: wanted NutMaat's standards (nutmaat.lib, libnor36/ ...; "
            "the package of release 0.1.1 has none, its repository has), got no nutmaat.lib"
        )
    import pandas as pd
    from NutMaat.classifier import Classifier

    data = np.load(args.spectra)
    os.environ["MKLIB"] = str(args.library)
    began = time.process_time()
    quiet = io.StringIO()
    with args.out.open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(("row", "class", "type"))
        with contextlib.redirect_stdout(quiet):
            machine = Classifier("libnor36", MKLIB=str(args.library))
        for row, flux in zip(data["row"], data["flux"], strict=True):
            one = pd.Series({"name": str(row), "wave": data["wave"], "flux": flux.astype(float)})
            kind = spell(machine, one, quiet)
            letter = re.match(r"\s*(?:kh?|s?d)?([OBAFGKM])\d", kind)
            table.writerow((row, letter.group(1) if letter else "unclassified", kind))
    seconds = (time.process_time() - began) / max(len(data["row"]), 1)
    print(f"{len(data['row'])} spectra, {seconds:.2f} s each, in {args.out}")


def spell(machine, one, quiet):
    """The type in words; what NutMaat cannot do is no type."""
    try:
        with contextlib.redirect_stdout(quiet), np.errstate(all="ignore"):
            # 1: rectified spectra; 3 iterations, as its examples have it
            found = machine.classify_spectrum(
                1, 3, from_df=True, df=one, cols=["name", "wave", "flux"]
            )
    except (Exception, SystemExit) as err:  # noqa: BLE001 - whatever it does with noise
        return f"? {type(err).__name__}"
    return f"{found['SPT'].iloc[0]} {found['LUM'].iloc[0]}".strip()


def main():
    """Read the words."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    stage = parser.add_subparsers(required=True)
    first = stage.add_parser("spectra")
    first.add_argument("work", type=Path)
    first.add_argument("out", type=Path)
    first.add_argument("--split")
    first.add_argument("--rows", type=int)
    first.set_defaults(do=make_spectra)
    second = stage.add_parser("classify")
    second.add_argument("spectra", type=Path)
    second.add_argument("out", type=Path)
    second.add_argument("--library", type=Path, required=True)
    second.set_defaults(do=classify)
    args = parser.parse_args()
    args.do(args)


if __name__ == "__main__":
    main()
