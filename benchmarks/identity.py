"""Which fibre is which, where it runs and at which wavelength: against known truth.

Identity is tried on random cases of the geometry of `lamost-lrs`; traces, shifts and
wavelengths on frames drawn by the tests' own Moffat renderer. Writes docs/results/identity.md:

    python benchmarks/identity.py [--cases 1000] [--fibers 50] [--rows 2000] [--seed 1]
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.stats import beta

from drcnet.config import StripeSettings
from drcnet.instruments import load_instrument
from drcnet.stripes.arc import fit_arc
from drcnet.stripes.identify import identify_fibers
from drcnet.stripes.linefit import line_list
from drcnet.stripes.shift import shift_traces
from drcnet.stripes.trace import TraceSet, trace_flat
from drcnet.stripes.wavelength import fit_sky, nominal_wavelengths
from extraction_accuracy import load_renderer

ROOT = Path(__file__).parents[1]
DEAD, DRIFT = 10, 0.05
EDGE = 60.0  # pixels outside the outermost fibres: the most curved trace stays on the chip
draw = load_renderer()


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def upper_limit(count, number):
    """Upper end of the 95% interval of Clopper and Pearson (1934)."""
    return 1.0 if count == number else float(beta.ppf(0.975, count + 1, number - count))


def identity_case(rng, layout):
    """A flat's centres, light and labels, and a reference learnt on another day."""
    pattern = np.clip(rng.normal(1.0, 0.2, layout.count), 0.4, 1.6)
    alive = np.ones(layout.count, dtype=bool)
    alive[rng.choice(layout.count, rng.integers(0, DEAD + 1), replace=False)] = False
    nominal = layout.centers()
    middle = nominal.mean()
    scale = 1.0 + rng.normal(0.0, 3e-4)
    center = middle + rng.uniform(-1, 1) * layout.pitch + scale * (nominal - middle)
    center += rng.normal(0.0, 0.3, layout.count)
    level = 4e4 * pattern * np.exp(rng.normal(0.0, DRIFT, layout.count))
    reference = pattern.copy()
    reference[rng.choice(layout.count, rng.integers(0, DEAD + 1), replace=False)] = np.nan
    return center[alive], level[alive], reference, np.flatnonzero(alive) + 1


def identity_row(name, rng, cases, *, referenced, least):
    layout = load_instrument("lamost-lrs").fibers
    wrong_frames, wrong, refused, labels, confidence = 0, 0, 0, 0, []
    for _ in range(cases):
        center, level, reference, truth = identity_case(rng, layout)
        given = {"level": level, "reference": reference} if referenced else {}
        found = identify_fibers(center, layout, **given)
        confidence.append(found.confidence)
        if found.confidence < least:
            refused += 1
            continue
        bad = int((found.fiber_id != truth).sum())
        wrong, wrong_frames, labels = wrong + bad, wrong_frames + (bad > 0), labels + len(truth)
    taken = cases - refused
    low, middle, high = np.percentile(confidence, [0, 1, 50])
    return (
        name,
        f"{cases}",
        f"{refused} ({100 * refused / cases:.1f}%)",
        f"{wrong_frames} (< {100 * upper_limit(wrong_frames, max(taken, 1)):.2f}%)",
        f"{wrong} of {labels}",
        f"{low:.4f}, {middle:.4f}, {high:.4f}",
    )


