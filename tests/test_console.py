"""Tables in a terminal of 80 columns."""

import polars as pl
import pytest

from drcnet.cli.console import print_accuracy


def scores(count):
    lines = [
        {
            "run": f"ladder-reduction-{k}",
            "model": "drcnet",
            "interval": name,
            "n_rows": rows,
            "majority": 0.4,
            "accuracy": 0.5 + k / 100,
            "accuracy_low": 0.4 + k / 100,
            "accuracy_high": 0.6 + k / 100,
            "published": 0.866 if name == ">30" else None,
        }
        for k in range(count)
        for name, rows in ((">30", 605), ("20-30", 461), ("10-20", 436), ("0-10", 0), ("all", 9))
    ]
    return pl.DataFrame(lines)


@pytest.mark.parametrize("count", [1, 4, 5, 37])
def test_accuracies_of_any_number_of_runs_fit_the_terminal(count, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    print_accuracy(scores(count))
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert "paper's drcnet (real data): >30 0.866" in lines
    if count > 4:  # a line a run
        assert sum("ladder-reduction-" in line for line in lines) == count
        assert ".500±.100" in next(line for line in lines if "reduction-0 " in line)
        assert next(line for line in lines if line.startswith("rows")).split()[1:3] == [
            "605",
            "461",
        ]
