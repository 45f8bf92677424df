"""The paper's claims on the page: what stands, what falls, what these runs cannot tell."""

from typing import Any

from drcnet.config import EvaluateSettings
from drcnet.evaluate.claims import FALLS, OPEN, STANDS, claims_note
from drcnet.evaluate.evaluate import Evaluation
from drcnet.evaluate.judge import paper_claims

__all__ = ["claims_section"]

_STYLE = {STANDS: "stands", FALLS: "falls", OPEN: "open"}


def claims_section(evaluation: Evaluation, settings: EvaluateSettings) -> dict[str, Any] | None:
    """Ask the paper's claims of the page's runs.

    Parameters
    ----------
    evaluation : Evaluation
        The runs.
    settings : EvaluateSettings
        Bootstrap draws, coverage and seed.

    Returns
    -------
    dict or None
        `claims` (each with its `text`, `source` and `rows`, as in `judge.paper_claims`, with
        `style`), `rule` (how verdicts are reached), `asked` (how many lines there are) and
        `lucky` (how many verdicts luck alone would give); None where no run is of a model that the
        paper makes a claim about.
    """
    table = paper_claims(evaluation.runs, settings)
    if table.is_empty():
        return None
    found = []
    for _, lines in table.group_by("claim", maintain_order=True):
        rows = [row | {"style": _STYLE[row["verdict"]]} for row in lines.to_dicts()]
        found.append({"text": rows[0]["text"], "source": rows[0]["source"], "rows": rows})
    return {
        "claims": found,
        "rule": claims_note(settings.confidence),
        "asked": len(table),
        "lucky": (1 - settings.confidence) * len(table),
    }
