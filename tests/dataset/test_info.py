"""What a store holds, as tables; and stores at URLs."""

import http.server
import re
import threading
from functools import partial
from pathlib import Path

import fsspec
import numpy as np
import polars as pl
import pytest
import zarr

from drcnet.config import SplitSettings
from drcnet.dataset.build import prepare
from drcnet.dataset.flow import flag_table, flow_table, paper_table1, snr_histogram
from drcnet.dataset.info import store_info
from drcnet.dataset.merge import merge_stores
from drcnet.dataset.remote import RemotePath, locate
from drcnet.dataset.split import read_split
from drcnet.dataset.store import open_store, shard_path
from drcnet.dataset.store_check import check_store
from drcnet.dataset.subset import subset_store
from drcnet.errors import StoreError


@pytest.fixture
def prepared(fakes, toy_night, tmp_path):
    prepare(toy_night, tmp_path / "work", settings=fakes.make_settings(toy_night))
    return tmp_path / "work"


def test_the_flow_counts_every_step(prepared, tmp_path):
    steps = {
        step: (rows, stars, lost)
        for step, rows, stars, lost in flow_table(
            open_store(prepared).index, read_split(prepared)
        ).rows()
    }
    assert steps["fibres of all exposures"] == (24, 6, 0)
    assert steps["both arms measured"] == (24, 6, 0)
    assert steps["fibre alive and on the chip"] == (21, 5, 3)
    assert steps["not on blank sky"] == (18, 5, 3)
    assert steps["in the catalogue"] == (15, 5, 3)
    assert steps["with a label"] == steps["with S/N"] == (15, 5, 0)
    assert sum(rows for step, (rows, *_) in steps.items() if step.startswith("part:")) == 15
    assert "taken into this subset" not in steps
    subset_store(prepared, tmp_path / "out", rows=np.arange(4))
    found = store_info(tmp_path / "out")
    assert dict(found.flow.select("step", "lost").rows())["taken into this subset"] == 4
    assert found.left_out.filter(pl.col("stage") == "subset")["rows"].to_list() == [4]


def test_the_histogram_has_half_open_bins():
    index = pl.DataFrame(
        {
            "usable": [True] * 6 + [False],
            "snrr": [9.99, 10.0, 30.0, 500.0, float("nan"), -1.0, 10.0],
            "class": ["F", "F", "G", "K", "K", "G", "F"],
        }
    )
    table = snr_histogram(index, edges=(0, 10, 30))
    assert table["snrr"].to_list() == ["0-10", "10-30", ">30", "unknown"]
    assert table["rows"].to_list() == [1, 1, 2, 1]
    assert table["F"].to_list() == [1, 1, 0, 0]
    assert table["K"].to_list() == [0, 0, 1, 1]


def test_table_1_stands_as_the_paper_prints_it():
    split = pl.DataFrame(
        {
            "row": range(6),
            "star": [f"s{k}" for k in range(6)],
            "class": ["F", "G", "G", "K", "F", "F"],
            "snrr": [40.0, 40, 50, 15, 40, float("nan")],
            "interval": [">30", ">30", ">30", "10-20", ">30", ""],
            "part": ["train", "train", "train", "test", "validation", "unused"],
        }
    )
    table = paper_table1(split, SplitSettings())
    assert table.columns == ["data set", ">30", "20-30", "10-20", "0-10", "no S/N"]
    assert table["data set"].to_list() == ["Train", "Validation", "Test", "Unused"]
    assert table[">30"].to_list() == ["3 (F 1 G 2)", "1 (F 1)", "0", "0"]
    assert table["10-20"].to_list() == ["0", "0", "1 (K 1)", "0"]
    assert table["no S/N"].to_list() == ["0", "0", "0", "1 (F 1)"]
    known = paper_table1(split.filter(pl.col("interval") != ""), SplitSettings())
    assert known.columns[-1] == "0-10"
    assert known["data set"].to_list() == ["Train", "Validation", "Test"]


def test_flags_are_counted_with_their_meaning(prepared):
    table = flag_table(open_store(prepared).index)
    assert dict(table.select("flag", "rows").rows()) == {
        "dead": 3,
        "no_signal": 3,
        "sky_fiber": 3,
        "no_catalog": 3,
    }
    assert table["meaning"][0] == "no light on the lamp flat"


def test_info_sums_up(prepared):
    found = store_info(prepared)
    assert (found.exposures, found.rows, found.stars) == (3, 24, 5)
    assert found.classes == {"F": 6, "G": 6, "K": 3}
    assert found.pools == {"labelled": 15, "unlabelled": 3, "sky": 3, "rejected": 3}
    assert found.disk == sum(p.stat().st_size for p in prepared.rglob("*") if p.is_file())
    assert "24 rows (labelled 15, unlabelled 3, sky 3, rejected 3)" in found.describe()
    assert found.as_dict()["flow"][0] == {
        "step": "fibres of all exposures",
        "rows": 24,
        "stars": 6,
        "lost": 0,
    }


