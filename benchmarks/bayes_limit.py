"""How right can anyone be about built-in stars? A classifier that knows the physics, by S/N.

    python benchmarks/bayes_limit.py FGK-BUILTIN [RUNS ...] --page docs/results/limit.md

FGK-BUILTIN is the set of configs/benchmarks/fgk-builtin.toml, RUNS folders of sweeps over its
folds (configs/sweeps/builtin-folds.toml), to be set beside the limit. Nothing is trained here.
"""

import argparse
import sys
import tomllib
from pathlib import Path

import numpy as np
import polars as pl
from scipy.interpolate import CubicSpline
from scipy.spatial import cKDTree
from scipy.special import logsumexp

from drcnet.config import BenchmarkSettings, EvaluateSettings
from drcnet.dataset.split import read_split
from drcnet.dataset.store import open_store
from drcnet.evaluate.comparison import accuracy_curve
from drcnet.evaluate.figures import save_figure
from drcnet.evaluate.metrics import bootstrap_sums
from drcnet.evaluate.runs import INTERVALS, Run
from drcnet.evaluate.style import MARKERS, color_of, new_figure
from drcnet.evaluate.tables import to_markdown
from drcnet.instruments import load_instrument
from drcnet.provenance import atomic_write
from drcnet.simulate.builtin import builtin_stars, spectral_type
from drcnet.simulate.grid import SpectrumGrid
from drcnet.simulate.light import extinction, sensitivity
from drcnet.simulate.sky import smear, telluric_transmission
from drcnet.simulate.spectra import rest_grid
from drcnet.stripes.polynomial import chebyshev_basis
from folds import BELOW, pooled_runs

LIGHT_SPEED = 299792.458  # km/s
VELOCITY, DUST = 50.0, 0.06  # spread in km/s, mean E(B-V): what the simulator draws from
CHUNK = 500
NODES = 61  # of the quadrature over what blurs the literature's types

STORY = """
`{name}` is made of stars of known physics: a spectrum follows from Teff, log g and [Fe/H], a
velocity and dust. So the best classifier there can be is known too: the posterior of a star among
{library} others drawn from the very population (Bayes), given each pixel's noise. Types are
blurred by {spread:g} K, as the literature's are.

- *parameters known*: how often the most probable type is right for one who knows Teff and log g
  exactly. No spectrum, no noise.
- *Bayes, all known*: sky, profile, wavelengths and throughput known without error, only the
  brightness integrated over; spectra of the test stars made anew, at the brightness and with the
  pixels' noise of the set's own rows.
- *Bayes, arms apart*: the same, but the brightness of blue and red each integrated over, as in
  every model here, which all take the arms to a level of their own.
- *Bayes, extracted rows*: the same, asked about the set's own rows as the pipeline extracted
  them, with its errors of sky, wavelength and profile. What lies between this and a model is the
  model's; what lies between this and *parameters known* is not.
- *stars that count*: the effective number of library stars in the posterior, median; where it is
  below 10, the library is too coarse, and the limit lies between Bayes and *parameters known*.

95% intervals are from a bootstrap over stars; seed {seed}.
"""

FIGURE = """
![Accuracy against S/N]({name})

*Grey: limits; colours: what models reach, with 95% intervals. A Gaussian kernel of 0.12 dex.*
"""

GAP = """
Share of the gap between `{bar}` and a limit that a line closes, with its 95%
interval over stars; *any* where the gap itself may be none. *Bayes, extracted rows* sees what the
models see; to *Bayes, arms apart* nobody comes whose pipeline makes errors:
"""


def class_shares(teff, giant, classes, spread):
    """Probability of each class for temperatures as the literature would give them."""
    x, weight = np.polynomial.hermite_e.hermegauss(NODES)
    shares = np.zeros((len(teff), len(classes)))
    for node, part in zip(x, weight, strict=True):
        for k, (t, g) in enumerate(zip(teff, giant, strict=True)):
            letter = spectral_type(t + spread * node, giant=bool(g))[0]
            if letter in classes:
                shares[k, classes.index(letter)] += part
    return shares / shares.sum(axis=1, keepdims=True)


