"""Other packages on the frame of `frames.py`, by an interpreter that has them.

    PYTHON benchmarks/rivals.py FRAME.npz

FRAME.npz holds `counts` (uint16, raw) and `center` (the traces, rows 500 to 3500). Prints one line
of JSON: rows of name, seconds of processor time (scaled to 250 fibres) and target, for those of
astroscrappy and specreduce that are importable. Nothing of ours is imported.
"""

# ruff: noqa: E402 (threads are set before NumPy is loaded)
import importlib.util
import json
import os
import sys
import time
import warnings

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import numpy as np

SOME = 10  # fibres that slow packages are timed on; their time is scaled to 250


def once(function):
    start = time.process_time()
    function()
    return time.process_time() - start


def scrappy_rows(counts):
    import astroscrappy

    image = counts[:, :4096].astype(np.float32)
    seconds = min(once(lambda: astroscrappy.detect_cosmics(image)) for _ in range(2))
    return [(f"astroscrappy {astroscrappy.__version__} detect_cosmics", seconds, "")]


def specreduce_rows(counts, center):
    import specreduce
    from astropy.nddata import NDData, StdDevUncertainty
    from specreduce.extract import BoxcarExtract, HorneExtract
    from specreduce.tracing import FitTrace, FlatTrace

    cuts = []
    for fiber in range(0, 250, 250 // SOME):
        low = int(center[fiber, 1500]) - 10
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


def main():
    given = np.load(sys.argv[1])
    rows = []
    if importlib.util.find_spec("astroscrappy"):
        rows += scrappy_rows(given["counts"])
    if importlib.util.find_spec("specreduce"):
        rows += specreduce_rows(given["counts"], given["center"])
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
