"""What an extraction must know of a faint star's stripe to lose nothing.

    python benchmarks/collapse.py FGK --page docs/results/collapse.md

FGK is the benchmark set. A linear classifier that knows its noise (`ppca`) learns from the
training stars' spectra as the pipeline extracts them, and is then given the same faint stripes
extracted in several ways, each knowing more than the one before. No network is trained.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import polars as pl
import torch

from drcnet.dataset.augment_scene import read_scene
from drcnet.dataset.loader import load_part
from drcnet.dataset.profiles import read_profiles
from drcnet.dataset.split import read_split
from drcnet.dataset.store import open_store
from drcnet.evaluate.metrics import bootstrap_sums
from drcnet.evaluate.tables import to_markdown
from drcnet.models import build_model
from drcnet.models.collapse import Collapse
from drcnet.provenance import atomic_write

CLASSES = ("F", "G", "K")
BLOCK = 100  # pixels
READ = 5.0  # electrons

PAGE = """# What an extraction must know of a faint star

    python benchmarks/collapse.py FGK --split {split} --rows {rows} \\
        --page docs/results/collapse.md

writes this page. `ppca` learnt from the pipeline's spectra of the split's training stars (no
noise added); {count} test rows of {stars} stars below S/N {below:g} (seed {seed}) are then
extracted in several ways from the same stripes. Their sky is {ratio:.1f} times as bright as they
are (median over rows, both arms).

{table}

*accuracy*, *log-likelihood*: of the classes, with 95% intervals from a bootstrap over stars.
*against the pipeline*: accuracy less that of the pipeline's spectra, paired, in points.
*off*: how far the mean of {block} pixels is from the pipeline's, median over blocks, in standard
deviations of such a mean, blue / red: what noise does not explain.

- *its own profile*: the profile is the stripe's own light averaged over blocks of {block} pixels
  (`drcnet.models.collapse`, what HorneNet begins with): no flat, no trace. The sky of the frame is
  then taken off.
- *less the neighbours*: the same after the light of both neighbours was taken off, from the
  flat's profile and their extracted spectra.
- *the flat's profile*: the profile of the flat at the measured trace instead of its own.
- *all that is not the star taken off first*: sky, neighbours and scattered light, pixel by pixel,
  then the flat's profile.

How to read it: before such a sky an error of a percent of all light is not small beside the star.
What a stripe shows of its own profile holds the neighbours' and the scattered light too, in
proportions that change along the spectrum: that is colour, not noise. An offset that is nearly
constant, as scattered light is, moves the light by more and harms less. So whatever a 2-D model is
to gain over a good extraction, it must first be told what the flat and the neighbours say.
"""


def extract(stripe, known, profile, light):
    """Horne's equation 8 with a profile and an expected light."""
    weight = known * profile / (profile * light.clamp(min=0)[:, :, None] + READ**2)
    ivar = (weight * profile).sum(2)
    return (weight * stripe).sum(2) / ivar.clamp(min=1e-12), ivar


@torch.no_grad()
def ways(store, row):
    """Spectra less the sky and their inverse variances, by the name of the way."""
    stripe = torch.from_numpy(store.read("stripes", row))
    stripe = stripe.masked_fill(torch.from_numpy(store.read("mask", row) != 0), torch.nan)
    sky = torch.from_numpy(store.read("sky", row))
    known, counts = torch.isfinite(stripe), torch.nan_to_num(stripe)
    profile, spilt = (torch.from_numpy(part) for part in read_profiles(store, row))
    keep = read_scene(store, row, counts.numpy(), "stripes").keep
    torch.manual_seed(1)
    collapse = Collapse(block=BLOCK, read_noise=READ, learned=False)
    collapse.begin(stripe)

    def own(x):
        parts = [collapse(part) for part in x.split(8)]
        return tuple(torch.cat(each) for each in zip(*parts, strict=True))

    light, ivar = own(stripe)
    less, less_ivar = own(stripe - spilt)
    flat, flat_ivar = extract(counts, known, profile, light)
    clean, clean_ivar = extract(counts - spilt, known, profile, light)
    star, star_ivar = extract(counts - keep, known, profile, light)
    return {
        "its own profile": (light - sky, ivar),
        "its own profile, less the neighbours": (less - sky, less_ivar),
        "the flat's profile": (flat - sky, flat_ivar),
        "the flat's profile, less the neighbours": (clean - sky, clean_ivar),
        "all that is not the star taken off first": (star, star_ivar),
    }


