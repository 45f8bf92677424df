import re
from xml.etree import ElementTree as ET

import pytest

from drcnet.report.svg import Axis, Series, line_chart

X = Axis("x <label>", 0, 10, [(0, "0"), (10, "ten")])
Y = Axis("y", 0, 1, [(0, "0"), (1, "1")])


def parse(html):
    return ET.fromstring(html)  # noqa: S314 - our own text


def test_axis_places_values_and_holds_them_inside():
    assert (X.share(0), X.share(5), X.share(10)) == (0, 0.5, 1)
    assert (X.share(-3), X.share(30)) == (0, 1)


def test_chart_is_well_formed_and_escapes():
    series = Series("a & b", "s0", [1, 2], [0.5, 0.6], [0.4, 0.5], [0.6, 0.7], ["<1>", "2"], 0)
    root = parse(line_chart([series], X, Y, 'says "hi"'))
    assert root.find("svg").get("aria-label") == 'says "hi"'
    assert [t.text for t in root.iter("title")] == ["<1>", "2"]
    assert "a & b" in "".join(root.find("ul").itertext())
    assert len([p for p in root.iter("path") if p.get("class") == "bar"]) == 2


def test_points_stand_where_their_values_are():
    series = Series("a", "s0", [0, 5, 10], [0, 0.5, 1])
    root = parse(line_chart([series], X, Y, "d"))
    line = next(p for p in root.find("svg").iter("path") if p.get("class") == "line")
    (x0, y0), (x1, y1), (x2, y2) = [
        tuple(map(float, pair)) for pair in re.findall(r"([\d.]+),([\d.]+)", line.get("d"))
    ]
    assert x1 == pytest.approx((x0 + x2) / 2)
    assert y1 == pytest.approx((y0 + y2) / 2)
    assert x0 < x2
    assert y0 > y2  # up is more


def test_bounds_without_markers_are_a_band_and_points_may_stand_alone():
    band = Series("", "s1", [0, 1], [0.5, 0.5], [0.4, 0.4], [0.6, 0.6])
    dots = Series("dots", "paper", [0, 1], [0.5, 0.5], marker=1, line=False)
    root = parse(line_chart([band, dots], X, Y, "d"))
    kinds = [p.get("class") for p in root.find("svg").iter("path")]
    assert kinds.count("band") == 1
    assert kinds.count("line") == 1
    assert kinds.count("mark") == 2
    assert len(root.find("ul")) == 1
