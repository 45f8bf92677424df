import re
import shutil
from html.parser import HTMLParser

import polars as pl
import pytest

from drcnet.config import EvaluateSettings
from drcnet.errors import RunError
from drcnet.evaluate.evaluate import evaluate
from drcnet.report.page import report

VOID = {"meta", "img", "br", "link", "hr", "input"}


class Tree(HTMLParser):
    """Checks nesting, and keeps what tests ask for."""

    def __init__(self):
        super().__init__()
        self.open, self.seen, self.text = [], [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_startendtag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text.append(data)

    def all(self, tag):
        return [attrs for name, attrs in self.seen if name == tag]


def read(path):
    tree = Tree()
    tree.feed(path.read_text(encoding="utf-8"))
    assert tree.open == []
    return tree


def words(path):
    return " ".join(" ".join(read(path).text).split())


def test_the_page_is_well_formed_whole_and_small(page):
    tree = read(page)
    assert tree.all("html")[0]["lang"] == "en"
    assert tree.all("h1")
    assert page.stat().st_size < 10_000_000
    assert list(page.parent.iterdir()) == [page]


def test_nothing_is_asked_of_the_network(page):
    html = page.read_text(encoding="utf-8")
    assert re.search(r"https?://|//cdn|@import|<script|<link|<iframe", html) is None
    tree = read(page)
    for name, attrs in tree.seen:
        source = attrs.get("src") or attrs.get("href") or ""
        assert source.startswith(("data:", "#")) or not source, (name, source[:80])
    assert "url(" not in html


def test_whoever_cannot_see_is_told(page):
    tree = read(page)
    assert all(attrs.get("alt") for attrs in tree.all("img"))
    assert all(attrs.get("scope") for attrs in tree.all("th"))
    drawn = [a for a in tree.all("svg") if a.get("aria-hidden") != "true"]
    assert drawn
    assert all(a.get("role") == "img" and a.get("aria-label") for a in drawn)
    targets = {a["id"] for _, a in tree.seen if "id" in a}
    assert {a["href"][1:] for a in tree.all("a")} <= targets


def test_every_section_is_there_and_the_title_is_escaped(page):
    text = words(page)
    for heading in (
        "A <small> world & more",
        "From frame to class",
        "Results by S/N",
        "Pair by pair",
        "Run by run",
        "Worst mistakes",
        "Flags and refused fibres",
        "The published numbers",
        "Settings and origin",
    ):
        assert heading in text
    assert "<small> world" not in page.read_text(encoding="utf-8")


def test_numbers_on_the_page_are_those_of_evaluate(page, runs):
    scores = evaluate(runs, EvaluateSettings(figures=False)).scores
    text = words(page)
    for row in scores.filter(pl.col("n_rows") > 0).to_dicts():
        assert f"{row['accuracy']:.3f}" in text
        assert f"{row['macro_f1']:.3f}" in text
    best = scores.filter(pl.col("interval") == ">30").sort("accuracy", descending=True)
    first = best.row(0, named=True)
    assert f"At S/N >30, {first['run']} is right for {100 * first['accuracy']:.1f}%" in text


def test_the_best_of_each_column_is_marked_once(page):
    html = page.read_text(encoding="utf-8")
    table = html[html.index('aria-label="Accuracy by run') :]
    assert table[: table.index("</table>")].count('class="best"') == 5


def test_simulated_light_is_called_so(page, runs, tmp_path, night):
    assert "Simulated light." in words(page)
    assert "published, real LAMOST data" in words(page)
    alone = report(runs, tmp_path / "a.html")
    assert "Origin not stated." in words(alone)
    real = tmp_path / "night"
    shutil.copytree(night / "raw", real / "raw")
    # Without the store the instrument is LAMOST's, whose frames are larger than these.
    with pytest.raises(Exception, match="4136"):
        report(runs, tmp_path / "b.html", night=real)


def test_without_work_and_night_the_page_says_what_is_missing(runs, tmp_path):
    text = words(report(runs, tmp_path / "a.html"))
    assert "No raw frame" in text
    assert "No stripes" in text
    assert "Flags and refused fibres" not in text


def test_flags_are_counted_with_their_meaning(page, work):
    index = pl.read_parquet(work / "index.parquet")
    sky = int((index["flags"] > 0).sum())
    text = words(page)
    assert re.search(rf"sky fiber {sky} 12\.5% looked at blank sky", text)
    assert f"{len(index) - sky} of {len(index)} rows" in text
    assert f"{sky} × blank sky" in text


def test_pictures_of_frame_and_stripes_are_inside(page):
    images = read(page).all("img")
    stripes = [i for i in images if i["alt"].startswith("Stripe")]
    assert len(images) - len(stripes) == 2
    assert len(stripes) == 2 * (1 + 4)
    assert "82496145" in words(page)


def test_a_run_from_elsewhere_has_a_page_too(bare_run, runs, tmp_path):
    text = words(report([bare_run, runs[0]], tmp_path / "a.html"))
    assert "No calibration: this run gives no probabilities." in text
    assert "No training curve" in text
    assert "nan" not in text.lower().split()


def test_a_perfect_run_has_no_mistakes_to_show(bare_run, tmp_path):
    path = bare_run / "predictions.parquet"
    pl.read_parquet(path).with_columns(predicted="class").write_parquet(path)
    assert "made no mistake" in words(report([bare_run], tmp_path / "a.html"))


def test_hostile_names_stay_text(bare_run, tmp_path):
    evil = bare_run.rename(bare_run.parent / "<b onclick=x>&")
    html = report([evil], tmp_path / "a.html").read_text()
    assert "<b onclick" not in html


def test_the_store_of_other_stars_is_refused(bare_run, work, tmp_path):
    path = bare_run / "predictions.parquet"
    pl.read_parquet(path).with_columns(star="x" + pl.col("star")).write_parquet(path)
    with pytest.raises(RunError, match="the store that nutmaat was tested on"):
        report([bare_run], tmp_path / "a.html", work=work)
    assert not (tmp_path / "a.html").exists()


def test_a_missing_run_is_named_and_an_old_page_stays(tmp_path):
    out = tmp_path / "a.html"
    out.write_text("old")
    with pytest.raises(RunError, match="no such folder"):
        report([tmp_path / "nowhere"], out)
    assert out.read_text() == "old"


def test_the_same_inputs_give_the_same_page(page, runs, work, night, tmp_path):
    again = report(
        runs, tmp_path / "r.html", work=work, night=night, title="A <small> world & more"
    )
    assert again.read_bytes() == page.read_bytes()
