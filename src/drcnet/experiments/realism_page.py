"""The realism page: tables and figures of `measure_realism`."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from drcnet.benchmark.tables import markdown
from drcnet.evaluate.style import COLORS, new_figure
from drcnet.experiments.realism import SUBCLASSES, Realism
from drcnet.experiments.rest_spectra import JOINT, common_grid
from drcnet.provenance import atomic_write

__all__ = ["write_realism"]

_REAL, _OURS = "0.25", COLORS[1]

_HEAD = """# How real is the simulator?

Real spectra, skies and chips beside simulated ones. Made by

```
DRCNET_SHARED_DATA=../shared/data drcnet benchmark realism SCRATCH --out docs/results
```

which simulates every star of MILES, PyHammer and Indo-US once ("libraries") and every LAMOST F
and G star with S/N > 50 once ("lamost"), S/N 30 to 120, one exposure each, and reduces them by the
same functions as any night. A line spectrum is a 1-D spectrum at rest, its continuum divided out
on each side of the dichroic, without the telluric bands (which LAMOST's pipeline corrects). Every
line of the tables is measured; nothing here was tuned on them but where it says so.
"""

_CLASSIFIER = """## A classifier's view

One linear classifier (100 principal components, logistic regression) tells F from G; tested on
real LAMOST 1-D spectra with S/N > 50, pipeline labels. Intervals: 95%, bootstrap over stars.
'inner' leaves subclasses 0, 1, 8 and 9 out.
"""

_SPECTRA = """## Line spectra of one subclass

![Median line spectra](realism-spectra.png)

Medians of all stars of a subclass: library stars through the simulator, and real LAMOST spectra.
`rms` is that of their difference, `line_rms` that of the real lines about their mean.
"""

_SHAPE = """## S/N along wavelength

![S/N along wavelength](realism-snr.png)

Median S/N a 1e-4 dex over its median at 5500-7000 angstrom (where both are known); real: LAMOST
spectra with snrr 40-400, mostly of F and G stars; simulated: the "lamost" night, one exposure. The
simulator's sensitivity was tuned on this curve.
"""

_SKY = """## Sky

![Sky](realism-sky.png)

Equivalent widths (angstrom of the continuum beside a line) of the UVES sky (Paranal, moonless) and
of the frames' sky freed of the sensitivity. Ours has a moon, which dilutes every line (the last
column is without it), and street lamps (Hg), which Paranal has not. O I 5577 stands at the end of
the blue stripe, beyond it in some fibres; Na D lies between the arms' stripes.
"""

_CHIPS = """## Chips

Bias frames: scatter of a frame about the median of five (cosmic rays included), and mean and
scatter of that median, ADU; real: median and 10-90% of LAMOST's chips.
"""

_READING = """## Too easy, too hard

- **Chips too quiet.** Bias frames scatter less than LAMOST's (the red ones most): read noise and
  cosmic rays are those of a good chip. Faint stars are a little too easy in the red.
- **Sky lines too weak under a moon.** Without one they stand over the continuum about as at
  Paranal; the moon of a survey night dilutes them, and the dips that OH lines cut into the real
  S/N beyond 7200 angstrom are deeper than ours.
- **Line spectra agree** to a third to two thirds of the lines' own scatter; a slow wave of some 4%
  remains where the continuum is divided out (nothing is flux-calibrated here), and lines of G5 and
  G8 are too shallow, the blue ones and Mg b most (assumed: the libraries' stars of these types are
  hotter or of another luminosity than the pipeline's, which a shift of the types would also do).
- **Class K cannot be compared**: the real spectra with S/N > 50 hold nine.
"""

_MISSING = """## What is not modelled

- **Calibration errors.** No error of the flat beyond noise, no ghosts, no
  charge transfer, no blooming, no hot columns; the red CCDs' broken columns (`bias_sstd` of some
  real chips is in the hundreds) are absent.
- **Sky.** One sky for all fibres of an exposure: no gradient over the field, no fibre-to-fibre
  difference of the sky's line shape but that of the CCD's widths. The lines' relative strengths
  are a fixed list and vary together; real OH bands vary by themselves.
- **Light.** The same dust law for all, no binaries, no rotation or activity beyond what the real
  library spectra have, no stars of other kinds, no blends in a fibre. No error of pointing, and no
  atmospheric refraction, which reddens or blues real fibres differently.
- **Labels.** Types are the literature's (libraries) or the pipeline's (`lamost-real`); the two
  systems differ by about a subclass at F9-G0, which is the largest part of the gap above.
