"""Speed and memory of the way from a raw frame to stripes, as ratios to one NumPy boxcar.

    python benchmarks/frames.py [--repeat 5]

The frame is drawn here: 250 fibres of Gaussian profile on the geometry of `lamost-lrs`, 4136 x
4160 uint16. The unit, BASE, is one vectorised NumPy boxcar of all fibres from the uint16 array in
the same run: gather 250 x 3000 x 11 pixels and sum them. Other packages are timed beside ours
only where they are installed; they are never installed for it.
"""

import argparse
import importlib.util
import time
import tracemalloc
from pathlib import Path

import numpy as np

from drcnet.config import StripeSettings
from drcnet.frames.frame import Frame, FrameName
from drcnet.instruments import load_instrument
from drcnet.stripes.calibration import calibrate_arm
from drcnet.stripes.cut import cut_stripes, frame_pixels, make_windows
from drcnet.stripes.extract import extract_stripes, make_rules, make_shapes
from drcnet.stripes.measure import measure_arm
from drcnet.stripes.trace import trace_flat

TARGETS = {
    "cut": 0.12,
    "boxcar": 0.26,
    "whole pass (cut, boxcar, masked optimal, variance)": 2.5,
    "tracing a flat": 1.0,
}


def draw(profile, light, kind, seed):
    """A frame of 250 curved fibres, FWHM 7, in the raw layout (rows, x)."""
    rng = np.random.default_rng(seed)
    n_wave, n_spatial = profile.n_wave, profile.n_spatial
    y = np.linspace(-1, 1, n_wave)[:, None]
    center = profile.fibers.centers() + 3.0 * y**2 + 1.5 * y
    raw = np.zeros(profile.shape)
    rows = np.arange(n_wave)
    for fiber, level in enumerate(light):
        first = np.rint(center[:, fiber]).astype(int) - 12
        for k in range(25):
            x = first + k
            value = level * np.exp(-0.5 * ((x - center[:, fiber]) / 2.97) ** 2) / 7.45
            inside = (x >= 0) & (x < n_spatial)
            raw[rows[inside], x[inside]] += value[inside]
    raw += 500.0 + np.sqrt(raw + 16.0) * rng.normal(size=raw.shape)
    counts = np.clip(np.rint(raw), 0, 65535).astype(np.uint16)
    line = np.repeat(np.arange(2, dtype=np.uint8), n_spatial // 2)
    frame = Frame(
        path=Path(f"{kind}.fit"),
        name=FrameName(lmjm=80000000, spid=1, arm="blue", kind=kind, time="20150923200000"),
        profile=profile,
        counts=counts[:, :n_spatial].T,
        pedestal=np.full((2, n_wave), 500.0, dtype=np.float32),
        amplifier=np.broadcast_to(line[:, None], (n_spatial, n_wave)),
        gain=np.ones(2, dtype=np.float32),
        read_noise=np.full(2, 4.0, dtype=np.float32),
    )
    return counts, frame


def best(function, repeat):
    """Least wall time of some calls, after one to compile."""
    function()
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def peak_memory(function):
    """Highest bytes allocated during a call, by tracemalloc (NumPy and Numba arrays)."""
    tracemalloc.start()
    function()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def rivals(counts, windows, repeat):
    """Other packages on the same work, where they are installed: name to seconds."""
    found = {}
    if importlib.util.find_spec("astroscrappy"):
        import astroscrappy

        image = counts[:, :4096].astype(np.float32)
        found["astroscrappy detect_cosmics"] = best(lambda: astroscrappy.detect_cosmics(image), 1)
    if importlib.util.find_spec("specreduce"):
        from specreduce.extract import BoxcarExtract
        from specreduce.tracing import FlatTrace

        image = counts[500:3500, :4096].T.astype(float)

        def extract():
            for center in windows.center[:, 1500]:
                BoxcarExtract(image, FlatTrace(image, center), width=11).spectrum  # noqa: B018

        found["specreduce BoxcarExtract, straight traces"] = best(extract, min(repeat, 1))
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=5)
    repeat = parser.parse_args().repeat
    profile, settings = load_instrument("lamost-lrs"), StripeSettings()
    rng = np.random.default_rng(1)
    _, flat = draw(profile, 2e4 * rng.uniform(0.6, 1.2, 250), "flat", 2)
    counts, frame = draw(profile, rng.uniform(50, 3000, 250), "object", 3)
    calibration = calibrate_arm(flat, None, profile, settings)
    windows = make_windows(calibration.traces, settings)
    rows = np.arange(settings.row_start, settings.row_stop)

    def boxcar():
        x = windows.first[:, :, None] + np.arange(settings.width)
        return counts[rows[None, :, None], x].sum(axis=2, dtype=np.float32)

    def whole_pass():
        shapes = make_shapes(calibration.profile, calibration.traces, windows)
        return extract_stripes(frame_pixels(frame), windows, shapes, make_rules(settings))

    def cut_and_sum():
        return cut_stripes(frame_pixels(frame), windows)[0].sum(axis=1)

    base = best(boxcar, repeat)
    times = {
        "cut": best(lambda: cut_stripes(frame_pixels(frame), windows), repeat),
        "boxcar": best(cut_and_sum, repeat),
        "whole pass (cut, boxcar, masked optimal, variance)": best(whole_pass, repeat),
        "tracing a flat": best(lambda: trace_flat(flat, settings), repeat),
        "one arm, all steps (measure_arm)": best(
            lambda: measure_arm(frame, calibration, settings), repeat
        ),
    }
    times |= rivals(counts, windows, repeat)
    print(f"BASE, one vectorised NumPy boxcar of 250 fibres: {1e3 * base:.0f} ms")
    print(f"{'step':52} {'ratio':>8} {'target':>8}")
    for name, seconds in times.items():
        target = TARGETS.get(name)
        print(f"{name:52} {seconds / base:8.2f} {target or '':>8}")
    memory = peak_memory(lambda: measure_arm(frame, calibration, settings)) / counts.nbytes
    print(f"{'peak memory of measure_arm, in raw frames':52} {memory:8.2f} {6:>8}")
    copied = 2 * counts.nbytes
    floor = best(counts.copy, repeat) * (copied + 45e6) / copied
    print(f"{'memory floor (read the frame, write the stripes)':52} {floor / base:8.2f}")


if __name__ == "__main__":
    main()