def make_flat(rng, fibers, rows, *, dead=0, **optics):
    """A lamp flat, its truth and which fibres live."""
    profile = draw.tiny_profile(fibers, rows, block=fibers // 2, edge=EDGE)
    truth = draw.make_optics(profile, seed=int(rng.integers(1 << 30)), **optics)
    level = rng.uniform(0.6, 1.2, fibers)
    level[rng.choice(np.arange(2, fibers - 2), dead, replace=False)] = 0.0
    light = level[:, None] * np.full(rows, 30000.0)
    image = draw.render_light(profile, truth, light)
    return draw.make_frame(profile, image, rng, kind="flat"), truth, level > 0


def spoil(frame, rng, *, column=False, rays=0):
    counts = frame.counts.copy(order="K")
    if rays:
        np.ravel(counts, order="K")[rng.integers(0, counts.size, rays)] = 60000
    if column:  # beside the gap between the blocks
        counts[len(counts) // 2 + 3] = 50000
    return replace(frame, counts=counts)


TRACES = (
    ("straight", {"bow": 0.0, "tilt": 0.0}, {}),
    ("curved and tilted", {}, {}),
    ("strongly curved and tilted", {"bow": 12.0, "tilt": 8.0}, {}),
    ("broadened by a fifth", {"fwhm": 8.4}, {}),
    ("a tenth of the fibres dead", {"dead": 0.1}, {}),
    ("a saturated column", {}, {"column": True}),
    ("cosmic rays, 500 a million pixels", {}, {"rays": 500e-6}),
    ("all of it", {"bow": 12.0, "tilt": 8.0, "fwhm": 8.4, "dead": 0.1}, "all"),
)


def trace_row(rng, fibers, rows, case):
    name, optics, harm = case
    optics = dict(optics, dead=int(fibers * optics.get("dead", 0.0)))
    flat, truth, alive = make_flat(rng, fibers, rows, **optics)
    harm = {"column": True, "rays": 500e-6} if harm == "all" else harm
    rays = int(harm.get("rays", 0.0) * flat.counts.size)
    flat = spoil(flat, rng, column=harm.get("column", False), rays=rays)
    seen = trace_flat(flat, StripeSettings(row_start=0, row_stop=rows))
    if len(seen) != alive.sum():
        return name, f"{len(seen)} traces of {alive.sum()} fibres", "", "", ""
    error = seen.centers(np.arange(rows)) - truth.center[alive]
    width = seen.widths(np.arange(rows)) / truth.fwhm[alive] - 1.0
    each = np.sqrt((error**2).mean(axis=1))
    return (
        name,
        f"{np.sqrt((error**2).mean()):.4f}",
        f"{np.median(each):.4f}",
        f"{each.max():.4f}",
        f"{100 * np.sqrt((width**2).mean()):.2f}",
    )


def shift_row(rng, fibers, rows, level, tries):
    """Errors of the centres where the sky gives the only light, over random moves."""
    settings = StripeSettings(row_start=0, row_stop=rows)
    flat, truth, _ = make_flat(rng, fibers, rows)
    traces = trace_flat(flat, settings)
    worst, shift_error, stretch_error = [], [], []
    for _ in range(tries):
        shift, stretch = rng.uniform(-3.0, 3.0), rng.normal(0.0, 5e-4)
        moved = truth.moved(shift, stretch)
        image = draw.render_light(flat.profile, moved, np.full((fibers, rows), level))
        frame = draw.make_frame(flat.profile, image, rng)
        found, _ = shift_traces(traces, frame, settings)
        away = found.centers(np.arange(rows)) - moved.center
        worst.append(np.abs(away.mean(axis=1)).max())
        shift_error.append(away.mean())
        slope = np.polyfit(moved.center.mean(axis=1), away.mean(axis=1), 1)[0]
        stretch_error.append(slope)
    rms = [np.sqrt(np.mean(np.square(a))) for a in (shift_error, stretch_error)]
    return f"{level:.0f}", f"{rms[0]:.4f}", f"{rms[1]:.1e}", f"{np.max(worst):.3f}"


def true_wavelengths(profile, arm, rows, rng, far):
    """Nominal wavelengths moved: an offset, a bend along rows and a smile over fibres."""
    arm = profile.arms[arm]
    y, x = np.linspace(-1, 1, rows), np.linspace(-1, 1, profile.fibers.count)[:, None]
    offset, bend, smile, tilt = rng.normal(0, 1, 4) * (6.0, 4.0, 4.0, 1.5)
    moved = offset + bend * (1 - y**2) + 2.0 * y**3 + smile * x**2 + tilt * x
    moved = far * moved
    step = (arm.wavelength_stop - arm.wavelength_start) / rows
    return arm.wavelength_start + (np.arange(rows) + moved) * step, step


def lines(wavelength, kind, scale, step):
    light, known = np.zeros(wavelength.shape), line_list(kind)
    for wave, strength in zip(known.wavelength, known.strength, strict=True):
        light += scale * strength * np.exp(-0.5 * ((wavelength - wave) / step / 2.1) ** 2)
    return light


def wavelength_rows(rng, size, arm, far, tries):
    """Rms against truth, in pixels: by an arc; an arc and sky lines; sky lines; nominal."""
    fibers, rows = size
    profile = draw.tiny_profile(fibers, rows, block=fibers // 2)
    optics = draw.make_optics(profile)
    settings = StripeSettings(row_start=0, row_stop=rows)
    grid = np.linspace(-1, 1, rows)
    coef = np.polynomial.chebyshev.chebfit(grid, optics.center.T, 4).T
    count = np.arange(1, fibers + 1)
    ones = np.ones(fibers)
    traces = TraceSet(count, coef, 7.0 * ones[:, None], ones > 0, 0 * ones, rows, ones)
    inner = np.arange(rows // 20, rows - rows // 20)
    away = {"arc": [], "arc, moved by sky lines": [], "sky lines alone": [], "nominal": []}
    for _ in range(tries):
        truth, step = true_wavelengths(profile, arm, rows, rng, far)
        image = draw.render_light(profile, optics, lines(truth, "arc", 300.0, step))
        arc = draw.make_frame(profile, image, rng, kind="arc", arm=arm)
        solved = fit_arc(arc, traces, profile, settings)
        nominal = nominal_wavelengths(profile, arm, fibers, settings.wavelength_degree)
        flexed = truth - rng.normal(0.0, 0.3) * step
        sky = rng.poisson(lines(flexed, "sky", 5.0, step) + 100.0).astype(float)
        ivar = np.full(sky.shape, 0.01)
        by_sky = fit_sky(sky[:, inner], ivar[:, inner], nominal, inner)[0]
        both = fit_sky(sky[:, inner], ivar[:, inner], solved, inner)[0]
        for name, found, wanted in zip(
            away, (solved, both, by_sky, nominal), (truth, flexed, flexed, flexed), strict=True
        ):
            error = (found.wavelengths(inner) - wanted[:, inner]) / step
            away[name].append((found.source, np.sqrt((error**2).mean())))
    for name, found in away.items():
        source = ", ".join(sorted({s for s, _ in found}))
        rms = [r for _, r in found]
        yield arm, f"{far:g}", name, source, f"{np.mean(rms):.3f}", f"{np.max(rms):.3f}"


def measure(asked):
    """The four tables of the page, by name."""
    rng = np.random.default_rng(asked.seed)
    size = (asked.fibers, asked.rows)
    least = StripeSettings(row_start=0, row_stop=asked.rows).min_identity
    cells = [
        identity_row("with", rng, asked.cases, referenced=True, least=least),
        identity_row("without", rng, asked.cases, referenced=False, least=least),
    ]
    head = ("reference", "cases", "refused", "frames with a wrong label (95% limit)")
    head += ("wrong labels", "confidence: least, 1st percentile, median")
    where = ("arm", "truth off nominal")
    return {
        "identity": table(head, cells),
        "traces": table(
            ("traces", "rms, px", "median fibre", "worst fibre", "width rms, %"),
            [trace_row(rng, *size, case) for case in TRACES],
        ),
        "shifts": table(
            ("sky, e a row", "shift rms, px", "stretch rms", "worst fibre's mean centre, px"),
            [shift_row(rng, *size, level, asked.tries) for level in (20.0, 60.0, 200.0)],
        ),
        "waves": table(
            (*where, "measured on", "source said", "rms, px", "worst frame, px"),
            [
                row
                for arm in ("blue", "red")
                for far in (1.0, 0.1)
                for row in wavelength_rows(rng, (10, 3300), arm, far, 6)
            ],
        ),
    }


def write_page(asked):
    found, size = measure(asked), f"{asked.fibers} fibres of {asked.rows} rows"
    least = StripeSettings(row_start=0, row_stop=asked.rows).min_identity
    command = f"python benchmarks/identity.py --cases {asked.cases} --fibers {asked.fibers} "
    command += f"--rows {asked.rows} --tries {asked.tries} --seed {asked.seed}"
    text = f"""# Which fibre is which, where it runs, and at which wavelength

Made by `{command}`.

## Identity
Geometry of `lamost-lrs`, 250 fibres in blocks of 25. Each case draws a throughput pattern
(spread 0.2), a shift of up to one pitch either way, a scale (3e-4), places off by 0.3 px, 0 to
{DEAD} dead fibres and a drift of {100 * DRIFT:.0f}% a fibre; the reference has other dead fibres.
A frame below {least} is refused. The limit is Clopper and Pearson's, of the frames taken.

{found["identity"]}

## Traces
{size}, Moffat profiles, 30,000 electrons a row times 0.6 to 1.2;
target 0.01 px. Bow 2 px and tilt 1.5 px where the line says nothing, 12 and 8 px where strong; the
saturated column runs between two fibres, 8 px from the nearer one.

{found["traces"]}

## Shift and stretch on the exposure
The sky gives the only light; {asked.tries} exposures a line, moved by up to 3 px and stretched by
5e-4; target 0.05 px.

{found["shifts"]}

## Wavelengths
10 fibres of 3300 rows; truth lies off the nominal by an offset (6 px), a bend along rows (4 px)
and a smile over fibres (4 px), or a tenth of these; the exposure is moved by a further 0.3 px.
Target 0.1 px. Sky lines alone bend the nominal wavelengths where 15 or more stand alone over half
of the rows, as in red: one surface of degree 4 over rows and 2 over fibres. Where they are fewer
they only move them, by some pixels at most (blue has one line); where nothing was measured the
source says "nominal". Without an arc every fibre is flagged.

{found["waves"]}
"""
    asked.output.write_text(text, encoding="utf-8")
    print(text)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--fibers", type=int, default=50)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--tries", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path, default=ROOT / "docs/results/identity.md")
    write_page(parser.parse_args())


if __name__ == "__main__":
    main()
