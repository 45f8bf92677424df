"""A night of tiny files, and measurements that follow from file names alone.

Stands in for the rooms before `dataset`, so that what is tested is how a night becomes a store.
"""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
from astropy.io import fits

from drcnet.config import PrepareSettings
from drcnet.dataset import calibrations, exposure
from drcnet.errors import FrameError
from drcnet.frames.read import parse_name
from drcnet.stripes.measure import ArmStripes

N_FIBER, WIDTH, ROWS = 8, 11, 40
LMJM = 82496145

PROFILE = """
name = "toy"
title = "toy spectrograph"
file_pattern = '^r(?P<kind>.)-(?P<spid>\\d+)(?P<arm>.)-(?P<time>\\d+)-\\d+-(?P<lmjm>\\d+).fit$'
shape = [60, 160]
dispersion_axis = 0
saturation = 65535
[file_kinds]
o = "object"
f = "flat"
b = "bias"
a = "arc"
[[amplifiers]]
data_x = [0, 140]
data_y = [0, 60]
overscan_x = [140, 160]
overscan_y = [0, 60]
gain = 1.0
read_noise = 4.0
[arms.blue]
letter = "b"
wavelength_start = 3700.0
wavelength_stop = 5900.0
[arms.red]
letter = "r"
wavelength_start = 5700.0
wavelength_stop = 9000.0
[fibers]
count = 8
block = 8
pitch = 16.0
gap = 0.0
edge = 10.0
"""

HEADER = "obsid|lmjd|planid|spid|fiberid|objra|objdec|snrr|class|subclass|fibertype|lmjmlist"


def write_frame(path, text="good"):
    header = fits.Header({"NOTE": text})
    fits.PrimaryHDU(np.zeros((2, 2), np.uint16), header).writeto(path, overwrite=True)


def frame_name(kind, spid, arm, lmjm):
    return f"r{kind}-{spid:02d}{arm}-20150923234527-10000-{lmjm}.fit"


def make_night(folder, *, exposures=3, spids=(1,)):
    """Files and a catalogue; fibre 8 is sky, fibre 7 is not in the catalogue."""
    raw = folder / "raw"
    raw.mkdir(parents=True)
    lines = [HEADER]
    minutes = [LMJM + 40 * k for k in range(exposures)]
    for spid in spids:
        for arm in "br":
            write_frame(raw / frame_name("f", spid, arm, LMJM - 20), "flat")
            write_frame(raw / frame_name("a", spid, arm, LMJM - 15), "arc")
            write_frame(raw / frame_name("b", spid, arm, LMJM - 30), "bias")
            for lmjm in minutes:
                write_frame(raw / frame_name("o", spid, arm, lmjm))
        for fiber in (1, 2, 3, 4, 5, 6, 8):
            number = 100 * spid + fiber
            subclass, kind = (f"{'FGK'[fiber % 3]}5", "Obj") if fiber < 8 else ("Non", "Sky")
            listed = "-".join(str(m) for m in minutes)
            lines.append(
                f"{number}|57289|P1|{spid}|{fiber}|{number / 10}|20.5|{10 * fiber}|"
                f"{'STAR' if fiber < 8 else 'Unknown'}|{subclass}|{kind}|{listed}"
            )
    (folder / "catalog.csv").write_text("\n".join(lines) + "\n")
    (folder / "toy.toml").write_text(PROFILE)
    return folder


def make_settings(folder, **changes):
    stripes = {"row_start": 10, "row_stop": 10 + ROWS}
    values = {"instrument": str(folder / "toy.toml"), "workers": 1, "stripes": stripes}
    return PrepareSettings(**(values | changes))


def read_frame(path, profile, *, master_bias=None, overscan="smooth"):
    note = fits.getheader(path)["NOTE"]
    if note == "broken":
        raise FrameError(path, "a whole FITS file", "one cut short by 100 bytes")
    if note == "bug":
        raise ZeroDivisionError("division by zero")
    return SimpleNamespace(name=parse_name(path, profile), note=note, bias=master_bias)


def master_bias(paths, profile, *, overscan="smooth"):
    for path in paths:
        read_frame(path, profile)
    return np.full((140, 60), len(paths), np.float32)


def calibrate_arm(flat, arc, profile, settings):
    if flat.note == "dark":
        raise FrameError(Path("flat.fit"), "light of 8 fibres", "none")
    return flat.name


def write_calibration(path, calibration):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(repr(calibration))


def measure_arm(frame, calibration, settings, *, sky_fibers=None):
    rng = np.random.default_rng([frame.name.lmjm, frame.name.spid, frame.name.arm == "red"])
    spectrum = (N_FIBER, ROWS)
    flags = np.zeros(N_FIBER, np.uint32)
    flags[1] = 1  # dead
    flags[2] = 128  # taken for sky by the frame, a star by the catalogue
    flags[3] = 2 * (frame.name.arm == "blue")  # no signal in one arm only
    flags[7] = 128 | 2
    sky = np.zeros(N_FIBER, bool) if sky_fibers is None else sky_fibers
    flags[sky] |= 128
    stripes = rng.normal(100, 30, (N_FIBER, WIDTH, ROWS)).astype(np.float32)
    box = stripes.sum(axis=1)
    return ArmStripes(
        stripes=stripes,
        mask=np.zeros((N_FIBER, WIDTH, ROWS), np.uint8),
        box=box,
        box_ivar=np.ones(spectrum, np.float32),
        optimal=box * 1.1,
        optimal_ivar=np.ones(spectrum, np.float32),
        sky=np.full(spectrum, 5, np.float32),
        wavelength=np.tile([4800.0, 1100, 1, 0, 0], (N_FIBER, 1)),
        offset=np.zeros(spectrum, np.float32),
        snr=np.arange(N_FIBER, dtype=np.float32),
        fwhm=np.full(N_FIBER, 7, np.float32),
        gain=np.ones(N_FIBER, np.float32),
        read_noise=np.full(N_FIBER, 4, np.float32),
        flags=flags,
        sky_fibers=sky,
    )


def install(replace=setattr):
    """Put the stand-ins where frames and stripes are used."""
    for name in ("read_frame", "master_bias", "calibrate_arm", "write_calibration"):
        replace(calibrations, name, globals()[name])
    replace(exposure, "read_frame", read_frame)
    replace(exposure, "measure_arm", measure_arm)
    replace(exposure, "read_calibration", lambda path: path.read_text())
