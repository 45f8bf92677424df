"""What an extraction must know of a faint star's stripe to lose nothing.

    python benchmarks/collapse.py FGK --page docs/results/collapse.md

FGK is the benchmark set. A linear classifier that knows its noise (`ppca`) learns from the
training stars' spectra as the pipeline extracts them, and is then given the same faint stripes
extracted in several ways, each knowing more than the one before; and some of them again with what
is believed of them made wrong. No network is trained.
"""

import argparse
import copy
import sys
from itertools import product
from pathlib import Path

import numpy as np
import polars as pl
import torch

from drcnet.dataset.augment_scene import read_scene
from drcnet.dataset.loader import load_part, see
from drcnet.dataset.profiles import read_profiles, row_reader
from drcnet.dataset.split import read_split
from drcnet.dataset.store import open_store
from drcnet.evaluate.metrics import bootstrap_sums
from drcnet.evaluate.tables import to_markdown
from drcnet.models import build_model
from drcnet.models.changes import COEFFICIENTS, left_side
from drcnet.models.collapse import Collapse
from drcnet.models.mended import MendedCollapse
from drcnet.provenance import atomic_write

CLASSES = ("F", "G", "K")
BLOCK = 100  # pixels
READ = 5.0  # electrons
MEASURED = 96  # training stars that what is usual is measured from
RAYS, RAY_MEDIAN, RAY_SPREAD = 60, 6.0, 1.0  # an arm; logarithm of their electrons

PAGE = """# What an extraction must know of a faint star

    python benchmarks/collapse.py FGK --split {split} --rows {rows} \\
        --wrong {wrong} --page docs/results/collapse.md

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
- *the flat believed, rays doubted*: `drcnet.models.mended` with nothing to mend, what HorneNet
  begins with on the view `stripes-flat` if `learned = false`: the flat's profile, less the
  neighbours and the scattered light that {measured} training stars together show; pixels that are
  far from what the profile and the column's light say count less.
- *the flat, mended by the stripe*: the same with `learned = true`, the default: a shift of the
  trace, a changed width, another brightness of either neighbour and scattered light are fitted to
  each star and arm, and count as far as the stripe contradicts what is usual.
- *bent freely to the stripe*: the same fit, believed whatever it says.

## When what is believed is wrong

The same for {wrong} of the rows ({wrong_stars} stars): accuracy / log-likelihood. *fixed*: Horne's
extraction with the flat's profile less the neighbours, as a pipeline does it, with the wrong
belief; *believed*: the flat believed, rays doubted, and *mended*: the flat, mended by the stripe,
both with the same wrong belief, told nothing of it. *less fixed*: accuracy, paired, in points,
with 95% intervals from a bootstrap over stars.

{faults}

- *trace*: profile and neighbours are believed to lie that far beside where they were measured.
- *width*: the profile is believed to have so much less variance.
- *neighbour*: it is so many times as bright as believed, with the noise of its light.
- *rays*: cosmic rays of {median:.0f} electrons in the median that the mask missed, in each arm.
- *sky*: the frame's sky is that much too bright. A stripe does not tell: both take it off.

The fault is this fibre's alone, as its sky comes from other fibres. A fault that all fibres of a
frame share is in the frame's sky too, and most of it then cancels in a fixed extraction.

How to read the first table: before such a sky an error of a percent of all light is not small
beside the star. What a stripe shows of its own profile holds the neighbours' and the scattered
light too, in proportions that change along the spectrum: that is colour, not noise. An offset that
is nearly constant, as scattered light is, moves the light by more and harms less. For the same
reason a fit to the stripe must be held back: twelve numbers a star and arm, each right within its
error, are colour too. So whatever a 2-D model is to gain over a good extraction, it must first be
told what the flat and the neighbours say, and then believe it until it is plainly wrong.
"""


def extract(stripe, known, profile, light):
    """Horne's equation 8 with a profile and an expected light."""
    weight = known * profile / (profile * light.clamp(min=0)[:, :, None] + READ**2)
    ivar = (weight * profile).sum(2)
    return (weight * stripe).sum(2) / ivar.clamp(min=1e-12), ivar