def test_one_changed_byte_in_a_shard_is_found(prepared):
    path = shard_path(prepared, "red", "offset", 2)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    key = open_store(prepared).exposures[2]
    faults = check_store(prepared)
    assert f"exposure {key}: shards that are not those written: red/offset" in faults


def test_a_part_without_digests_is_a_fault(prepared):
    key = open_store(prepared).exposures[0]
    next((prepared / "parts").glob(f"{key}.*")).unlink()
    assert check_store(prepared) == (f"exposure {key}: no digests of its shards in parts/",)


def test_a_row_in_a_wrong_pool_is_a_fault(prepared):
    index = pl.read_parquet(prepared / "index.parquet")
    index.with_columns(pool=pl.lit("sky")).write_parquet(prepared / "index.parquet")
    assert check_store(prepared) == ("index.parquet: rows in a wrong pool, the first is 0",)


def test_places():
    assert locate("work") == Path("work")
    assert locate("file:///data/my%20work") == Path("/data/my work")
    url = locate("s3://bucket/work/")
    assert isinstance(url, RemotePath)
    assert url / "index.parquet" == "s3://bucket/work/index.parquet"


class Ranges(http.server.SimpleHTTPRequestHandler):
    """Answers requests for a range of bytes, as object stores do; says nothing."""

    def do_GET(self):
        asked = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        path = self.translate_path(self.path)
        if asked is None or not Path(path).is_file():
            super().do_GET()
            return
        content = Path(path).read_bytes()
        start = int(asked[1]) if asked[1] else len(content) - int(asked[2])
        stop = int(asked[2]) + 1 if asked[1] and asked[2] else len(content)
        self.send_response(206)
        piece = content[start:stop]
        self.send_header("Content-Length", str(len(piece)))
        self.send_header("Content-Range", f"bytes {start}-{start + len(piece) - 1}/{len(content)}")
        self.end_headers()
        self.wfile.write(piece)

    def log_message(self, *args):
        pass


@pytest.fixture
def served(prepared):
    handler = partial(Ranges, directory=str(prepared))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.fixture
def remembered(prepared):
    memory = fsspec.filesystem("memory")
    memory.put(str(prepared), "/bucket/work", recursive=True)
    yield "memory://bucket/work"
    memory.rm("/bucket", recursive=True)


@pytest.fixture(params=["http", "memory", "file"])
def url(request, prepared):
    if request.param == "file":
        return f"file://{prepared}"
    if request.param == "http":
        pytest.importorskip("aiohttp")
    return request.getfixturevalue({"http": "served", "memory": "remembered"}[request.param])


def test_a_store_at_a_url_is_the_same_store(prepared, url):
    here, there = open_store(prepared), open_store(url)
    assert there.index.equals(here.index)
    assert there.exposures == here.exposures
    assert read_split(there.work / "split.parquet").equals(read_split(prepared))
    rows = np.array([17, 3, 8, 3])
    for name in ("stripes", "box", "wavelength"):
        np.testing.assert_array_equal(there.read(name, rows), here.read(name, rows))
    assert store_info(url).flow.equals(store_info(prepared).flow)


def test_nothing_at_a_url_is_one_clear_error(remembered):
    with pytest.raises(StoreError, match="memory://bucket/elsewhere"):
        open_store("memory://bucket/elsewhere")
    with pytest.raises(StoreError, match="nonsense://x"):
        open_store("nonsense://x")
    with pytest.raises(StoreError, match="got a URL"):
        check_store(remembered)
    fsspec.filesystem("memory").rm("/bucket/work/index.parquet")
    with pytest.raises(StoreError, match=r"index\.parquet: wanted a URL that can be read"):
        open_store(remembered)


def test_a_store_of_schema_1_is_read_but_not_merged(prepared, tmp_path):
    group = zarr.open_group(prepared / "dataset.zarr", mode="r+")
    group.attrs["schema"] = 1
    index = pl.read_parquet(prepared / "index.parquet")
    index.drop("luminosity", "unlabelled", "pool").write_parquet(prepared / "index.parquet")
    assert open_store(prepared).index["pool"].equals(index["pool"])
    assert store_info(prepared).pools["labelled"] == 15
    assert check_store(prepared)[0].startswith("index.parquet: columns absent")
    with pytest.raises(StoreError, match="prepare it again"):
        merge_stores([prepared], tmp_path / "out")
