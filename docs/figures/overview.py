"""Draw the README's figure from a finished demo: python docs/figures/overview.py demo."""

import sys
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import polars as pl

from drcnet.dataset.store import open_store
from drcnet.frames.night import scan_night
from drcnet.frames.read import read_frame
from drcnet.instruments import load_instrument
from drcnet.provenance import atomic_write

INK, ACCENT = "#222222", "#0072B2"


def choose_row(predictions: pl.DataFrame) -> dict:
    """Take the bright, rightly classified test star of middling confidence."""
    right = predictions.filter(
        (pl.col("part") == "test")
        & (pl.col("class") == pl.col("predicted"))
        & (pl.col("snrr") > 60)
    )
    return right.sort("snrr")[0].to_dicts()[0]


def main(demo: Path, out: Path) -> None:
    """Draw frame, stripes and probabilities side by side."""
    profile = load_instrument("lamost-lrs")
    exposure = scan_night(demo / "night" / "raw", profile).exposures[0]
    frame = read_frame(exposure.blue.object, profile)
    row = choose_row(pl.read_parquet(demo / "runs" / "drcnet" / "predictions.parquet"))
    stripes = open_store(demo / "work").read("stripes", np.array([row["row"]]))[0]

    figure = plt.figure(figsize=(10, 3.1), dpi=160)
    grid = figure.add_gridspec(2, 3, width_ratios=(1.0, 2.1, 0.8), wspace=0.16, hspace=0.55)
    ax = figure.add_subplot(grid[:, 0])
    image = np.sqrt(np.clip(frame.electrons[1000:1180, 1800:2000], 0, None))
    ax.imshow(image, cmap="gray", aspect="auto", vmax=np.percentile(image, 99.5))
    ax.set_title("raw frame: a part of the blue arm", fontsize=8, color=INK)
    ax.set_xlabel("wavelength (pixels)", fontsize=7)
    ax.set_ylabel("across the fibres (pixels)", fontsize=7)
    for k, arm in enumerate(("blue", "red")):
        ax = figure.add_subplot(grid[k, 1])
        stripe = np.sqrt(np.clip(stripes[k], 0, None))
        low, high = np.nanpercentile(stripe, (1, 99.5))
        ax.imshow(stripe, cmap="gray", aspect="auto", vmin=low, vmax=high)
        ax.set_title(f"{arm} stripe of one fibre, 11 x 3000 pixels", fontsize=8, color=INK)
    names = [name for name in row if name.startswith("p_")]
    ax = figure.add_subplot(grid[:, 2])
    ax.barh([name[2:] for name in names], [row[name] for name in names], color=ACCENT)
    ax.set_xlim(0, 1)
    ax.invert_yaxis()
    ax.set_title(f"class: {row['predicted']}", fontsize=8, color=INK)
    ax.set_xlabel("probability (DRC-Net)", fontsize=7)
    for ax in figure.axes:
        ax.tick_params(labelsize=6)
        ax.spines[["top", "right"]].set_visible(False)
    with atomic_write(out) as partial:
        figure.savefig(partial, bbox_inches="tight")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(__file__).with_name("overview.png"))