- **Resolution.** Library stars carry their own resolution (about 4 angstrom with Indo-US, 3.6
  LAMOST's own) into a spectrograph whose line spread is taken as its share of the total; where a
  star is coarser than the instrument nothing sharpens it, so blue lines are a little too shallow.
- **Time.** One night: no change of focus, throughput or bias over months.
"""


def write_realism(found: Realism, folder: Path) -> Path:
    """Write realism.md and its figures.

    Parameters
    ----------
    found : Realism
        The measurements.
    folder : Path
        Where to.

    Returns
    -------
    Path
        The page.
    """
    figures = {
        "realism-spectra.png": _draw_spectra(found),
        "realism-snr.png": _draw_snr(found),
        "realism-sky.png": _draw_sky(found),
    }
    for name, figure in figures.items():
        with atomic_write(folder / name) as path:
            figure.savefig(path, dpi=130, metadata={"Software": None})
    parts = [
        _HEAD,
        _CLASSIFIER,
        _classifier_table(found.classifier),
        _verdict(found.classifier),
        _SPECTRA,
        markdown(found.spectra),
        _SHAPE,
        _shape_text(found.snr_shape),
        _SKY,
        markdown(found.sky),
        _CHIPS,
        markdown(found.ccd),
        _READING,
        _MISSING,
    ]
    page = folder / "realism.md"
    with atomic_write(page) as path:
        path.write_text("\n".join(parts), encoding="utf-8")
    return page


def _classifier_table(scores: pl.DataFrame) -> str:
    def percent(row: dict[str, Any], suffix: str) -> str:
        low, high = row[f"low{suffix}"], row[f"high{suffix}"]
        return f"{row[f'accuracy{suffix}']:.1%} ({low:.1%} to {high:.1%})"

    lines = [
        "| trained on | spectra | stars | accuracy on real LAMOST | inner |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['trained_on']} | {row['spectra']} | {row['stars']} "
        f"| {percent(row, '')} | {percent(row, '_inner')} |"
        for row in scores.iter_rows(named=True)
    ]
    return "\n".join(lines) + "\n"


def _verdict(scores: pl.DataFrame) -> str:
    """Say how far training on simulated spectra is behind training on real ones."""
    real, same, libraries, plain = scores["accuracy"].to_list()
    return (
        f"Behind real training: {100 * (real - same):.1f} points when LAMOST stars are simulated "
        f"(same labels, other stars; what is lost is the simulator's and a second dose of noise), "
        f"{100 * (real - libraries):.1f} points with library stars through the simulator, "
        f"{100 * (real - plain):.1f} points with the library spectra as they are (no simulator; "
        "other stars and the literature's labels). The aim is 5 points.\n"
    )


def _shape_text(shape: pl.DataFrame) -> str:
    ratio = (shape["simulated"] / shape["real"]).to_numpy()
    wave = shape["wavelength"].to_numpy()
    lines = ["| angstrom | simulated over real: median | 10% | 90% |", "|---|---|---|---|"]
    for low, high in ((4000, 4500), (4500, 5500), (6200, 7000), (7000, 8000), (8000, 8450)):
        inside = (wave >= low) & (wave < high) & np.isfinite(ratio)
        ten, half, ninety = np.percentile(ratio[inside], [10, 50, 90])
        lines.append(f"| {low}-{high} | {half:.2f} | {ten:.2f} | {ninety:.2f} |")
    return "\n".join(lines) + "\n"


def _draw_spectra(found: Realism) -> Any:
    """Draw one panel a subclass, real below simulated, and what lies between them."""
    figure, axes = new_figure((9.0, 2.1 * len(SUBCLASSES)), rows=len(SUBCLASSES))
    grid = common_grid()
    for name, ax in zip(SUBCLASSES, axes[:, 0], strict=True):
        for side in (grid < JOINT[0], grid > JOINT[1]):
            real = found.medians[name, "real"][side]
            ours = found.medians[name, "simulated"][side]
            ax.plot(grid[side], real, color=_REAL, lw=0.8, label="real LAMOST")
            ax.plot(grid[side], ours, color=_OURS, lw=0.8, label="simulated")
            ax.plot(
                grid[side], ours - real + 0.3, color=COLORS[0], lw=0.6, label="difference + 0.3"
            )
        ax.set(ylabel=name, ylim=(0.15, 1.25), xlim=(grid[0], grid[-1]))
    handles, labels = axes[0, 0].get_legend_handles_labels()
    axes[0, 0].legend(
        handles[:3], labels[:3], loc="center", bbox_to_anchor=(0.41, 0.5), fontsize=7
    )
    axes[-1, 0].set_xlabel("vacuum wavelength at rest, angstrom")
    return figure


def _draw_snr(found: Realism) -> Any:
    figure, axes = new_figure((7.5, 3.2))
    shape = found.snr_shape
    for name, color, label in (
        ("real", _REAL, "real LAMOST, median"),
        ("simulated", _OURS, "simulated, median of LAMOST stars"),
    ):
        axes[0, 0].plot(shape["wavelength"], shape[name], color=color, lw=0.9, label=label)
    axes[0, 0].set(xlabel="vacuum wavelength, angstrom", ylabel="S/N over snrr", ylim=(0, 1.8))
    axes[0, 0].legend(fontsize=8)
    return figure


def _draw_sky(found: Realism) -> Any:
    figure, axes = new_figure((9.0, 3.4))
    sky = found.sky_spectra
    for name, color, label in (
        ("uves", _REAL, "UVES sky, at our resolution"),
        ("simulated", _OURS, "simulated sky over sensitivity"),
    ):
        axes[0, 0].plot(sky["wavelength"], sky[name], color=color, lw=0.7, label=label)
    axes[0, 0].set(
        xlabel="vacuum wavelength, angstrom", ylabel="photons, 5500-5540 = 1", yscale="log"
    )
    axes[0, 0].set_ylim(0.3, 60)
    axes[0, 0].legend(fontsize=8)
    return figure
