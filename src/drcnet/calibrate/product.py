"""`calibration.json`: what was learnt of a trained model's doubts, read, written and applied."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from drcnet.calibrate.conformal import prediction_sets
from drcnet.calibrate.fading import interval_bounds
from drcnet.calibrate.strange import Space, Surroundings, binned
from drcnet.calibrate.temperature import Temperature, scale_probabilities
from drcnet.errors import CheckpointError
from drcnet.provenance import atomic_write

__all__ = ["FILE", "Calibration", "read_calibration", "write_calibration"]

FILE = "calibration.json"
"""Its name in a run folder."""

_FORMAT = 1


@dataclass(frozen=True, eq=False)
class Calibration:
    """How sure a trained model may be, and what it must refuse.

    Parameters
    ----------
    classes : tuple of str
        In the order of the probabilities.
    weights : str
        Digest of the weights that it belongs to.
    temperature : Temperature
        Of the logits, against S/N.
    coverage : float
        What the prediction sets promise.
    thresholds : Mapping of str to float
        Interval to the largest 1 - p that a set's classes may have.
    space : Space
        Where spectra are compared.
    surroundings : Mapping of str to Surroundings
        Interval to where its stars lie.
    false_rejection : float
        Share of stars of the known classes that may be called strange.
    faintest : float
        S/N below which nothing is known of the model.
    snrr_per_snr_red : float
        The catalogue's `snrr` over the frame's own `snr_red`, the median of training and
        validation stars: turns what a frame tells into what the intervals are made of.
    provenance : Mapping
        Settings, inputs, versions, seed; rows and stars used.
    """

    classes: tuple[str, ...]
    weights: str
    temperature: Temperature
    coverage: float
    thresholds: Mapping[str, float]
    space: Space
    surroundings: Mapping[str, Surroundings]
    false_rejection: float
    faintest: float
    snrr_per_snr_red: float
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def snrr(self, snr_red: ArrayLike) -> NDArray[np.float64]:
        """Estimate the catalogue's S/N from a frame's.

        Parameters
        ----------
        snr_red : array_like, shape (n,)
            `snr_frame` of the red arm.

        Returns
        -------
        ndarray, shape (n,)
            In the meaning of `snrr`.
        """
        return np.asarray(snr_red, dtype=np.float64) * self.snrr_per_snr_red

    def probabilities(self, p: NDArray[np.float64], snrr: ArrayLike) -> NDArray[np.float64]:
        """Make a model's probabilities true.

        Parameters
        ----------
        p : ndarray, shape (n, K)
            As the model gives them; NaN stays NaN.
        snrr : array_like, shape (n,)
            S/N.

        Returns
        -------
        ndarray, shape (n, K)
            Calibrated.
        """
        return scale_probabilities(p, snrr, self.temperature)

    def sets(self, p: NDArray[np.float64], snrr: ArrayLike) -> NDArray[np.bool_]:
        """Find the classes that may not be excluded.

        Parameters
        ----------
        p : ndarray, shape (n, K)
            Calibrated probabilities.
        snrr : array_like, shape (n,)
            S/N.

        Returns
        -------
        ndarray of bool, shape (n, K)
            Membership; all classes where the S/N lies in no calibrated interval.
        """
        number = self._interval(snrr)
        limits = np.array([*self.thresholds.values(), 1.0])
        return prediction_sets(p, limits[number])

    def excess(self, light: NDArray[np.floating], snrr: ArrayLike) -> NDArray[np.float64]:
        """Measure how strange spectra are.

        Parameters
        ----------
        light : ndarray, shape (n, 2, L)
            Optimally extracted electrons of both arms, sky subtracted.
        snrr : array_like, shape (n,)
            S/N.

        Returns
        -------
        ndarray, shape (n,)
            Above 1 is unlike every class; NaN where it cannot be told.
        """
        number = self._interval(snrr)
        features = self.space.features(binned(light))
        found = np.full(len(light), np.nan)
        for k, name in enumerate(self.thresholds):
            here = number == k
            found[here] = self.surroundings[name].excess(features[here])
        return found

    def reject(self, light: NDArray[np.floating], snrr: ArrayLike) -> list[str]:
        """Say why stars should not be believed to be any of the classes.

        Parameters
        ----------
        light : ndarray, shape (n, 2, L)
            Optimally extracted electrons of both arms, sky subtracted.
        snrr : array_like, shape (n,)
            S/N.

        Returns
        -------
        list of str
            A reason, or empty.
        """
        snrr = np.asarray(snrr, dtype=np.float64)
        with np.errstate(invalid="ignore"):
            faint = ~(snrr >= self.faintest)
            strange = self.excess(light, snrr) > 1
        too_faint = f"fainter than S/N {self.faintest:g}"
        unlike = f"unlike all of {', '.join(self.classes)}"
        return [
            too_faint if dim else unlike if odd else ""
            for dim, odd in zip(faint, strange, strict=True)
        ]

    def _interval(self, snrr: ArrayLike) -> NDArray[np.int64]:
        """Number of each S/N's interval; the last for none."""
        snr = np.asarray(snrr, dtype=np.float64)
        number = np.full(snr.shape, len(self.thresholds))
        with np.errstate(invalid="ignore"):
            for k, name in enumerate(self.thresholds):
                low, high = interval_bounds(name)
                number[(snr >= low) & (snr < high)] = k
        return number


