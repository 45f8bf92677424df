"""Speed and memory of the way from a raw frame to stripes, as ratios to one NumPy boxcar.

    python benchmarks/frames.py [--repeat 9] [--out docs/results/frames.md]

The frames are drawn here: 250 fibres of Gaussian profile on the geometry of `lamost-lrs`, 4136 x
4160 uint16. The unit, BASE, is one vectorised NumPy boxcar of all fibres from the uint16 array in
the same run: gather 250 x 3000 x 11 pixels and sum them. Other packages are timed beside ours
only where they are installed; they are never installed for it.

Times are processor time, the least of some calls, so that other work on the machine disturbs
little; wall time is said where it is meant. BLAS is held to one thread.
"""

# ruff: noqa: E402 (threads are set before NumPy is loaded)
import argparse
import contextlib
import ctypes
import importlib.util
import os
import tempfile
import threading
import time
import warnings
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import numpy as np
from astropy.io import fits

from drcnet.config import StripeSettings
from drcnet.frames.frame import Frame, FrameName
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
SOME = 10  # fibres that slow packages are timed on; their time is scaled to 250


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


def ours(frames, calibration, boxcar, repeat):
    """Rows of the table: name, seconds, target."""
    counts, frame, flat = frames
    settings = StripeSettings()
    windows = make_windows(calibration.traces, settings)
    pixels = frame_pixels(frame)

    def whole_pass():
        shapes = make_shapes(calibration.profile, calibration.traces, windows)
        return extract_stripes(pixels, windows, shapes, make_rules(settings))

    wall = time.perf_counter
    stripes = np.empty((250, settings.width, settings.rows), np.float32)

    def copied():
        counts.copy()
        stripes[:] = 1.0

    return [
        ("cut", best(lambda: cut_stripes(pixels, windows), repeat), 0.12),
        ("boxcar", best(lambda: sum_stripes(pixels, windows), repeat), 0.26),
        ("BASE itself, wall time", best(boxcar, repeat, wall), ""),
        ("cut, wall time, 1 thread", best(lambda: cut_stripes(pixels, windows), repeat, wall), ""),
        (
            "cut, wall time, 2 threads",
            best(lambda: cut_stripes(pixels, windows, threads=2), repeat, wall),
            "",
        ),
        (
            "boxcar, wall time, 2 threads",
            best(lambda: sum_stripes(pixels, windows, threads=2), repeat, wall),
            "",
        ),
        ("floor: copy the frame, write the stripes", best(copied, repeat), ""),
        ("whole pass: cut, boxcar, masked optimal, variance", best(whole_pass, repeat), 2.5),
        ("trace a flat", best(lambda: trace_flat(flat, settings), repeat), 1.0),
        (
            "one arm, all steps (measure_arm)",
            best(lambda: measure_arm(frame, calibration, settings), 3),
            "",
        ),
        (
            "calibrate an arm, without an arc",
            once(lambda: calibrate_arm(flat, None, flat.profile, settings)),
            "",
        ),
    ]


def rivals(counts, windows):
    """Other packages on the same work, where they are installed: name, seconds, target."""
    found = []
    if importlib.util.find_spec("astroscrappy"):
        import astroscrappy

        image = counts[:, :4096].astype(np.float32)
        seconds = once(lambda: astroscrappy.detect_cosmics(image))
        found.append((f"astroscrappy {astroscrappy.__version__} detect_cosmics", seconds, ""))
    if importlib.util.find_spec("specreduce"):
        found += specreduce_rows(counts, windows)
    return found


def specreduce_rows(counts, windows):
    import specreduce
    from astropy.nddata import NDData, StdDevUncertainty
    from specreduce.extract import BoxcarExtract, HorneExtract
    from specreduce.tracing import FitTrace, FlatTrace

    cuts = []
    for fiber in range(0, 250, 250 // SOME):
        low = int(windows.center[fiber, 1500]) - 10
        light = counts[500:3500, max(low, 0) : low + 21].T.astype(float)
        cuts.append(
            NDData(light, uncertainty=StdDevUncertainty(np.sqrt(light + 16.0)), unit="adu")
        )

    def every(work):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return once(lambda: [work(cut) for cut in cuts]) * 250 / len(cuts)

    jobs = {
        "FitTrace": lambda cut: FitTrace(cut, bins=40, guess=10, window=5),
        "BoxcarExtract": lambda cut: BoxcarExtract(cut, FlatTrace(cut, 10.0), width=11).spectrum,
        "HorneExtract": lambda cut: HorneExtract(cut, FlatTrace(cut, 10.0)).spectrum,
    }
    label = f"specreduce {specreduce.__version__}"
    return [(f"{label} {name}, cut-outs of 250", every(job), "") for name, job in jobs.items()]


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


def table(rows, base):
    lines = ["| step | ratio to BASE | target |", "|---|---|---|"]
    return lines + [
        f"| {name} | {seconds / base:.2f} | {target} |" for name, seconds, target in rows
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=9)
    parser.add_argument("--out", type=Path, help="also write the tables to this file")
    args = parser.parse_args()
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

    base = best(boxcar, args.repeat)
    found = ours((counts, frame, flat), calibration, boxcar, args.repeat)
    found += rivals(counts, windows)
    lines = ["# From a raw frame to stripes: speed and memory", ""]
    lines += [" ".join(__doc__.split("\n\n")[2].split()), ""]
    lines += [" ".join(__doc__.split("\n\n")[3].split()), ""]
    load = os.getloadavg()[0]
    lines += [
        (
            f"Written by `python benchmarks/frames.py` on {os.cpu_count()} cores, load "
            f"{load:.1f}; BASE took {1e3 * base:.0f} ms of processor time."
        ),
        "",
    ]
    lines += table(found, base)
    with contextlib.suppress(OSError, AttributeError):
        memory = peak_memory(lambda: measure_arm(frame, calibration, settings)) / counts.nbytes
        lines.append(f"| peak memory of measure_arm, in raw frames | {memory:.2f} | 6 |")
    lines += [
        "",
        "| file | size | astropy alone, BASE | read_frame, BASE | frames an hour and core |",
    ]
    lines += ["|---|---|---|---|---|"]
    lines += throughput(counts, calibration, base, args.repeat)
    text = "\n".join(lines) + "\n"
    print(text)
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