def in_parts(model, *parts):
    """Extract a few stars at a time."""
    with torch.no_grad():
        found = [model(*some) for some in zip(*(one.split(8) for one in parts), strict=True)]
    return tuple(torch.cat(each) for each in zip(*found, strict=True))


def make_mended(store, split, seed):
    """The mended extraction, what is usual measured from training stars."""
    train = split.filter(pl.col("part") == "train")
    row = train.sample(min(MEASURED, len(train)), seed=seed)["row"].sort().to_numpy()
    model = MendedCollapse(block=BLOCK, read_noise=READ)
    model.begin(*stripes_of(store, row), *flat_of(store, row))
    return model


def believing(mended):
    """Make the same extraction one that mends nothing, but still doubts rays."""
    model = copy.deepcopy(mended)
    model.log_spread = None
    return model


def stripes_of(store, row):
    """Stripes, NaN where a pixel is bad."""
    x = torch.from_numpy(see("stripes-sky", row_reader(store, row)))
    return (x[:, :, :-1].contiguous(),)


def flat_of(store, row, shift=0.0):
    """Profile and neighbours."""
    return tuple(torch.from_numpy(one) for one in read_profiles(store, row, shift=shift))


@torch.no_grad()
def ways(store, row, mended):
    """Spectra less the sky and their inverse variances, by the name of the way."""
    (stripe,) = stripes_of(store, row)
    sky = torch.from_numpy(store.read("sky", row))
    known, counts = torch.isfinite(stripe), torch.nan_to_num(stripe)
    profile, spilt = flat_of(store, row)
    keep = read_scene(store, row, counts.numpy(), "stripes").keep
    torch.manual_seed(1)
    collapse = Collapse(block=BLOCK, read_noise=READ, learned=False)
    collapse.begin(stripe)
    light, ivar = in_parts(collapse, stripe)
    less, less_ivar = in_parts(collapse, stripe - spilt)
    flat, flat_ivar = extract(counts, known, profile, light)
    clean, clean_ivar = extract(counts - spilt, known, profile, light)
    star, star_ivar = extract(counts - keep, known, profile, light)
    held, held_ivar = in_parts(believing(mended), stripe, profile, spilt)
    found, found_ivar = in_parts(mended, stripe, profile, spilt)
    free = copy.deepcopy(mended)
    free.log_spread.copy_(torch.tensor([one[3] for one in COEFFICIENTS]).log())
    bent, bent_ivar = in_parts(free, stripe, profile, spilt)
    return {
        "its own profile": (light - sky, ivar),
        "its own profile, less the neighbours": (less - sky, less_ivar),
        "the flat's profile": (flat - sky, flat_ivar),
        "the flat's profile, less the neighbours": (clean - sky, clean_ivar),
        "all that is not the star taken off first": (star, star_ivar),
        "the flat believed, rays doubted": (held - sky, held_ivar),
        "the flat, mended by the stripe": (found - sky, found_ivar),
        "the flat, bent freely to the stripe": (bent - sky, bent_ivar),
    }


def faults(store, row, seed):
    """Stripe, profile, neighbours and sky with one thing wrong at a time, by name."""
    (stripe,) = stripes_of(store, row)
    sky = torch.from_numpy(store.read("sky", row))
    profile, spilt = flat_of(store, row)
    yield "none", stripe, profile, spilt, sky
    for shift in (0.3, 0.7, 1.5):
        yield f"trace, {shift:g} px", stripe, *flat_of(store, row, shift), sky
    for part in (0.05, 0.2):
        narrow = profile ** (1 / (1 - part))
        narrow = narrow / narrow.sum(2, keepdim=True) * profile.sum(2, keepdim=True)
        yield f"width, {part:.0%}", stripe, narrow, spilt, sky
    generator = torch.Generator().manual_seed(seed)
    sides = {"a neighbour": left_side(spilt), "both neighbours": 1.0}
    for (name, side), times in product(sides.items(), (5, 20)):
        more = (times - 1) * spilt * side
        noise = torch.randn(more.shape, generator=generator) * more.sqrt()
        yield f"{name}, {times} times", stripe + more + noise, profile, spilt, sky
    struck = stripe.flatten(2).clone()
    shape = (*struck.shape[:2], RAYS)
    place = torch.randint(struck.shape[-1], shape, generator=generator)
    rays = (RAY_MEDIAN + RAY_SPREAD * torch.randn(shape, generator=generator)).exp()
    struck.scatter_add_(2, place, rays)
    yield f"rays, {RAYS}", struck.unflatten(2, stripe.shape[2:]), profile, spilt, sky
    for part in (0.01, 0.03):
        yield f"sky, {part:.0%}", stripe, profile, spilt, sky * (1 + part)


