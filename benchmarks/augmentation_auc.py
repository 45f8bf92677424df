"""Can a classifier tell faded stars from stars simulated as faint? It should not.

    python benchmarks/augmentation_auc.py [--nights 1] [--groups 6] [--every 2] [--seed 1]
        [--folder FOLDER]

Simulates nights (see augmentation_night.py) in FOLDER, kept and gone on with if it is there, in
which each star is seen bright (S/N 40 to 100) and faint (5, 10 or 20), each twice. Bright sights
are faded to the brightness of the faint ones, and classifiers are asked which is which:
cross-validated by group of plates, with 95% intervals from a bootstrap over stars. Writes
docs/results/augmentation.md.
"""

import argparse
import dataclasses
import tempfile
import warnings
from pathlib import Path

import numpy as np
import polars as pl
import torch
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from augmentation_night import SNR, make_night, night_settings
from drcnet.benchmark.tables import markdown
from drcnet.config import AugmentSettings
from drcnet.dataset.augment import make_augmenter
from drcnet.dataset.augment_draw import draw_rows
from drcnet.dataset.augment_noise import add_noise, fade, weigh
from drcnet.dataset.loader import WEIGHED, Samples, see
from drcnet.stripes.normalize import normalize

ROOT = Path(__file__).parents[1]
VIEWS = ("optimal-ivar", "optimal-sky", "box", "box-sky", "stripes")
STRETCHES = 12
DRAWS = 400
FOLDS = 3
TARGET = 0.55
CARELESS = {"stripes": 16.0}  # electrons squared: read noise alone
CARELESS_GROUPS = 2  # of a night: enough to see whether anything is seen
CHUNK = 128

INTRODUCTION = """Stars of S/N 40 to 100 (built-in, `snrr`) are faded by `--augment noise` to the
brightness that they have on another plate, where they are seen at S/N 5, 10 or 20 through the same
fibre; classifiers are asked which is which, cross-validated by groups of plates. The target is an
area under the curve (AUC) of at most .55; 95% intervals are from a bootstrap over stars. The null
is the same question asked of two simulations of the same star at the same S/N, on two plates.
'Careless' are stars faded with the noise left out but for a constant read noise: what the
classifier sees where something is wrong.

- `pixels`: principal components of the normalised light, and logistic regression;
- `noise`: scatter from pixel to pixel, against the light, and its tails, by stretch of wavelength
  (and pixel across), and boosted trees: made to find wrong noise;
- `level`: mean electrons by stretch, before normalising, and boosted trees;
- `weight`: the inverse variance alone: level, scatter, tails; boosted trees;
- `trust`: scatter in units of the inverse variance, and how they go along; boosted trees.

The light of `optimal-ivar` is that of `optimal-sky`, so it is asked only for its inverse variance.

In words:"""
REMAINS = """The AUC is a property of the classifier as much as of the stars: a stronger one may
find more. What is known to differ: rays that a bright star hides are drawn from the frame's sky
fibres, so that in spectra they are those of the faintest stars; the profile's error in the inverse
variance of bright stars is left out; the error that a star's own lines bring into its sky is that
of sky fibres, which have none; noise that an extraction does not know of itself is one number an
arm."""


def look(store, rows, view):
    """Electrons of a view; (n, 2, 2, L) with inverse variances where it has them."""
    return torch.from_numpy(see(view, lambda name: store.read(name, rows)))


def faded(store, sights, view, *, careless=False):
    """The bright sights as training would fade them to the brightness of the faint ones."""
    augmenter = augmenter_of(store, sights, view)
    return fade_all(augmenter, sights["factor"].to_numpy(), view, careless=careless)


def augmenter_of(store, sights, view):
    """The bright sights, ready to be faded."""
    rows = sights["bright"].to_numpy()
    samples = Samples(look(store, rows, view), torch.zeros(len(rows)), rows, ("F",))
    settings = AugmentSettings(noise=True)
    return make_augmenter(store, samples, view, settings=settings, seed=7)


def fade_all(augmenter, factor, view, *, careless=False):
    """Fade stars by their factors, 128 at once."""
    factor, parts = torch.tensor(factor, dtype=torch.float32), []
    for at in torch.arange(len(factor)).split(CHUNK):
        if careless:
            parts.append(_scaled_only(augmenter, at, factor[at], view))
        else:
            draw = draw_rows(augmenter.settings, augmenter.row[at.numpy()], 7, 1)
            parts.append(augmenter.apply(at, dataclasses.replace(draw, scale=factor[at])))
    return torch.cat(parts)


