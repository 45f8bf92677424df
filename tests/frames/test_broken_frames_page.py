"""docs/broken-frames.md: what is said of each kind of broken frame, made from the corpus itself.

Make it anew with ``DRCNET_WRITE_DOCS=1 pytest tests/frames/test_broken_frames_page.py``.
"""

import os
import re
from pathlib import Path

import numpy as np
import pytest

from drcnet.errors import FrameError
from drcnet.frames.read import read_frame

from .broken_frames import CASES
from .conftest import draw, tiny

PAGE = Path(__file__).parents[2] / "docs" / "broken-frames.md"
HEAD = """# Broken frames

Every kind of broken frame that the tests make, and what is said of it. A frame is refused with
one sentence, `FILE: wanted WANTED, got CAME`; the rest of its night goes on, and the product
names it with this reason. This page is written by the tests from the frames themselves:

```
DRCNET_WRITE_DOCS=1 pytest tests/frames/test_broken_frames_page.py
```

Besides these {count} kinds the tests cut a file at every seventeenth block, flip every bit of one
with a checksum, damage 120 copies of each format at random, take a file away while it is read,
and forbid reading it. Frames of a night that do not belong together (no flat, two files of one
exposure, another night's flat) are in `tests/frames/test_night.py`; fibres that cannot be told
apart, and traces that are not there, in `tests/stripes`.

| kind | wanted | came |
|---|---|---|
"""


def row(folder, rng, name):
    build = CASES[name][0]
    folder.mkdir()
    with pytest.raises(FrameError) as caught:
        read_frame(build(folder, draw(rng).counts), tiny())
    came = caught.value.came.replace("|", "\\|")
    came = re.sub(r"b['\"]\\x1f\\x8b.*", "the bytes of a gzip file", came)  # a clock is in them
    return f"| {name.replace('_', ' ')} | {caught.value.wanted} | {came} |"


def kinds(text):
    return [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("| ")][1:]


def test_the_page_lists_every_kind(tmp_path, rng):
    if os.environ.get("DRCNET_WRITE_DOCS"):
        rows = [row(tmp_path / name, rng, name) for name in CASES]
        PAGE.write_text(HEAD.format(count=len(rows)) + "\n".join(rows) + "\n")
    text = PAGE.read_text()
    assert kinds(text) == [name.replace("_", " ") for name in CASES]
    assert f"{len(CASES)} kinds" in text


@pytest.mark.parametrize("name", ["truncated_in_the_data", "transposed", "mirrored", "nan"])
def test_what_the_page_says_is_what_is_said(tmp_path, name):
    # Numbers that the noise decides may differ; the words may not.
    said = row(tmp_path / name, np.random.default_rng(20231025), name)
    words = re.sub(r"\d+", "#", said)
    assert words in re.sub(r"\d+", "#", PAGE.read_text())