def bounds(values, stars, seed):
    """Mean and 95% interval of a value over rows, stars drawn."""
    both = np.stack([values, np.ones(len(values))], axis=1)
    sums = bootstrap_sums(both, stars, 2000, np.random.default_rng(seed))
    low, high = np.percentile(sums[:, 0] / sums[:, 1], [2.5, 97.5])
    return float(values.mean()), low, high


def measure(args):
    """One row a way."""
    store, split = open_store(args.work), read_split(args.work / args.split)
    rows = split.filter((pl.col("part") == "test") & (pl.col("snrr") < args.below))
    rows = rows.sample(min(args.rows, len(rows)), seed=args.seed).sort("row")
    row = rows["row"].to_numpy()
    train = load_part(store, split, "train", view="optimal-ivar", classes=CLASSES)
    model = build_model("ppca", len(CLASSES), n_wave=train.x.shape[-1])
    model.fit(train.x.numpy(), train.label.numpy(), seed=args.seed, balanced=False)
    sky = store.read("sky", row).mean(-1)
    pipeline = load_part(store, rows, "test", view="optimal-ivar", classes=CLASSES)
    light, ivar = pipeline.x[:, :, 0], pipeline.x[:, :, 1]
    stars, label = rows["star"].to_list(), pipeline.label
    star = np.nanmean(light.numpy(), axis=-1)
    ratio = float(np.median(sky / np.maximum(star, 1.0)))
    lines, right = [], {}
    every = {"the pipeline's spectra": (light, ivar)} | ways(store, row)
    for name, (own, weight) in every.items():
        seen = torch.stack([own, torch.where(weight > 0, weight, torch.nan)], dim=2)
        with torch.no_grad():
            logits = model(seen).float()
        right[name] = (logits.argmax(1) == label).double().numpy()
        loss = torch.nn.functional.cross_entropy(logits, label, reduction="none").double().numpy()
        apart = right[name] - right["the pipeline's spectra"]
        known = torch.isfinite(light) & torch.isfinite(own) & (ivar > 0)
        change = torch.where(known, own - light, 0.0)
        cut = change.shape[-1] // BLOCK * BLOCK
        mean = change[..., :cut].unflatten(-1, (-1, BLOCK)).mean(-1)
        error = torch.where(known, ivar, 0.0)[..., :cut].unflatten(-1, (-1, BLOCK)).sum(-1)
        off = (mean * error.sqrt()).abs().median(-1).values.median(0).values
        lines.append(
            {
                "extraction": name,
                "accuracy": "{:.3f} [{:.3f}, {:.3f}]".format(
                    *bounds(right[name], stars, args.seed)
                ),
                "log-likelihood": f"{-loss.mean():.3f}",
                "against the pipeline": "{:+.1f} [{:+.1f}, {:+.1f}]".format(
                    *(100 * value for value in bounds(apart, stars, args.seed))
                ),
                "off": "{:.2f} / {:.2f}".format(*off.tolist()),
            }
        )
    return pl.DataFrame(lines), len(row), len(set(stars)), ratio


def main():
    """Read the command line and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", type=Path, help="the benchmark set")
    parser.add_argument("--split", default="splits/paper-0.parquet")
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--below", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--page", type=Path)
    args = parser.parse_args()
    table, count, stars, ratio = measure(args)
    text = PAGE.format(
        split=args.split, rows=args.rows, count=count, stars=stars, below=args.below,
        seed=args.seed, table=to_markdown(table), block=BLOCK, ratio=ratio,
    )  # fmt: skip
    if args.page:
        with atomic_write(args.page) as path:
            path.write_text(text, encoding="utf-8")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