def _scaled_only(augmenter, at, factor, view):
    """Fade, and add noise as if read noise were all."""
    x, scene = augmenter.x[at], augmenter.scene.take(at)
    factor = factor.reshape(-1, *[1] * (x.ndim - 1))
    variance = torch.full_like(x, CARELESS.get(view, 180.0))
    out = add_noise(fade(x, scene, factor)[0], variance, tuple(int(k) for k in at))
    return weigh(out, variance) if view in WEIGHED else out


def spectra_of(x, view):
    """Electrons alone."""
    return x[:, :, 0] if view in WEIGHED else x


def pixels(x, view):
    """What a network sees, binned by four along wavelength."""
    z = normalize(spectra_of(x, view), "zscore")
    return z.reshape(len(z), -1, z.shape[-1] // 4, 4).mean(-1).reshape(len(z), -1).numpy()


def noise(x, view):
    """Robust scatter from pixel to pixel, against the light, and its tails, by stretch."""
    x = spectra_of(x, view)
    x = x.reshape(len(x), -1, x.shape[-1]).numpy()
    stretches = STRETCHES if x.shape[1] == 2 else STRETCHES // 3
    size = x.shape[-1] // stretches * stretches - stretches
    step = (x[..., 1:-1] - 0.5 * (x[..., :-2] + x[..., 2:]))[..., :size]
    parts = np.abs(step.reshape(*step.shape[:2], stretches, -1))
    spread = np.nanmedian(parts, axis=-1)
    tail = np.nanpercentile(parts, 99, axis=-1) / np.maximum(spread, 1e-3)
    light = np.abs(np.nanmean(x[..., :size].reshape(parts.shape), axis=-1)) + 20
    found = [np.log(spread + 1e-3), np.log(spread**2 / light + 1e-6), tail]
    return np.concatenate([part.reshape(len(x), -1) for part in found], axis=1)


def level(x, view):
    """Mean electrons by stretch, and across the stripe."""
    x = spectra_of(x, view)
    x = x.reshape(len(x), -1, x.shape[-1]).numpy()
    stretches = STRETCHES if x.shape[1] == 2 else STRETCHES // 3
    size = x.shape[-1] // stretches * stretches
    mean = np.nanmean(x[..., :size].reshape(*x.shape[:2], stretches, -1), axis=-1)
    return np.arcsinh(mean.reshape(len(x), -1) / 10)


def weight(x, view):
    """The inverse variance alone: its level, its scatter from pixel to pixel, and its tails."""
    del view
    ivar = x[:, :, 1].numpy()
    logarithm = np.log(np.where(ivar > 0, ivar, np.nan))
    size = ivar.shape[-1] // STRETCHES * STRETCHES - STRETCHES
    step = logarithm[..., 1:-1] - 0.5 * (logarithm[..., :-2] + logarithm[..., 2:])
    parts = np.abs(step[..., :size].reshape(*ivar.shape[:2], STRETCHES, -1))
    lines = logarithm[..., :size].reshape(parts.shape)
    found = [
        np.nanmedian(lines, axis=-1),
        np.nanpercentile(lines, 5, axis=-1),
        np.nanpercentile(lines, 95, axis=-1),
        np.log(np.nanmedian(parts, axis=-1) + 1e-6),
        np.log(np.nanpercentile(parts, 99, axis=-1) + 1e-6),
        np.isnan(lines).mean(axis=-1),
    ]
    return np.concatenate([part.reshape(len(x), -1) for part in found], axis=1)


def trust(x, view):
    """Whether the scatter is what the inverse variance says, and goes along with it."""
    del view
    light, ivar = x[:, :, 0].numpy(), x[:, :, 1].numpy()
    size = light.shape[-1] // STRETCHES * STRETCHES - STRETCHES

    def steps(y):
        y = y[..., 1:-1] - 0.5 * (y[..., :-2] + y[..., 2:])
        return y[..., :size].reshape(*light.shape[:2], STRETCHES, -1)

    chi, bend, lean = steps(light * np.sqrt(ivar)), steps(light), steps(1.0 / ivar)
    spread = np.nanmedian(np.abs(chi), axis=-1)
    tail = np.nanpercentile(np.abs(chi), 99, axis=-1)
    both = np.nanmean(bend * lean, axis=-1)
    both /= np.sqrt(np.nanmean(bend**2, axis=-1) * np.nanmean(lean**2, axis=-1)) + 1e-6
    return np.concatenate([part.reshape(len(x), -1) for part in (spread, tail, both)], axis=1)


def linear():
    return make_pipeline(
        StandardScaler(), PCA(40, random_state=0), StandardScaler(), LogisticRegression(C=0.1)
    )


def boosted():
    return HistGradientBoostingClassifier(
        max_iter=50, max_leaf_nodes=8, max_bins=63, max_features=0.5, random_state=0
    )


CLASSIFIERS = {
    "pixels": (pixels, linear),
    "noise": (noise, boosted),
    "level": (level, boosted),
    "weight": (weight, boosted),
    "trust": (trust, boosted),
}


def kinds_of(view):
    """The classifiers that a view is shown to."""
    return ("weight", "trust") if view in WEIGHED else ("pixels", "noise", "level")


def auc(score, label, times=1):
    """Area under the curve, each line counted so many times; equal scores count half."""
    place = np.unique(score, return_inverse=True)[1]
    ones, zeros = np.bincount(place, times * label), np.bincount(place, times * (1 - label))
    return (ones * (np.cumsum(zeros) - zeros / 2)).sum() / (ones.sum() * zeros.sum())


def told_apart(first, second, who, learner):
    """Cross-validated area under the curve and its 95% interval from a bootstrap over stars.

    `first` and `second` hold the features of the same stars, line by line; `who` their stars and
    groups.
    """
    star, group = who
    label = np.repeat([0, 1], len(first))
    folds = GroupKFold(min(FOLDS, len(np.unique(group))))
    score = cross_val_predict(
        learner(),
        np.concatenate([first, second]),
        label,
        groups=np.tile(group, 2),
        cv=folds,
        method="predict_proba",
    )[:, 1]
    rng = np.random.default_rng(0)
    names, place = np.unique(np.tile(star, 2), return_inverse=True)
    draws = []
    for _ in range(DRAWS):
        times = np.bincount(rng.integers(0, len(names), len(names)), minlength=len(names))
        draws.append(auc(score, label, times[place]))
    return auc(score, label), *np.percentile(draws, [2.5, 97.5])


def features_of(nights, view):
    """Features by question and classifier: real, made, and careless of the first groups."""
    kinds = kinds_of(view)
    found = {what: {kind: [] for kind in kinds} for what in ("real", "made", "careless")}

    def add(what, x):
        for kind in kinds:
            found[what][kind].append(np.nan_to_num(CLASSIFIERS[kind][0](x, view)))

    for store, sights in nights:
        add("real", look(store, sights["faint"].to_numpy(), view))
        augmenter = augmenter_of(store, sights, view)
        factor = sights["factor"].to_numpy()
        add("made", fade_all(augmenter, factor, view))
        few = int(is_few(sights).sum())  # they come first
        add("careless", fade_all(augmenter, factor[:few], view, careless=True))
    return {
        what: {kind: np.concatenate(parts) for kind, parts in kinds.items()}
        for what, kinds in found.items()
    }


def is_few(sights):
    """Which sights are shown carelessly faded: those of each night's first groups."""
    group = sights["group"].to_numpy()
    return np.isin(group % 100, np.unique(group % 100)[:CARELESS_GROUPS])


def measure(nights, view):
    """One view: yields classifier, S/N, number of stars, and area with bounds by question."""
    sights = pl.concat([one for _, one in nights])
    x = features_of(nights, view)
    twice = sights.with_row_index("line").sort("star", "repeat")
    first, second = (twice.filter(pl.col("repeat") == k)["line"].to_numpy().copy() for k in (0, 1))
    swap = np.random.default_rng(3).random(len(first)) < 0.5
    first[swap], second[swap] = second[swap], first[swap]
    few = np.flatnonzero(is_few(sights))
    for kind in kinds_of(view):
        learner = CLASSIFIERS[kind][1]
        real, made, careless = (x[what][kind] for what in ("real", "made", "careless"))
        null = told_apart(real[first], real[second], _who(sights, first), learner)
        check = told_apart(real[few], careless, _who(sights, few), learner)
        for snr in SNR:
            at = np.flatnonzero(sights["snr"].to_numpy() == snr)
            yield {
                "view": view,
                "kind": kind,
                "snr": snr,
                "stars": sights["star"].gather(at).n_unique(),
                "made": told_apart(real[at], made[at], _who(sights, at), learner),
                "null": null,
                "careless": check,
            }


def _who(sights, at):
    """Star and group of some sights."""
    return sights["star"].to_numpy()[at], sights["group"].to_numpy()[at]


def verdict(rows, view):
    """In words: whether a view meets the target, and where it does not."""
    rows = [row for row in rows if row["view"] == view]
    over = [row for row in rows if row["made"][0] > TARGET]
    unsure = [row for row in rows if row["made"][0] <= TARGET < row["made"][2]]

    def name(some):
        return ", ".join(
            f"{row['kind']} at S/N {row['snr']:g} ({row['made'][0]:.2f})" for row in some
        )

    said = [f"**{view}** " + (f"misses .55: {name(over)}." if over else "meets .55 at every S/N.")]
    if unsure:
        said.append(f"The interval reaches beyond .55: {name(unsure)}.")
    elif not over:
        said.append("So do the upper ends of all intervals.")
    return " ".join(said)


def _line(row):
    """One line of the page's table."""
    made, null, careless = (row[name] for name in ("made", "null", "careless"))
    return {
        "view": row["view"],
        "classifier": row["kind"],
        "S/N": f"{row['snr']:g}",
        "stars": row["stars"],
        "AUC": float(made[0]),
        "95%": f"{made[1]:.3f}-{made[2]:.3f}",
        "null": float(null[0]),
        "95% of the null": f"{null[1]:.3f}-{null[2]:.3f}",
        "careless": float(careless[0]),
    }


def page(rows, command):
    """The page whole."""
    table = pl.DataFrame([_line(row) for row in rows])
    views = list(dict.fromkeys(row["view"] for row in rows))
    parts = [
        "# Can a classifier tell faded stars from faint ones?",
        f"Made by `{command}`.",
        INTRODUCTION,
        *(f"- {verdict(rows, view)}" for view in views),
        markdown(table).rstrip(),
        REMAINS,
    ]
    left = [view for view in VIEWS if view not in views]
    if left:
        parts.append(f"Not asked in this run: {', '.join(left)}.")
    text = "\n\n".join(parts) + "\n"
    return text.replace(".\n\n- **", ".\n- **")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, help="keep the nights here; a folder for the while")
    parser.add_argument("--nights", type=int, default=1)
    parser.add_argument("--groups", type=int, default=6, help="plates in fours; at most 6 a night")
    parser.add_argument("--every", type=int, default=1, help="look at every n-th group only")
    parser.add_argument("--seed", type=int, default=1, help="of the first night")
    parser.add_argument("--views", default=",".join(VIEWS))
    parser.add_argument("--output", type=Path, default=ROOT / "docs/results/augmentation.md")
    asked = parser.parse_args()
    torch.set_num_threads(1)  # the bits of a sum depend on their number
    warnings.filterwarnings("ignore", "All-NaN", RuntimeWarning)
    rows, nights = [], []
    with tempfile.TemporaryDirectory() as spare:
        for k in range(asked.nights):
            folder = (asked.folder or Path(spare)) / f"night-{asked.seed + k}"
            store, sights = make_night(folder, night_settings(asked.groups, asked.seed + k))
            of_night = (pl.col("group") + 100 * k, pl.col("star") + 100_000 * k)
            sights = sights.filter(pl.col("group") % asked.every == 0)
            nights.append((store, sights.with_columns(*of_night)))
        for view in asked.views.split(","):
            for row in measure(nights, view):
                print(row, flush=True)
                rows.append(row)
            text = page(rows, command_of(asked, rows))  # a run cut off leaves what it has
            asked.output.write_text(text, encoding="utf-8")
    print(text)


def command_of(asked, rows):
    """The command that gives these rows."""
    command = f"python benchmarks/augmentation_auc.py --nights {asked.nights} "
    command += f"--groups {asked.groups} --every {asked.every} --seed {asked.seed}"
    views = tuple(dict.fromkeys(row["view"] for row in rows))
    return command if views == VIEWS else f"{command} --views {','.join(views)}"


if __name__ == "__main__":
    main()