class Instrument:
    """Noise-free light of stars through one fibre, without the atmosphere's changes."""

    def __init__(self, store, settings, fwhm):
        profile = load_instrument(settings.instrument)
        stripes = store.provenance["settings"]["prepare"]["stripes"]
        kept = np.arange(stripes["row_start"], stripes["row_stop"])
        index = store.index.filter("usable")
        row = int(index["row"][len(index) // 2])
        coefficients = store.read("wavelength", np.array([row]))[0]  # (2, 5)
        basis = chebyshev_basis(kept, profile.n_wave, coefficients.shape[1] - 1)
        self.arms = [
            (wave, *self._factors(wave, profile, arm, settings, fwhm))
            for wave, arm in zip(coefficients @ basis, ("blue", "red"), strict=True)
        ]

    @staticmethod
    def _factors(wave, profile, arm, settings, fwhm):
        step = float(np.abs(np.diff(wave)).mean())
        left = np.sqrt(max(settings.wavelength_fwhm**2 - (fwhm / step) ** 2, 0.0))
        factor = sensitivity(wave, profile, arm) * telluric_transmission(wave, 1.2) * wave
        return factor, left

    def see(self, flux, velocity, dust):
        """Light of stars, (n, 6000), up to their brightness."""
        rest = rest_grid()
        seen = np.empty((len(flux), sum(len(wave) for wave, _, _ in self.arms)), np.float32)
        for k, one in enumerate(flux):
            spline, shift = CubicSpline(rest, one), 1.0 + velocity[k] / LIGHT_SPEED
            start = 0
            for wave, factor, left in self.arms:
                light = spline(wave / shift) * factor * extinction(wave, np.array(dust[k]))
                seen[k, start : start + len(wave)] = smear(light, left, 1.0)
                start += len(wave)
        return seen / seen.mean(axis=1, keepdims=True)


def make_library(settings, instrument, count, seed):
    """Stars of the same population: their light, and what their class may be."""
    drawn = settings.model_copy(update={"seed": seed, "stars": count})
    stars = builtin_stars(drawn, count)
    rng = np.random.default_rng([seed, 1])
    light = instrument.see(
        stars.flux, rng.normal(0, VELOCITY, count), rng.exponential(DUST, count)
    )
    giant = stars.table["luminosity"].to_numpy() == "III"
    return light, stars.table["teff"].to_numpy(), giant


def observed(store, settings, instrument, rows, rng):
    """Spectra of rows as extracted, the same made anew from the stars' physics, and their ivar."""
    index = store.index[rows.tolist()]
    stars, place = np.unique(index["star"].to_numpy(), return_inverse=True)
    first = index.unique("star", keep="first").sort("star")
    known = SpectrumGrid(lines=settings.lines, workers=1)
    flux = known.interpolate(first.select("teff", "logg", "feh").to_numpy())
    dust = rng.exponential(DUST, len(stars))
    light = instrument.see(flux, first["rv"].to_numpy(), dust)[place]
    seen = (store.read("optimal", rows) - store.read("sky", rows)).reshape(len(rows), -1)
    ivar = store.read("optimal_ivar", rows).reshape(len(rows), -1).astype(np.float32)
    good = np.isfinite(seen) & np.isfinite(ivar) & (ivar > 0)
    seen, ivar = np.where(good, seen, 0.0).astype(np.float32), np.where(good, ivar, 0.0)
    scale = (seen * light * ivar).sum(axis=1) / (light**2 * ivar).sum(axis=1)
    noise = rng.standard_normal(light.shape).astype(np.float32)
    spread = np.sqrt(np.divide(1.0, ivar, out=np.zeros_like(ivar), where=ivar > 0))
    return seen, scale[:, None].astype(np.float32) * light + noise * spread, ivar


def posterior(y, ivar, library, arms):
    """Posterior of each library star, (n, M): the brightness of each group integrated over.

    `arms`: slices of the pixels that share a brightness, which has a flat prior above 0.
    """
    found = np.zeros((len(y), len(library)), np.float32)
    weighed = y * ivar
    for start in range(0, len(library), CHUNK):
        part = library[start : start + CHUNK]
        for arm in arms:
            cross = weighed[:, arm] @ part[:, arm].T
            own = np.maximum(ivar[:, arm] @ (part[:, arm] ** 2).T, 1e-30)
            light = np.maximum(cross, 0.0)
            found[:, start : start + CHUNK] += 0.5 * light**2 / own - 0.5 * np.log(own)
    return np.exp(found - logsumexp(found.astype(float), axis=1, keepdims=True))


def accuracy(right, star, settings):
    """Share and its interval over stars, as text."""
    values = np.stack([np.asarray(right, float), np.ones(len(right))], axis=1)
    drawn = bootstrap_sums(values, star, settings.bootstrap, np.random.default_rng(1))
    low, high = np.percentile(drawn[:, 0] / drawn[:, 1], [2.5, 97.5])
    return f"{np.mean(right):.3f} [{low:.3f}, {high:.3f}]"


def giants_of(store, table):
    """Which stars of the set are giants, by name: drawn again, for no catalogue tells.

    They are found by their temperature, gravity and metallicity, which the catalogue rounds.
    """
    units = np.array([0.1, 0.01, 0.01])  # kelvin and dex that a catalogue holds
    here = store.index.filter("usable").unique("star", keep="first").sort("star")
    drawn, held = (one.select("teff", "logg", "feh").to_numpy() / units for one in (table, here))
    away, place = cKDTree(drawn).query(held)
    if away.max() > 3 or len(np.unique(place)) < len(here):
        raise SystemExit(
            f"{store.work}: wanted the built-in stars that its benchmark.toml draws, got others"
        )
    giant = (table["luminosity"] == "III").to_numpy()[place]
    return dict(zip(here["star"], giant.tolist(), strict=True))


def limits(store, args):
    """Every test row of the folds: star, interval, and who is right about it."""
    text = (store.work / "benchmark.toml").read_text(encoding="utf-8")
    made = BenchmarkSettings(**tomllib.loads(text)).simulate
    stars = builtin_stars(made, made.stars)
    giant_of = giants_of(store, stars.table)
    instrument = Instrument(store, made, stars.fwhm)
    library, teff, giant = make_library(made, instrument, args.library, args.seed)
    classes = tuple(sorted(made.class_shares))
    shares = class_shares(teff, giant, classes, made.border_spread)
    rng = np.random.default_rng(args.seed)
    half = library.shape[1] // 2
    arms = (slice(0, half), slice(half, None))
    parts = []
    for fold in range(args.folds):
        split = read_split(store.work / "splits" / f"paper-{fold}.parquet")
        tested = split.filter(pl.col("part") == "test").sort("row")
        rows = tested["row"].to_numpy().astype(np.int64)
        extracted, made_anew, ivar = observed(store, made, instrument, rows, rng)
        index = store.index[rows.tolist()]
        giants = np.array([giant_of[star] for star in index["star"]])
        p = {"known": class_shares(index["teff"].to_numpy(), giants, classes, made.border_spread)}
        asked = {
            "all": (made_anew, (slice(None),)),
            "apart": (made_anew, arms),
            "extracted": (extracted, arms),
        }
        for name, (y, groups) in asked.items():
            found = posterior(y, ivar, library, groups)
            p[name] = found @ shares
        judged = {
            name: pl.Series(np.array(classes)[one.argmax(axis=1)] == tested["class"].to_numpy())
            for name, one in p.items()
        }
        parts.append(
            tested.with_columns(**judged, count=pl.Series(1 / (found.astype(float) ** 2).sum(1)))
        )
        print(
            fold, {name: round(float(one.mean()), 3) for name, one in judged.items()}, flush=True
        )
    return pl.concat(parts), made


WHO = {
    "known": "parameters known",
    "all": "Bayes, all known",
    "apart": "Bayes, arms apart",
    "extracted": "Bayes, extracted rows",
}


def within(rows, name):
    """Rows of one interval, below S/N 20, or all."""
    if name == BELOW:
        return rows.filter(pl.col("snrr") < 20)
    return rows if name == "all" else rows.filter(pl.col("interval") == name)


def table_of(judged, runs, settings):
    """Limits and runs by interval."""
    lines = {text: {} for text in WHO.values()} | {"stars that count": {}}
    for name in (*INTERVALS, "all"):
        here = within(judged, name)
        for column, text in WHO.items():
            right, star = here[column].to_numpy(), here["star"].to_list()
            lines[text][name] = accuracy(right, star, settings)
        lines["stars that count"][name] = f"{here['count'].median():.0f}"
    for run in runs:
        lines[f"`{run.name}`"] = {
            name: accuracy(
                right_of(run, name), within(run.tested, name)["star"].to_list(), settings
            )
            for name in (*INTERVALS, "all")
        }
    return pl.DataFrame([{"who": who} | row for who, row in lines.items()])


def right_of(run, name):
    """Which rows of an interval a run is right about."""
    rows = within(run.tested, name)
    return (rows["class"] == rows["predicted"]).to_numpy()


def draw(judged, runs, settings, path):
    """Smooth curves against S/N: the limits as lines, what models reach with their intervals."""
    figure, axes = new_figure((7.2, 4.2))
    panel = axes[0, 0]
    told = judged.with_columns(part=pl.lit("test"))
    for (column, text), style in zip(WHO.items(), (":", "-.", "--", "-"), strict=True):
        found = told.with_columns(
            predicted=pl.when(pl.col(column)).then("class").otherwise(pl.lit("another"))
        )
        limit = Run(text, path.parent, tuple(sorted(told["class"].unique())), found)
        curve = accuracy_curve(limit, settings)
        panel.plot(curve["snrr"], curve["accuracy"], style, color="0.25", lw=1.3, label=text)
    for number, run in enumerate(runs):
        curve, color = accuracy_curve(run, settings), color_of(number)
        panel.fill_between(
            curve["snrr"], curve["accuracy_low"], curve["accuracy_high"], color=color, alpha=0.12
        )
        panel.plot(
            curve["snrr"], curve["accuracy"], color=color, lw=1.6, label=run.name,
            marker=MARKERS[number % len(MARKERS)], markevery=5, ms=4,
        )  # fmt: skip
    panel.set(xscale="log", xlabel="S/N (snrr)", ylabel="accuracy")
    ticks = [tick for tick in (2, 5, 10, 20, 30, 50, 100) if tick < told["snrr"].max()]
    panel.set_xticks(ticks, [str(tick) for tick in ticks])
    panel.minorticks_off()
    panel.legend(loc="lower right", fontsize=8)
    save_figure(figure, path)


def gap_table(judged, runs, bar, settings):
    """Share of the way from the bar to the limit that each line goes."""
    base = next((run for run in runs if run.name == bar), None)
    if base is None:
        return []
    rows = [
        {"line": f"`{run.name}`", "on the way to": WHO[limit]}
        | {name: closed(judged, limit, run, base, name, settings) for name in (*INTERVALS, BELOW)}
        for limit in ("extracted", "apart")
        for run in runs
        if run is not base
    ]
    return [GAP.format(bar=bar), to_markdown(pl.DataFrame(rows))] if rows else []


def closed(judged, limit, run, base, name, settings):  # noqa: PLR0917
    """The share in one interval, with its bounds over stars; or that the bar is there already."""
    rows = within(judged, name).select("row", "star", limit=pl.col(limit).cast(pl.Float64))
    for label, one in (("own", run), ("low", base)):
        right = (pl.col("class") == pl.col("predicted")).cast(pl.Float64)
        rows = rows.join(within(one.tested, name).select("row", right.alias(label)), on="row")
    right = rows.select("own", "low", "limit").to_numpy()
    drawn = bootstrap_sums(right, rows["star"], settings.bootstrap, np.random.default_rng(1))
    own, low, best = np.vstack([right.sum(axis=0), drawn]).T
    if not best[0] > low[0]:
        return "no gap"
    share = (own - low) / np.where(best > low, best - low, np.nan)
    if np.isnan(share).mean() > 0.025:
        return f"{share[0]:.0%} [any]"
    bounds = np.nanpercentile(share[1:], [2.5, 97.5])
    return f"{share[0]:.0%} [{bounds[0]:.0%}, {bounds[1]:.0%}]"


def main():
    """Read the command line and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", type=Path, help="the set of built-in stars")
    parser.add_argument("runs", type=Path, nargs="*", help="folders of sweeps over its folds")
    parser.add_argument("--library", type=int, default=20_000, help="stars of the posterior")
    parser.add_argument("--bar", default="logreg-sky-noise")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--bootstrap", type=int, default=1000)
    parser.add_argument("--page", type=Path)
    args = parser.parse_args()
    store = open_store(args.work)
    settings = EvaluateSettings(bootstrap=args.bootstrap)
    judged, made = limits(store, args)
    runs, short = pooled_runs(args.runs, args.folds)
    story = STORY.format(
        name="fgk-builtin", library=f"{args.library:,}", spread=made.border_spread,
        seed=args.seed,
    )  # fmt: skip
    figure = args.page.with_suffix(".png") if args.page else None
    if figure:
        draw(judged, runs, settings, figure)
    left = ", ".join(f"`{line}` ({count} folds)" for line, count in short.items())
    command = "python benchmarks/bayes_limit.py FGK-BUILTIN RUNS"
    for name in ("library", "folds", "seed"):
        if getattr(args, name) != parser.get_default(name):
            command += f" --{name} {getattr(args, name)}"
    parts = [
        "# How right can anyone be about built-in stars?",
        f"    {command} --page docs/results/limit.md\n\nwrites this page, prose and all.",
        story,
        FIGURE.format(name=figure.name) if figure else "",
        to_markdown(table_of(judged, runs, settings)),
        *gap_table(judged, runs, args.bar, settings),
        f"Not all folds there, so left out: {left}." if left else "",
    ]
    text = "\n\n".join(part.strip("\n") for part in parts if part) + "\n"
    if args.page:
        with atomic_write(args.page) as path:
            path.write_text(text, encoding="utf-8")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
