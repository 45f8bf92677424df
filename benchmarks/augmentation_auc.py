"""Can a classifier tell faded stars from stars simulated as faint? It should not.

    python benchmarks/augmentation_auc.py FOLDER [--pairs 4] [--views stripes,box,optimal-sky]

Simulates plates in pairs in FOLDER (kept, and gone on with if it is there). Both plates of a pair
show the same stars; in one, half of them are bright (S/N 60) and the others faint (S/N 5, 10 or
20), in the other it is the other way round, so that neighbours, sky and fibres are alike. Every
bright star is then faded to the brightness that it has in the other plate, and classifiers are
asked which is which: cross-validated by pair of plates (the noise of a frame's rows is common to
its fibres, and would tell frames apart), with 95% intervals from a bootstrap over stars.

- `pixels`: principal components of what a network sees, and logistic regression;
- `noise`: scatter from pixel to pixel in 12 stretches of each arm and each spatial pixel, and the
  tails of its distribution, and gradient boosting: made to find wrong noise;
- `level`: mean and colour of the electrons, before normalisation, and gradient boosting.

As a check that they can see anything at all, each is also shown stars that were only scaled, and
given noise as if read noise were all (`careless`).
"""

import argparse
import dataclasses
from pathlib import Path

import numpy as np
import polars as pl
import torch
from scipy.stats import rankdata
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from drcnet.config import PrepareSettings, SimulateSettings
from drcnet.dataset.augment_noise import add_noise, fade, sky_error
from drcnet.dataset.augment_scene import read_scene
from drcnet.dataset.build import prepare
from drcnet.dataset.loader import see
from drcnet.dataset.store import open_store
from drcnet.simulate.assign import Assignment
from drcnet.simulate.exposure import write_frame
from drcnet.simulate.observe import observe
from drcnet.simulate.survey import frame_tasks, plan_night, write_tables
from drcnet.stripes.flags import FiberFlag
from drcnet.stripes.normalize import normalize

SNR = (5.0, 10.0, 20.0)
BRIGHT = 60.0
STRETCHES = 12


def night_of_pairs(folder, settings):
    """Simulate the plates; gives one row a star seen faint: rows of both plates and the ratio."""
    plan = plan_night(settings)
    rng = np.random.default_rng([settings.seed, 99])
    seen, facts = [], []
    for first, second in zip(plan.observations[::2], plan.observations[1::2], strict=True):
        star = first.assignment.star
        faint = rng.random(len(star)) < 0.5
        target = rng.choice(SNR, len(star))
        pair = []
        for plate, dim in ((first.plate, faint), (second.plate, ~faint)):
            # the same moon and air for both, so that one brightness means one S/N
            alike = dataclasses.replace(plate, moon=first.plate.moon, airmass=first.plate.airmass)
            wanted = np.where(star >= 0, np.where(dim, target, BRIGHT), np.nan)
            assignment = Assignment(star, wanted)
            where = (alike, first.spid, assignment)
            pair.append(observe(settings, plan.profile, plan.stars, plan.positions, where))
        seen += pair
        scale = np.stack([one.fibers.scale for one in pair])
        facts.append((star, np.where(faint, 0, 1), target, scale.min(0) / scale.max(0)))
    plan = dataclasses.replace(plan, observations=seen)
    for task in frame_tasks(plan, folder / "night" / "raw"):
        if not task.path.exists():
            write_frame(task)
    write_tables(plan, folder / "night")
    return facts


def pairs_of(store, facts):
    """Tables of pairs: row of the bright and of the faint sight, S/N and factor."""
    flags = store.index["flags"].to_numpy()
    usable = (flags & int(FiberFlag.DEAD | FiberFlag.OFF_CHIP | FiberFlag.SATURATED)) == 0
    parts = []
    for number, (star, dim_in, target, factor) in enumerate(facts):
        fiber = np.arange(store.n_fiber)
        sights = (2 * number + np.stack([dim_in, 1 - dim_in])) * store.n_fiber + fiber
        good = (star >= 0) & usable[sights[0]] & usable[sights[1]]
        columns = {
            "faint": sights[0], "bright": sights[1], "snr": target, "factor": factor,
            "pair": number + 0 * fiber,
        }  # fmt: skip
        parts.append(pl.DataFrame({k: v[good] for k, v in columns.items()}))
    return pl.concat(parts)


def look(store, rows, view):
    """Electrons of a view."""
    return torch.from_numpy(see(view, lambda name: store.read(name, rows)))


