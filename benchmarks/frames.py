"""Speed and memory of the way from a raw frame to stripes, as ratios to one NumPy boxcar.

    python benchmarks/frames.py --out docs/results/frames.md [--repeat 15] [--oracle PYTHON]

The frames are drawn here: 250 fibres of Gaussian profile on the geometry of `lamost-lrs`, 4136 x
4160 uint16. The unit, BASE, is one vectorised NumPy boxcar of all fibres from the uint16 array in
the same run, overscan included: the mean of each amplifier's overscan in every row, 250 x 3000 x
11 pixels gathered and summed, and the one taken off the other. Our cut, boxcar, whole pass and
tracing start at the same array and find the overscan's level themselves (`overscan_levels`, row
by row as BASE does; the default, smoothed along the rows, is a line of its own).

Times are processor time, the least of some calls taken in turn with those of BASE, so that other
work on the machine disturbs little; wall time is said where it is meant. BLAS is held to one
thread. Other packages are timed beside ours where they are importable, here or by the interpreter
that `--oracle` names; they are never installed for it, and the work is in `rivals.py`.
"""

# ruff: noqa: E402 (threads are set before NumPy is loaded)
import argparse
import ctypes
import importlib.util
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import numpy as np
from astropy.io import fits

from drcnet.config import StripeSettings
from drcnet.frames.frame import Frame, FrameName
from drcnet.frames.overscan import overscan_levels
from drcnet.frames.read import read_frame
from drcnet.instruments import load_instrument
from drcnet.stripes.boxcar import sum_stripes
from drcnet.stripes.calibration import calibrate_arm, read_calibration, write_calibration
from drcnet.stripes.cut import cut_stripes, frame_pixels, make_windows
from drcnet.stripes.extract import extract_stripes, make_rules, make_shapes
from drcnet.stripes.measure import measure_arm
from drcnet.stripes.trace import trace_flat

NAME = "ro-01b-20150923200000-0001-80000000"
FORMATS = (".fit", ".fit.gz", ".fits.fz")


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


def best(function, repeat, clock=time.process_time):
    """Least time of some calls, after one to compile."""
    function()
    return min(once(function, clock) for _ in range(repeat))


def once(function, clock=time.process_time):
    start = clock()
    function()
    return clock() - start


