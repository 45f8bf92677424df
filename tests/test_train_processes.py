"""Two processes that train together are one with the same batches."""

import os
import socket
import subprocess
import sys

import pytest
import torch

from drcnet.checkpoint import load_classifier, read_card
from drcnet.config import TrainSettings
from drcnet.errors import TrainingError
from drcnet.train import train
from drcnet.train.processes import Processes

RECIPE = """
[train.pair]
model = "rcnet"
options = { widths = [4, 4, 8] }
optimizer = "adamw"
learning_rate = 3e-3
schedule = "one-cycle"
batch_size = 9
epochs = 3
class_weights = "inverse"
"""


def torchrun(*words):
    """Start two processes of the command line; the port is any free one."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    start = ("-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(port))
    return subprocess.run(
        [sys.executable, *start, "-m", "drcnet", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env=os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "80", "GLOO_SOCKET_IFNAME": "lo"},
    )


@pytest.mark.slow
def test_two_processes_agree_with_one(tiny_work, tmp_path):
    (tmp_path / "recipe.toml").write_text(RECIPE)
    words = ("train", tiny_work, tmp_path / "runs", "--config", tmp_path / "recipe.toml")
    shown = torchrun(*words)
    assert shown.returncode == 0, shown.stderr[-2000:]
    assert shown.stdout.count("pair: epoch") == 1
    import tomllib

    settings = TrainSettings.model_validate(tomllib.loads(RECIPE)["train"]["pair"])
    alone = train(tiny_work, tmp_path / "alone", settings)
    one = load_classifier(tmp_path / "alone", "cpu").model.state_dict()
    two = load_classifier(tmp_path / "runs" / "pair", "cpu").model.state_dict()
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=0, atol=1e-5)
    card = read_card(tmp_path / "runs" / "pair")
    assert (card.epochs, card.training["epochs"]) == (alone.epochs, 3.0)
    assert not (tmp_path / "runs" / "pair" / "state.pt").exists()
    assert torchrun(*words).returncode == 0  # finished: returned as it is


def test_what_several_processes_cannot_do_is_said(tiny_work, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert Processes.here() == Processes(0, 2, 1)
    with pytest.raises(TrainingError, match="torchrun: wanted a network to train, got logreg"):
        train(tiny_work, tmp_path / "run", TrainSettings(model="logreg"))
    with pytest.raises(TrainingError, match="--overwrite"):
        train(tiny_work, tmp_path / "run", TrainSettings(model="rcnet"), overwrite=True)