def faded_stars(store, pairs, view, *, careless=False):
    """The bright sights, faded to the brightness of the faint ones."""
    rows = pairs["bright"].to_numpy()
    x = look(store, rows, view)
    scene = read_scene(store, rows, x.numpy(), view)
    factor = torch.from_numpy(pairs["factor"].to_numpy()).float()
    factor = factor.reshape(-1, *[1] * (x.ndim - 1))
    faded, missing = fade(x, scene, factor)
    if careless:
        missing = torch.full_like(missing, 16.0 if view == "stripes" else 180.0)
    else:
        pick = torch.rand(len(rows), generator=torch.Generator().manual_seed(7))
        faded = faded + sky_error(scene, factor, pick)
    return add_noise(faded, missing, tuple(int(row) for row in rows))


def pixels(x):
    """What a network sees, binned by four along wavelength."""
    z = normalize(x, "zscore")
    return z.reshape(len(z), -1, z.shape[-1] // 4, 4).mean(-1).reshape(len(z), -1).numpy()


def noise(x):
    """Robust scatter from pixel to pixel, against the light, and its tails, by stretch."""
    x = x.reshape(len(x), -1, x.shape[-1]).numpy()
    step = (x[..., 1:-1] - 0.5 * (x[..., :-2] + x[..., 2:]))[..., : x.shape[-1] // 12 * 12 - 12]
    parts = np.abs(step.reshape(*step.shape[:2], STRETCHES, -1))
    spread = np.median(parts, axis=-1)
    tail = np.percentile(parts, 99, axis=-1) / np.maximum(spread, 1e-3)
    level = np.abs(x[..., : step.shape[-1]].reshape(parts.shape).mean(axis=-1)) + 20
    found = [np.log(spread + 1e-3), np.log(spread**2 / level + 1e-6), tail]
    return np.concatenate([part.reshape(len(x), -1) for part in found], axis=1)


def level(x):
    """Mean electrons by stretch, and along the stripe."""
    x = x.reshape(len(x), -1, x.shape[-1]).numpy()
    size = x.shape[-1] // STRETCHES * STRETCHES
    mean = x[..., :size].reshape(*x.shape[:2], STRETCHES, -1).mean(axis=-1)
    return np.arcsinh(mean.reshape(len(x), -1) / 10)


def linear():
    return make_pipeline(
        StandardScaler(), PCA(40, random_state=0), StandardScaler(), LogisticRegression(C=0.1)
    )


def boosted():
    return HistGradientBoostingClassifier(max_iter=60, learning_rate=0.1, random_state=0)


CLASSIFIERS = {"pixels": (pixels, linear), "noise": (noise, boosted), "level": (level, boosted)}


def auc(score, label):
    """Area under the curve, by ranks."""
    rank = rankdata(score)
    n = label.sum()
    return (rank[label == 1].sum() - n * (n + 1) / 2) / (n * (len(label) - n))


def told_apart(real, made, pair, kind):
    """Cross-validated area under the curve and its 95% interval, over stars."""
    features, learner = CLASSIFIERS[kind]
    x = np.concatenate([features(real), features(made)])
    label = np.repeat([0, 1], len(real))
    group = np.tile(pair, 2)
    folds = GroupKFold(min(5, len(np.unique(pair))))
    score = cross_val_predict(learner(), x, label, groups=group, cv=folds, method="predict_proba")[
        :, 1
    ]
    rng = np.random.default_rng(0)
    draws = []
    for _ in range(300):
        pick = rng.integers(0, len(real), len(real))
        pick = np.concatenate([pick, pick + len(real)])
        draws.append(auc(score[pick], label[pick]))
    return auc(score, label), *np.percentile(draws, [2.5, 97.5])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pairs", type=int, default=4, help="pairs of plates of 250 fibres")
    parser.add_argument("--views", default="stripes,box,optimal,optimal-sky")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    settings = SimulateSettings(plates=2 * given.pairs, seed=given.seed, exposures=1, workers=1)
    facts = night_of_pairs(given.folder, settings)
    work = given.folder / "work"
    prepare(given.folder / "night", work, settings=PrepareSettings(workers=1))
    store = open_store(work)
    pairs = pairs_of(store, facts)
    print(
        "| view | classifier | S/N | pairs | AUC | 95% | careless |\n|---|---|---|---|---|---|---|"
    )
    for view in given.views.split(","):
        real = look(store, pairs["faint"].to_numpy(), view)
        made = faded_stars(store, pairs, view)
        careless = faded_stars(store, pairs, view, careless=True)
        for kind in CLASSIFIERS:
            for snr in SNR:
                at = np.flatnonzero(pairs["snr"].to_numpy() == snr)
                pair = pairs["pair"].to_numpy()[at]
                value, low, high = told_apart(real[at], made[at], pair, kind)
                check = told_apart(real[at], careless[at], pair, kind)[0]
                print(
                    f"| {view} | {kind} | {snr:g} | {len(at)} | {value:.3f} "
                    f"| {low:.3f}-{high:.3f} | {check:.3f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