def write_calibration(run: Path, calibration: Calibration) -> Path:
    """Write `calibration.json` into a run folder, whole.

    Parameters
    ----------
    run : Path
        The run folder.
    calibration : Calibration
        What to write.

    Returns
    -------
    Path
        The file.
    """
    target = Path(run) / FILE
    t = calibration.temperature
    values = {
        "format": _FORMAT,
        "classes": list(calibration.classes),
        "weights": calibration.weights,
        "temperature": {"coefficients": list(t.coefficients), "low": t.low, "high": t.high},
        "coverage": calibration.coverage,
        "thresholds": dict(calibration.thresholds),
        "space": calibration.space.as_dict(),
        "surroundings": {k: v.as_dict() for k, v in calibration.surroundings.items()},
        "false_rejection": calibration.false_rejection,
        "faintest": calibration.faintest,
        "snrr_per_snr_red": calibration.snrr_per_snr_red,
        "provenance": dict(calibration.provenance),
    }
    with atomic_write(target) as path:
        path.write_text(json.dumps(values, separators=(",", ":")) + "\n", encoding="utf-8")
    return target


def read_calibration(run: Path, *, weights: str | None = None) -> Calibration | None:
    """Read a run folder's `calibration.json`.

    Parameters
    ----------
    run : Path
        The run folder.
    weights : str, optional
        Digest of the weights that it must belong to.

    Returns
    -------
    Calibration or None
        None where the run was not calibrated.

    Raises
    ------
    CheckpointError
        The file is damaged, of another format, or belongs to other weights.
    """
    path = Path(run) / FILE
    if not path.is_file():
        return None
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        found = _parse(values)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as err:
        wanted = f"a calibration of format {_FORMAT} ('drcnet calibrate' makes one)"
        raise CheckpointError(path, wanted, str(err) or type(err).__name__) from err
    if weights is not None and found.weights != weights:
        raise CheckpointError(
            path, f"the calibration of these weights ({weights}); calibrate again", found.weights
        )
    return found


def _parse(values: Mapping[str, Any]) -> Calibration:
    if values["format"] != _FORMAT:
        raise ValueError(f"format {values['format']!r}")
    t = values["temperature"]
    a, b, c = t["coefficients"]
    around = {k: Surroundings.from_dict(v) for k, v in values["surroundings"].items()}
    if set(around) != set(values["thresholds"]):
        raise ValueError("surroundings and thresholds of different intervals")
    plain = ("weights", "coverage", "false_rejection", "faintest", "snrr_per_snr_red")
    return Calibration(
        classes=tuple(values["classes"]),
        temperature=Temperature((a, b, c), t["low"], t["high"]),
        thresholds=dict(values["thresholds"]),
        space=Space.from_dict(values["space"]),
        surroundings=around,
        provenance=values["provenance"],
        **{name: values[name] for name in plain},
    )
