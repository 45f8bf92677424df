"""From what the catalogue says of a star to the label that is learnt, or to why there is none.

The rule is LAMOST's: CLASS must be STAR, and SUBCLASS begins with an MK class ('F5', 'A7V',
'dM2', 'gM0'). A type that spans two labels ('G8/K0') has neither.
"""

import polars as pl

from drcnet.config import PrepareSettings
from drcnet.dataset.pools import NOT_TAKEN, REJECTING
from drcnet.stripes.flags import FiberFlag

__all__ = ["LEFT_OUT_SCHEMA", "add_labels", "left_out"]

LEFT_OUT_SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "stage": pl.String,
    "reason": pl.String,
    "rows": pl.Int64,
    "stars": pl.Int64,
    "examples": pl.String,
}
"""Columns of `left_out.parquet`."""

_STAGES = ("subset", "frame", "fibre", "label", "split")
_EXAMPLES = 3
_FAINTER = "fainter than the limit, of a star that is trained or validated on"
_TYPE = r"^(?:sd|[dg])?[OBAFGKM]\d"
_LUMINOSITY = r"^(?:sd|[dg])?[OBAFGKM]\d(?:\.\d)?\s*(Iab|Ia|Ib|III|II|IV|I|VI|V)"
_OTHER_LETTER = r"[/-]\s*([OBAFGKM])"
_OTHER_DIGIT = r"^(?:sd|[dg])?[OBAFGKM]\d(?:\.\d)?\s*[/-]\s*(?:[OBAFGKM])?(\d)"


def add_labels(rows: pl.DataFrame, settings: PrepareSettings) -> pl.DataFrame:
    """Give catalogue rows their label, or the reason why they have none.

    Parameters
    ----------
    rows : DataFrame
        Columns raw_class, class (a letter, or null), subclass, is_sky, in_catalog.
    settings : PrepareSettings
        `label`, `classes`.

    Returns
    -------
    DataFrame
        The same rows; `class` is the label or empty, `luminosity` the luminosity class ('V',
        'III', ...; empty where the type does not tell it; 'dM2' is V, 'gM0' is III), and
        `unlabelled` says why there is no label (empty where there is one).
    """
    letter, subclass = pl.col("class"), pl.col("subclass").str.strip_chars()
    digit = subclass.str.extract(r"^(?:sd|[dg])?[OBAFGKM](\d)", 1)
    by_type = settings.label == "subclass"
    label = letter + digit if by_type else letter
    spans = (subclass.str.extract(_OTHER_LETTER, 1) != letter).fill_null(value=False)
    if by_type:
        spans |= (subclass.str.extract(_OTHER_DIGIT, 1) != digit).fill_null(value=False)
    quoted = pl.format("SUBCLASS '{}'", subclass.fill_null(""))
    no_star = pl.col("raw_class").str.to_uppercase().ne_missing("STAR")
    why = (
        pl.when(~pl.col("in_catalog"))
        .then(pl.lit("no row of the catalogue"))
        .when(pl.col("is_sky"))
        .then(pl.lit("the catalogue says sky"))
        .when(no_star)
        .then(pl.format("CLASS '{}' is no star", pl.col("raw_class").fill_null("")))
        .when(letter.is_null())
        .then(pl.concat_str(quoted, pl.lit(" names no spectral class")))
        .when(spans)
        .then(pl.concat_str(quoted, pl.lit(" spans two labels")))
        .when(label.is_null())
        .then(pl.concat_str(quoted, pl.lit(" has no digit")))
        .when(~label.is_in(settings.classes))
        .then(pl.format("{} is not among the classes asked for", label))
        .otherwise(pl.lit(""))
    )
    return rows.with_columns(
        luminosity=_luminosity(subclass, letter), unlabelled=why, **{"class": label}
    ).with_columns(
        pl.when(pl.col("unlabelled") == "").then("class").otherwise(pl.lit("")).alias("class")
    )


def _luminosity(subclass: pl.Expr, letter: pl.Expr) -> pl.Expr:
    dwarf_or_giant = (
        pl.when(subclass.str.contains(r"^d[OBAFGKM]"))
        .then(pl.lit("V"))
        .when(subclass.str.contains(r"^g[OBAFGKM]"))
        .then(pl.lit("III"))
    )
    told = pl.coalesce(subclass.str.extract(_LUMINOSITY, 1), dwarf_or_giant, pl.lit(""))
    return pl.when(letter.is_null()).then(pl.lit("")).otherwise(told)


def left_out(index: pl.DataFrame, split: pl.DataFrame) -> pl.DataFrame:
    """List everything of a store that no part of the split uses, and why.

    Parameters
    ----------
    index : DataFrame
        The store's index.
    split : DataFrame
        Its split.

    Returns
    -------
    DataFrame
        Columns of `LEFT_OUT_SCHEMA`: the stage ('subset', 'frame', 'fibre', 'label', 'split'),
        the reason, how many rows and named stars, and the first few as 'exposure fibre
        (subclass)'. The rows add up to those of the index that stand in no part but 'unused'.
    """
    used = split.filter(pl.col("part") != "unused").select("row", used=pl.lit(value=True))
    rows = index.join(used, on="row", how="left").filter(pl.col("used").is_null()).sort("row")
    flags = pl.col("flags")
    refused = (flags & int(FiberFlag.ARM_MISSING | FiberFlag.FRAME_REFUSED)) != 0
    blocked = (flags & int(REJECTING | FiberFlag.SKY_FIBER)) != 0
    stage = (
        pl.when(pl.col("reason") == NOT_TAKEN)
        .then(pl.lit("subset"))
        .when(refused)
        .then(pl.lit("frame"))
        .when(blocked)
        .then(pl.lit("fibre"))
        .when(~pl.col("usable"))
        .then(pl.lit("label"))
        .otherwise(pl.lit("split"))
    )
    nameless = pl.when(pl.col("star") == "").then(pl.lit("no name for the star"))
    unknown = pl.when(pl.col("unlabelled") != "").then("unlabelled").otherwise(nameless)
    late = (
        pl.when(pl.col("snrr").is_null() | pl.col("snrr").is_nan())
        .then(pl.lit("no S/N in the catalogue"))
        .otherwise(pl.lit(_FAINTER))
    )
    told = pl.when(pl.col("reason") != "").then("reason")
    why = told.otherwise(pl.when(pl.col("usable")).then(late).otherwise(unknown))
    example = pl.format("{} {} ({})", "exposure", "fiberid", "subclass")
    is_star = (pl.col("star") != "") & ((flags & int(FiberFlag.SKY_FIBER)) == 0)
    table = (
        rows.with_columns(stage=stage, reason=why.fill_null("no label"), example=example)
        .group_by("stage", "reason", maintain_order=True)
        .agg(
            rows=pl.len(),
            stars=pl.col("star").filter(is_star).n_unique(),
            examples=pl.col("example").head(_EXAMPLES).str.join("; "),
        )
        .sort(
            pl.col("stage").replace_strict(list(_STAGES), range(len(_STAGES))),
            pl.col("rows"),
            pl.col("reason"),
            descending=[False, True, False],
        )
    )
    return table.select(pl.col(name).cast(dtype) for name, dtype in LEFT_OUT_SCHEMA.items())
