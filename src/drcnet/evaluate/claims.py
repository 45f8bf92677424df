"""What the paper claims, and the rule by which an interval of ours upholds or refutes it.

Zhang et al. 2023 draw their conclusions from single accuracies without intervals. `judge` asks
each of them of our runs, as a difference of two numbers on the same test rows; its verdict
follows from the interval of that difference, whichever way it comes out.
"""

import math
from dataclasses import dataclass

__all__ = [
    "FALLS",
    "OPEN",
    "PAPER_CLAIMS",
    "STANDS",
    "Claim",
    "claims_note",
    "verdict_of",
]

STANDS, FALLS, OPEN = "stands", "falls", "cannot be told here"

_MARGIN = 0.03  # accuracies closer than this are comparable: half of what the paper calls a gain


@dataclass(frozen=True)
class Claim:
    """Something said about two models, or about one, that runs can answer.

    Parameters
    ----------
    name : str
        A short name.
    text : str
        What is claimed.
    first, second : str
        Registry names: the first is said to be better. `second` is empty where the claim is
        about one model.
    intervals : tuple of str
        S/N intervals, all of them together; for 'kept' the bright one, then the faint one.
    measure : str
        'accuracy'; 'kept' (accuracy in the faint interval less that in the bright one);
        'precision_CLASS'; 'lead_CLASS' (precision of a class less the best of the others').
    published : float or None
        The paper's own difference; None where it gives none.
    source : str
        Where the paper says so; empty for a question of ours.
    margin : float or None
        For claims that two models are equal: how far apart they may be. None for claims that the
        first is better.
    """

    name: str
    text: str
    first: str
    second: str
    intervals: tuple[str, ...]
    measure: str = "accuracy"
    published: float | None = None
    source: str = ""
    margin: float | None = None


PAPER_CLAIMS = (
    Claim(
        "2-D above 30",
        "DRC-Net beats RC-Net above S/N 30",
        "drcnet", "rcnet", (">30",), published=0.006, source="section 4, Table 3",
    ),
    Claim(
        "1-D at 20-30",
        "RC-Net beats DRC-Net at S/N 20-30",
        "rcnet", "drcnet", ("20-30",), published=0.066, source="section 4, Figure 7",
    ),
    Claim(
        "equal at 10-20",
        "DRC-Net and RC-Net are comparable at S/N 10-20",
        "drcnet", "rcnet", ("10-20",), published=0.004, source="section 4, Figure 7",
        margin=_MARGIN,
    ),
    Claim(
        "2-D below 10",
        "2-D beats 1-D below S/N 10",
        "drcnet", "rcnet", ("0-10",), published=0.065, source="abstract, section 4, Figure 7",
    ),
    Claim(
        "2-D below 20",
        "2-D beats 1-D below S/N 20",
        "drcnet", "rcnet", ("10-20", "0-10"), published=0.047, source="section 5",
    ),
    Claim(
        "2-D resists noise",
        "2-D loses less accuracy from S/N > 30 to S/N < 10",
        "drcnet", "rcnet", (">30", "0-10"), "kept", 0.059, "abstract, section 4",
    ),
    Claim(
        "2-D precision of F",
        "DRC-Net's F are purer than RC-Net's above S/N 30",
        "drcnet", "rcnet", (">30",), "precision_F", 0.163, "section 5",
    ),
    Claim(
        "2-D precision of K",
        "DRC-Net's K are purer than RC-Net's above S/N 30",
        "drcnet", "rcnet", (">30",), "precision_K", 0.023, "section 5",
    ),
    Claim(
        "reduction beats images",
        "DRC-Net beats FFCNN above S/N 30",
        "drcnet", "ffcnn", (">30",), published=0.037, source="section 4, Table 3",
    ),
    Claim(
        "K resists noise, 2-D",
        "Below S/N 10 DRC-Net is most precise for K",
        "drcnet", "", ("0-10",), "lead_K", 0.209, "section 4, Table 4",
    ),
    Claim(
        "K resists noise, 1-D",
        "Below S/N 10 RC-Net is most precise for K",
        "rcnet", "", ("0-10",), "lead_K", 0.045, "section 4, Table 5",
    ),
)  # fmt: skip
"""The paper's claims. That of S/N < 20 has no published number: 0.047 is the gain over both
intervals, each weighted by its test rows."""


def verdict_of(low: float, high: float, margin: float | None = None) -> str:
    """Say what an interval of a difference makes of a claim.

    Parameters
    ----------
    low, high : float
        Ends of the interval of first minus second.
    margin : float, optional
        For claims of equality: how far apart is still equal.

    Returns
    -------
    str
        That the first is better stands where the whole interval lies above 0, and falls where it
        lies below 0. That they are equal stands where the whole interval lies within `margin` of
        0, and falls where all of it lies beyond. Anything else, NaN included, cannot be told.

    Examples
    --------
    >>> verdict_of(0.01, 0.05), verdict_of(-0.05, -0.01), verdict_of(-0.01, 0.04)
    ('stands', 'falls', 'cannot be told here')
    >>> verdict_of(-0.01, 0.02, margin=0.03), verdict_of(0.01, 0.05, margin=0.03)
    ('stands', 'cannot be told here')
    """
    if not (math.isfinite(low) and math.isfinite(high)):
        return OPEN
    if margin is None:
        return STANDS if low > 0 else FALLS if high < 0 else OPEN
    if -margin < low and high < margin:
        return STANDS
    return FALLS if low > margin or high < -margin else OPEN


def claims_note(confidence: float) -> str:
    """Spell the rule out.

    Parameters
    ----------
    confidence : float
        Coverage of the intervals.

    Returns
    -------
    str
        For the caption of a table of claims.
    """
    return (
        f"First minus second on the same test rows, with its {confidence:.0%} interval from a "
        "bootstrap over stars. A claim that the first is better stands where the whole interval "
        "lies above 0 and falls where it lies below 0; a claim that two are comparable stands "
        f"where the whole interval lies within {100 * _MARGIN:.0f} points of 0 and falls where it "
        "lies beyond. "
        "Otherwise it cannot be told here."
    )