def compare_faults(store, rows, model, mended, seed):
    """One row a fault: the fixed extraction, the believing one and the mended one."""
    held = believing(mended)
    row, stars = rows["row"].to_numpy(), rows["star"].to_list()
    label = torch.tensor([CLASSES.index(name) for name in rows["class"]])
    lines = []
    for name, stripe, profile, spilt, sky in faults(store, row, seed):
        known, counts = torch.isfinite(stripe), torch.nan_to_num(stripe)
        guess = (counts - spilt).sum(2)
        once, _ = extract(counts - spilt, known, profile, guess)
        both = {
            "fixed": extract(counts - spilt, known, profile, once),
            "believed": in_parts(held, stripe, profile, spilt),
            "mended": in_parts(mended, stripe, profile, spilt),
        }
        right = {}
        line = {"wrong": name}
        for way, (light, weight) in both.items():
            right[way], loss = judged(model, light - sky, weight, label)
            line[way] = f"{right[way].mean():.3f} / {-loss.mean():.3f}"
        for way in ("believed", "mended"):
            line[f"{way} less fixed"] = "{:+.1f} [{:+.1f}, {:+.1f}]".format(
                *(100 * v for v in bounds(right[way] - right["fixed"], stars, seed))
            )
        lines.append(line)
        print(line, flush=True)
    return pl.DataFrame(lines)


def judged(model, light, weight, label):
    """Which stars are given their class, and the losses."""
    seen = torch.stack([light, torch.where(weight > 0, weight, torch.nan)], dim=2)
    with torch.no_grad():
        logits = model(seen).float()
    loss = torch.nn.functional.cross_entropy(logits, label, reduction="none").double().numpy()
    return (logits.argmax(1) == label).double().numpy(), loss


def bounds(values, stars, seed):
    """Mean and 95% interval of a value over rows, stars drawn."""
    both = np.stack([values, np.ones(len(values))], axis=1)
    sums = bootstrap_sums(both, stars, 2000, np.random.default_rng(seed))
    low, high = np.percentile(sums[:, 0] / sums[:, 1], [2.5, 97.5])
    return float(values.mean()), low, high


def measure(args):
    """Both tables, and what was measured."""
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
    mended = make_mended(store, split, args.seed)
    every = {"the pipeline's spectra": (light, ivar)} | ways(store, row, mended)
    for name, (own, weight) in every.items():
        right[name], loss = judged(model, own, weight, label)
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
    some = rows.sample(min(args.wrong, len(rows)), seed=args.seed).sort("row")
    wrong = compare_faults(store, some, model, mended, args.seed)
    return {
        "table": to_markdown(pl.DataFrame(lines)), "faults": to_markdown(wrong),
        "count": len(row), "stars": len(set(stars)), "ratio": ratio,
        "wrong": len(some), "wrong_stars": some["star"].n_unique(),
    }  # fmt: skip


def main():
    """Read the command line and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", type=Path, help="the benchmark set")
    parser.add_argument("--split", default="splits/paper-0.parquet")
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--below", type=float, default=10.0)
    parser.add_argument("--wrong", type=int, default=300, help="rows for the second table")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--page", type=Path)
    args = parser.parse_args()
    text = PAGE.format(
        split=args.split, rows=args.rows, below=args.below, seed=args.seed, block=BLOCK,
        measured=MEASURED, median=np.exp(RAY_MEDIAN), **measure(args),
    )  # fmt: skip
    if args.page:
        with atomic_write(args.page) as path:
            path.write_text(text, encoding="utf-8")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
