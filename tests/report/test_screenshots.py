"""The page in a browser: nothing sticks out, at desk and phone width, light and dark."""

import re
import shutil
import subprocess

import numpy as np
import pytest
from matplotlib.image import imread

from drcnet.report.page import report

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium on PATH: page not looked at")

SIZES = {"desk": (1280, 2400), "phone": (390, 2400)}


def browse(url, *options):
    common = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    words = [BROWSER, *common, *options, url]
    return subprocess.run(words, capture_output=True, text=True, timeout=120, check=True).stdout


def screenshot(page, out, size, *options):
    window = f"--window-size={size[0]},{size[1]}"
    browse(page.as_uri(), window, f"--screenshot={out}", *options)
    return imread(out)[..., :3]


def width_of(page, width, tmp_path):
    """Width of what is laid out where the window is so wide.

    A headless window is laid out at no less than some 500 pixels, so the phone is a frame.
    """
    frame = tmp_path / "frame.html"
    frame.write_text(
        f"<iframe id=f width={width} height=800 style='border:0' src='{page.as_uri()}'></iframe>"
        "<script>addEventListener('load',()=>{const d=f.contentWindow.document;"
        "document.body.append('wide '+d.documentElement.scrollWidth);});</script>"
    )
    dom = browse(frame.as_uri(), "--allow-file-access-from-files", "--dump-dom")
    found = re.search(r"wide (\d+)", dom)
    assert found, dom[-500:]
    return int(found.group(1))


@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_sticks_out(page, tmp_path, width):
    assert 0.9 * width < width_of(page, width, tmp_path) <= width


@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_sticks_out_of_a_page_with_every_product(full_run, tmp_path, width):
    page = report([full_run], tmp_path / "full.html")
    assert 0.9 * width < width_of(page, width, tmp_path) <= width


@pytest.mark.parametrize("name", SIZES)
def test_the_page_is_drawn(page, tmp_path, name):
    image = screenshot(page, tmp_path / f"{name}.png", SIZES[name])
    assert image.shape[1] == SIZES[name][0]
    assert image[5, 5].min() > 0.95  # paper
    inked = (image < 0.5).all(axis=2).any(axis=1)
    assert inked.mean() > 0.2


def test_the_dark_page_is_dark_and_legible(page, tmp_path):
    dark = "--blink-settings=preferredColorScheme=0"
    image = screenshot(page, tmp_path / "dark.png", SIZES["desk"], dark)
    assert image[5, 5].max() < 0.2
    assert np.percentile(image.max(axis=2), 99.5) > 0.7