def peak_memory(function):
    """Bytes of memory in use at most during a call, beyond those before it (Linux)."""

    def resident():
        pages = Path("/proc/self/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    function()
    ctypes.CDLL(None).malloc_trim(0)  # what was freed goes back to the system
    seen, done = [resident()], threading.Event()

    def watch():
        while not done.wait(0.002):
            seen.append(resident())

    watcher = threading.Thread(target=watch)
    watcher.start()
    function()
    done.set()
    watcher.join()
    return max(seen) - seen[0]


def in_turn(jobs, repeat, clock=time.process_time):
    """Least time of every job, the jobs taken in turn so that all meet the same machine."""
    for job in jobs.values():
        job()
    turns = [{name: once(job, clock) for name, job in jobs.items()} for _ in range(repeat)]
    return {name: min(turn[name] for turn in turns) for name in jobs}


def base_boxcar(counts, windows, settings):
    """BASE: overscan, gather and sum in plain NumPy."""
    profile = load_instrument("lamost-lrs")
    rows = np.arange(settings.row_start, settings.row_stop)
    border = profile.amplifiers[0].data_x[1]

    def boxcar():
        over = [counts[:, slice(*amp.overscan_x)].mean(axis=1) for amp in profile.amplifiers]
        level = np.stack(over)[:, rows]
        x = windows.first[:, :, None] + np.arange(settings.width)
        light = counts[rows[None, :, None], x].sum(axis=2, dtype=np.float32)
        right = (windows.first[:, :1] >= border).astype(np.int64)
        return light - settings.width * level[right, np.arange(settings.rows)]

    return boxcar


def calibrated(frame):
    """The same frame with a master bias and a bad-pixel mask, as a survey's are."""
    rng = np.random.default_rng(5)
    shape = frame.counts.shape
    bias = rng.normal(0.0, 1.5, shape).astype(np.float32)
    return replace(frame, bias=bias, mask=rng.random(shape) < 1e-4)


def our_jobs(frames, calibration):
    """Name to call, each from the uint16 array before overscan, and what it is held against."""
    counts, frame, flat = frames
    full, settings = calibrated(frame), StripeSettings()
    windows = make_windows(calibration.traces, settings)

    def fresh(some, way="row"):
        raw = counts if some is not flat else flat.counts.base
        level, _ = overscan_levels(raw, some.profile, "blue", way)
        return replace(some, pedestal=level)

    def whole_pass(some):
        shapes = make_shapes(calibration.profile, calibration.traces, windows)
        return extract_stripes(frame_pixels(fresh(some)), windows, shapes, make_rules(settings))

    used = cut_stripes(frame_pixels(frame), windows)
    spare = full.bias.copy()
    known, known_full = frame_pixels(frame), frame_pixels(full)

    def floor(biased):
        counts.copy()
        used[0][:] = 1.0
        if biased:  # the stripes hold two thirds of the pixels
            np.copyto(spare[:2048], full.bias[:2048])
            full.mask.any()

    return {
        "overscan, row by row": (lambda: fresh(frame), ""),
        "overscan, smoothed (the default)": (lambda: fresh(frame, "smooth"), ""),
        "cut": (lambda: cut_stripes(frame_pixels(fresh(frame)), windows), 0.12),
        "cut, master bias and bad pixels": (
            lambda: cut_stripes(frame_pixels(fresh(full)), windows),
            "",
        ),
        "cut alone, the level known": (lambda: cut_stripes(known, windows, out=used), ""),
        "cut alone, master bias and bad pixels": (
            lambda: cut_stripes(known_full, windows, out=used),
            "",
        ),
        "floor: copy the frame, write the stripes": (lambda: floor(biased=False), ""),
        "floor, master bias and bad pixels read too": (lambda: floor(biased=True), ""),
        "boxcar": (lambda: sum_stripes(frame_pixels(fresh(frame)), windows), 0.26),
        "boxcar, master bias": (lambda: sum_stripes(frame_pixels(fresh(full)), windows), ""),
        "whole pass: cut, boxcar, masked optimal, variance": (lambda: whole_pass(frame), 2.5),
        "whole pass, master bias and bad pixels": (lambda: whole_pass(full), ""),
        "trace a flat": (lambda: trace_flat(fresh(flat), settings), 1.0),
    }


def ours(frames, calibration, repeat):
    """BASE's processor time, and rows of the table: name, ratio to BASE, target."""
    counts, frame, flat = frames
    settings = StripeSettings()
    windows = make_windows(calibration.traces, settings)
    boxcar = base_boxcar(counts, windows, settings)
    table = our_jobs(frames, calibration)
    jobs = {"BASE": boxcar} | {name: job for name, (job, _) in table.items()}
    seconds = in_turn(jobs, repeat)
    rows = [(name, seconds[name] / seconds["BASE"], table[name][1]) for name in table]
    slow = {
        "one arm, all steps (measure_arm)": lambda: measure_arm(frame, calibration, settings),
        "calibrate an arm, without an arc": lambda: calibrate_arm(
            flat, None, flat.profile, settings
        ),
    }
    found = in_turn({"BASE": boxcar} | slow, 3)
    rows += [(name, found[name] / found["BASE"], "") for name in slow]
    pixels = frame_pixels(calibrated(frame))
    threaded = {"BASE": boxcar}
    for threads in (1, 2):
        end = f"wall time, {threads} thread{'s' * (threads > 1)}"
        threaded[f"cut alone, master bias and bad pixels, {end}"] = lambda threads=threads: (
            cut_stripes(pixels, windows, threads=threads)
        )
        threaded[f"boxcar alone, master bias, {end}"] = lambda threads=threads: sum_stripes(
            pixels, windows, threads=threads
        )
    found = in_turn(threaded, repeat, time.perf_counter)
    rows += [(name, found[name] / found["BASE"], "") for name in threaded if name != "BASE"]
    return seconds["BASE"], rows


def write_files(counts, folder):
    """The frame in every format; ending to path."""
    paths = {ending: folder / f"{NAME}{ending}" for ending in FORMATS}
    for ending in FORMATS[:2]:
        fits.PrimaryHDU(counts).writeto(paths[ending])
    compressed = fits.CompImageHDU(counts, compression_type="RICE_1")
    fits.HDUList([fits.PrimaryHDU(), compressed]).writeto(paths[".fits.fz"])
    return paths


def measure_file(path, calibration_path):
    """One frame from file to spectra; what a worker does."""
    frame = read_frame(Path(path), load_instrument("lamost-lrs"))
    return float(measure_arm(frame, read_calibration(calibration_path), StripeSettings()).snr[100])


def on_dask(path, calibration_path, workers, count=4):
    """Frames an hour and worker through Dask on loopback, by the wall clock."""
    from dask.distributed import Client, LocalCluster

    with (
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address=None,
            silence_logs=50,
        ) as cluster,
        Client(cluster) as client,
    ):

        def run(times):
            todo = client.map(
                measure_file, [str(path)] * times, calibration_path=calibration_path, pure=False
            )
            client.gather(todo)

        run(workers)  # compiled kernels are loaded
        return count / once(lambda: run(count), time.perf_counter) * 3600.0 / workers


