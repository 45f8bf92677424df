"""How true the extraction is: bias, chi-square, cosmic rays and bright neighbours.

Frames are drawn by the tests' own Moffat renderer, which knows nothing of the package. Prints
the table and writes it, with 95% intervals, to docs/results/extraction.md:

    python benchmarks/extraction_accuracy.py [--fibers 50] [--rows 2000] [--frames 4] [--seed 1]
"""

import argparse
import importlib.util
import sys
from pathlib import Path

import numpy as np

from drcnet.stripes.calibration import calibrate_arm
from drcnet.stripes.cut import COSMIC, frame_pixels, make_windows
from drcnet.stripes.extract import extract_stripes, make_rules, make_shapes

ROOT = Path(__file__).parents[1]
LEVELS = (30.0, 100.0, 300.0, 1000.0, 3000.0, 10000.0)
HEADER = ("light, e a row", "bias, %", "mean chi2", "false cosmics a pixel", "recall")


def load_renderer():
    """The renderer that the tests use."""
    path = ROOT / "tests" / "stripes" / "conftest.py"
    spec = importlib.util.spec_from_file_location("moffat_renderer", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["moffat_renderer"] = module
    spec.loader.exec_module(module)
    return module


class Bench:
    """A calibrated scene, its windows and the true light in them."""

    def __init__(self, fibers, rows, seed):
        self.draw = load_renderer()
        block = max(2, fibers // 2)
        self.scene = self.draw.make_scene(fibers, rows, block=block, seed=seed)
        scene = self.scene
        settings = scene.settings
        calibration = calibrate_arm(scene.flat, None, scene.profile, settings)
        self.windows = make_windows(calibration.traces, settings)
        shapes = make_shapes(calibration.profile, calibration.traces, self.windows)
        self.rest = (self.windows, shapes, make_rules(settings))
        self.rows = np.arange(settings.row_start, settings.row_stop)
        self.x = self.windows.first[:, None, :] + np.arange(settings.width)[:, None]
        kept = slice(settings.row_start, settings.row_stop)
        center, fwhm = (a[:, None, kept] for a in (scene.optics.center, scene.optics.fwhm))
        self.share = self.draw.moffat(self.x - center, fwhm).sum(axis=1)

    def image(self, level):
        light = np.empty((len(self.share), self.scene.profile.n_wave))
        light[:] = level if np.ndim(level) == 0 else np.asarray(level)[:, None]
        return self.draw.render_light(self.scene.profile, self.scene.optics, light)

    def extract(self, image, rng=None):
        frame = self.draw.make_frame(self.scene.profile, image, rng)
        return extract_stripes(frame_pixels(frame), *self.rest)


def strike(rng, image, density=0.004):
    """Two-pixel cosmic rays of a few hundred electrons a pixel; the image and where."""
    number = int(density * image.size)
    struck, where = image.copy(), np.zeros(image.shape, dtype=bool)
    x = rng.integers(0, image.shape[0] - 1, number)
    y = rng.integers(0, image.shape[1], number)
    charge = 600.0 * np.exp(rng.normal(0.0, 0.45, number))
    for step in (0, 1):
        struck[x + step, y] += charge
        where[x + step, y] = True
    return struck, where


def mean_and_interval(parts):
    """Mean over independent parts and half of its 95% interval."""
    parts = np.asarray(parts)
    return parts.mean(), 1.96 * parts.std(ddof=1) / np.sqrt(len(parts))


def one_level(bench, level, frames, rng):
    """Cells of one row of the table."""
    image = bench.image(level)
    truth = level * bench.share
    bias, chi2, false, looked, found, struck = [], [], 0, 0, 0, 0
    for _ in range(frames):
        clean = bench.extract(image, rng)
        away = clean.optimal - truth
        bias.append(100.0 * away.sum(axis=1) / truth.sum(axis=1))
        chi2.append((away**2 * clean.optimal_ivar).mean(axis=1))
        false += int((clean.mask & COSMIC > 0).sum())
        looked += clean.mask.size
        image_hit, where = strike(rng, image)
        hit = bench.extract(image_hit, rng).mask & COSMIC > 0
        true = where[bench.x, bench.rows]
        found += int(hit[true].sum())
        struck += int(true.sum())
    upper = (false + 1.96 * np.sqrt(false) + 3.0 * (false == 0)) / looked
    recall = found / struck
    spread = 1.96 * np.sqrt(max(recall * (1 - recall), 1.0 / struck) / struck)
    return (
        f"{level:.0f}",
        "{:+.2f} ± {:.2f}".format(*mean_and_interval(np.concatenate(bias))),
        "{:.3f} ± {:.3f}".format(*mean_and_interval(np.concatenate(chi2))),
        f"{false / looked:.1e} (< {upper:.1e})",
        f"{recall:.4f} ± {spread:.4f}",
    )


def bright_neighbors(bench):
    """Change of faint fibres beside one a hundred times as bright: all light, and optimal."""
    n = len(bench.share)
    faint = np.full(n, 500.0)
    alone = bench.extract(bench.image(faint))
    raw, solved = [], []
    for fiber in range(4, n - 4, 9):
        light = faint.copy()
        light[fiber] *= 100.0
        seen = bench.extract(bench.image(light))
        for near in (fiber - 1, fiber + 1):
            raw.append(seen.box[near].mean() / alone.box[near].mean() - 1.0)
            solved.append(seen.optimal[near].mean() / alone.optimal[near].mean() - 1.0)
    return np.array(raw), np.array(solved)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fibers", type=int, default=50)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--frames", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path, default=ROOT / "docs/results/extraction.md")
    asked = parser.parse_args()
    rng = np.random.default_rng(asked.seed)
    bench = Bench(asked.fibers, asked.rows, asked.seed + 4)
    lines = ["| " + " | ".join(HEADER) + " |", "|" + "---|" * len(HEADER)]
    lines += [
        "| " + " | ".join(one_level(bench, level, asked.frames, rng)) + " |" for level in LEVELS
    ]
    raw, solved = bright_neighbors(bench)
    words = (
        f"A neighbour 100 times as bright brings {100 * raw.mean():.0f}% of a faint fibre's own "
        f"light into its stripe; its optimal extraction changes by at most "
        f"{100 * np.abs(solved).max():.2f}% ({len(solved)} fibres, 500 electrons a row, no noise)."
    )
    command = (
        f"python benchmarks/extraction_accuracy.py --fibers {asked.fibers} --rows {asked.rows} "
        f"--frames {asked.frames} --seed {asked.seed}"
    )
    text = (
        "# How true the extraction is\n\n"
        f"Made by `{command}`: Moffat profiles (beta 4.765, FWHM 7), curved and tilted traces, "
        "all fibres equally bright, the profile measured on a flat of 30,000 electrons a row. "
        "Intervals are 95%, over fibres and frames. Bias is against the true light inside each "
        "window; cosmic rays are two pixels of some 600 electrons (log-normal, 0.45).\n\n"
        + "\n".join(lines)
        + f"\n\n{words}\n"
    )
    asked.output.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
