"""The paper's tables and figures, from runs."""

import polars as pl
import pytest
import torch
from astropy.table import Table

from drcnet.models import build_model
from drcnet.report.architecture import PAPER_PARTS, plot_architecture, walk_layers
from drcnet.report.paper import write_paper


def test_tables_and_figures_of_runs_alone(bare_run, tmp_path):
    written = write_paper([bare_run], tmp_path / "paper")
    names = {path.name for path in written}
    assert all(path.stat().st_size > 200 for path in written)
    for stem in ("table-2", "table-3", "table-3-published", "table-4-nutmaat",
                 "table-4-5-published", "published-check"):  # fmt: skip
        assert {f"{stem}.ecsv", f"{stem}.tex", f"{stem}.md"} <= names
    assert {"figure-7.png", "figure-7.pdf"} <= names
    assert "table-1.md" not in names
    check = Table.read(tmp_path / "paper" / "published-check.ecsv")
    assert not all(check["consistent"])  # Table 3 has known misprints
    assert "provenance" in check.meta


def test_layers_of_drcnet_are_those_of_the_paper():
    model = build_model("drcnet", 3)
    table = walk_layers(model, (2, 11, 3000))
    kernels = table.filter(pl.col("part") == "reduction")["detail"].to_list()
    assert [text.split(",")[0] for text in kernels] == ["5x1", "5x1", "3x1"] * 2
    assert table.filter(pl.col("part") == "reduction")["shape"].to_list()[2] == "1 x 1 x 3000"
    features = table.filter(pl.col("part") == "features")
    assert (features["kind"] == "ResidualModule").sum() == 16  # eight an arm
    assert features.filter(pl.col("kind") == "Linear")["shape"].unique().to_list() == ["128"]
    assert (table.filter(pl.col("part") == "fusion")["kind"] == "Conv1d").sum() == 2
    assert (table.filter(pl.col("part") == "classifier")["kind"] == "Linear").sum() == 3
    assert table["parameters"].sum() == sum(p.numel() for p in model.parameters())
    assert set(table["part"]) == set(PAPER_PARTS["drcnet"])


@pytest.mark.parametrize(("name", "shape"), [("rcnet", (2, 256)), ("drcnet", (2, 11, 256))])
def test_a_network_is_drawn_and_stays_as_it_was(name, shape):
    model = build_model(name, 3, n_wave=256)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    figure = plot_architecture(model, shape, name)
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert sum("ResidualModule" in text for text in texts) == 8
    assert any(f"{sum(p.numel() for p in model.parameters()):,}" in text for text in texts)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())