def throughput(counts, calibration, base, repeat):
    """Lines of the second table: reading, and frames an hour and core, by format."""
    lines = []
    with tempfile.TemporaryDirectory() as name:
        paths = write_files(counts, Path(name))
        saved = Path(name) / "calibration.fits"
        write_calibration(saved, calibration)
        profile = load_instrument("lamost-lrs")
        for ending, path in paths.items():
            plain = best(lambda path=path: fits.getdata(path, memmap=False), min(repeat, 3))
            read = best(lambda path=path: read_frame(path, profile), min(repeat, 3))
            every = best(lambda path=path: measure_file(path, saved), min(repeat, 3))
            size = path.stat().st_size / counts.nbytes
            cells = f"{size:.2f} | {plain / base:.2f} | {read / base:.2f} | {3600 / every:.0f}"
            lines.append(f"| {ending} | {cells} |")
        if importlib.util.find_spec("distributed"):
            for workers in (1, 2):
                rate = on_dask(paths[".fit"], saved, workers)
                title = f".fit, Dask, {workers} worker{'s' * (workers > 1)}, wall time"
                lines.append(f"| {title} | | | | {rate:.0f} |")
    return lines


def table(rows):
    lines = ["| step | ratio to BASE | target |", "|---|---|---|"]
    return lines + [f"| {name} | {ratio:.2f} | {target} |" for name, ratio, target in rows]


def rivals(counts, windows, base, oracle):
    """Rows of other packages, timed by another interpreter, and what there is to say of it."""
    with tempfile.TemporaryDirectory() as name:
        given = Path(name) / "frame.npz"
        np.savez(given, counts=counts, center=windows.center)
        script = Path(__file__).with_name("rivals.py")
        command = [oracle or sys.executable, str(script), str(given)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    rows = json.loads(done.stdout.splitlines()[-1])
    said = " ".join(row[0] for row in rows)
    missing = [package for package in ("astroscrappy", "specreduce") if package not in said]
    note = f"Not timed, for want of it: {', '.join(missing)}." if missing else ""
    return [(name, seconds / base, target) for name, seconds, target in rows], note


def memory_row(counts):
    """Peak memory of `measure_arm`, in a process of its own."""
    command = [sys.executable, __file__, "--memory"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    peak = float(done.stdout.splitlines()[-1]) / counts.nbytes
    return ("peak memory of measure_arm, in raw frames (a process of its own)", peak, 6)


def machine():
    """Processor, cores, memory and load, in words."""
    from drcnet.train.machine import processor_name  # torch: not while anything is measured

    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    python = platform.python_version()
    return f"{processor_name()}, {os.cpu_count()} cores, {memory:.0f} GiB, Python {python}"


def draw_all():
    """Counts, frame, flat and calibration."""
    profile, settings = load_instrument("lamost-lrs"), StripeSettings()
    rng = np.random.default_rng(1)
    _, flat = draw(profile, 2e4 * rng.uniform(0.6, 1.2, 250), "flat", 2)
    counts, frame = draw(profile, rng.uniform(50, 3000, 250), "object", 3)
    return counts, frame, flat, calibrate_arm(flat, None, profile, settings)


def page(args):
    """The whole page."""
    load = os.getloadavg()[0]
    counts, frame, flat, calibration = draw_all()
    windows = make_windows(calibration.traces, StripeSettings())
    base, rows = ours((counts, frame, flat), calibration, args.repeat)
    other, note = rivals(counts, windows, base, args.oracle)
    lines = ["# From a raw frame to stripes: speed and memory", ""]
    for part in (*__doc__.split("\n\n")[2:4], note):
        lines += [" ".join(part.split()), ""] if part else []
    now, command = os.getloadavg()[0], "python benchmarks/frames.py --out docs/results/frames.md"
    lines += [f"Written by `{command}` on {machine()}; load {load:.1f}"]
    lines += [f"at first, {now:.1f} at last. BASE took {1e3 * base:.0f} ms of processor time.", ""]
    if load > 0.5 * os.cpu_count():
        lines += ["**The machine was busy: times, above all wall times, are not valid.**", ""]
    lines += table([*rows, *other, memory_row(counts)])
    lines += [
        "",
        "| file | size | astropy alone, BASE | read_frame, BASE | frames an hour and core |",
        "|---|---|---|---|---|",
    ]
    lines += throughput(counts, calibration, base, args.repeat)
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=15)
    parser.add_argument("--out", type=Path, help="also write the page to this file")
    parser.add_argument("--oracle", help="interpreter that has specreduce and astroscrappy")
    parser.add_argument("--busy", action="store_true", help="write --out on a busy machine, too")
    parser.add_argument("--memory", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.memory:
        _, frame, _, calibration = draw_all()
        print(peak_memory(lambda: measure_arm(frame, calibration, StripeSettings())))
        return
    if args.out and not args.busy and os.getloadavg()[0] > 0.5 * os.cpu_count():
        parser.error(f"load {os.getloadavg()[0]:.1f}: times would not be valid (--busy to go on)")
    text = page(args)
    print(text)
    if args.out:
        args.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
