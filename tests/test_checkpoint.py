"""Checkpoints: what was saved is what comes back, and what is wrong is said."""

import json
import shutil

import numpy as np
import pytest
import safetensors.torch
import torch

from drcnet.checkpoint import (
    Card,
    load_classifier,
    pick_device,
    predict,
    read_card,
    save_classifier,
    softmax,
)
from drcnet.errors import CheckpointError, ConfigError
from drcnet.models import build_model
from drcnet.provenance import file_digest
from drcnet.stripes.normalize import normalize

OPTIONS = {"n_wave": 64, "widths": [4, 4], "classifier_widths": [8]}


def card_of(model, options, **changes):
    values = {
        "model": model,
        "options": options,
        "classes": ("F", "G", "K"),
        "view": "box",
        "normalize": "zscore",
        "instrument": "lamost-lrs",
        "stripes": {"half_width": 5},
        "split": "0123456789abcdef",
        "seed": 1,
        "epochs": 3,
        "best_epoch": 2,
        "stopped": "epochs",
    }
    return Card(**(values | changes))


@pytest.fixture
def network():
    torch.manual_seed(3)
    return build_model("rcnet", 3, **OPTIONS)


@pytest.fixture
def run(tmp_path, network):
    save_classifier(tmp_path, network.state_dict(), card_of("rcnet", OPTIONS))
    return tmp_path


@pytest.fixture
def electrons(rng):
    return rng.poisson(500, (5, 2, 64)).astype(np.float32)


def edit_card(run, **changes):
    path = run / "card.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_round_trip(run, network, electrons):
    classifier = load_classifier(run, "cpu")
    assert classifier.card == card_of(
        "rcnet", OPTIONS, weights=file_digest(run / "weights.safetensors")
    )
    x = normalize(torch.from_numpy(electrons), "zscore")
    expected = torch.softmax(network.eval()(x).double(), dim=1).detach().numpy()
    np.testing.assert_allclose(classifier.probabilities(electrons), expected, atol=1e-6)


def test_drcnet_round_trip_in_two_dimensions(tmp_path, rng):
    options = {"n_wave": 64, "n_spatial": 11, "widths": [4, 4]}
    model = build_model("drcnet", 2, **options)
    card = card_of("drcnet", options, view="stripes", classes=("A", "M"))
    save_classifier(tmp_path, model.state_dict(), card)
    classifier = load_classifier(tmp_path, "cpu")
    assert classifier.input_shape == (2, 11, 64)
    p = classifier.probabilities(rng.poisson(90, (3, 2, 11, 64)))
    assert p.shape == (3, 2)
    np.testing.assert_allclose(p.sum(axis=1), 1)


def test_spectra_beside_their_inverse_variance_are_classified(tmp_path, rng):
    light = rng.normal(100, 5, (40, 2, 64))
    light[::2, :, 20:24] -= 60
    x = np.stack([light, np.full(light.shape, 0.04)], axis=2).astype(np.float32)
    model = build_model("ppca", 2, n_wave=64, components=3)
    model.fit(x, np.arange(40) % 2, seed=1, balanced=False)
    options = {"n_wave": 64, "components": 3}
    card = card_of("ppca", options, view="optimal-ivar", normalize="none", classes=("A", "M"))
    save_classifier(tmp_path, model.state_dict(), card)
    classifier = load_classifier(tmp_path, "cpu")
    assert classifier.input_shape == (2, 2, 64)
    x[0, 0] = np.nan
    p = classifier.probabilities(x)
    assert np.isnan(p[0]).all()
    assert (p[1:].argmax(axis=1) == np.arange(1, 40) % 2).all()


def test_many_stars_one_star_and_none(run, rng):
    classifier = load_classifier(run, "cpu")
    x = rng.poisson(500, (300, 2, 64)).astype(float)
    p = classifier.probabilities(x)
    np.testing.assert_allclose(p[270:271], classifier.probabilities(x[270:271]), atol=1e-5)
    assert classifier.probabilities(x[:0]).shape == (0, 3)


def test_star_without_light_in_one_arm_has_no_class(run, electrons):
    electrons[1, 0] = np.nan
    electrons[2, 1, :5] = np.nan  # holes are no reason to refuse
    p = load_classifier(run, "cpu").probabilities(electrons)
    assert np.isnan(p).any(axis=1).tolist() == [False, True, False, False, False]


def test_softmax_and_predict_agree_with_the_model(network, electrons):
    x = torch.from_numpy(electrons)
    logits = predict(network.eval(), x, torch.device("cpu"), how="zscore")
    assert logits.dtype == torch.float64
    np.testing.assert_allclose(softmax(logits).sum(axis=1), 1)


def test_wrong_shape_is_said(run):
    with pytest.raises(CheckpointError, match=r"\(n, 2, 64\), got \(5, 2, 63\)"):
        load_classifier(run, "cpu").probabilities(np.zeros((5, 2, 63)))


def test_expectations(run):
    load_classifier(run, "cpu", expect={"normalize": "zscore", "instrument": "lamost-lrs"})
    with pytest.raises(CheckpointError, match="normalize 'robust', got 'zscore'"):
        load_classifier(run, "cpu", expect={"normalize": "robust"})
    with pytest.raises(CheckpointError, match="model 'drcnet', got 'rcnet'"):
        load_classifier(run, "cpu", expect={"model": "drcnet"})


def test_nothing_there(tmp_path):
    with pytest.raises(CheckpointError, match="no such file"):
        load_classifier(tmp_path, "cpu")


@pytest.mark.parametrize(
    ("text", "words"),
    [("{", "JSON"), ("[]", "format 1, got 'list'"), ('{"format": 2}', "format 1, got 2")],
)
def test_card_that_is_none(run, text, words):
    (run / "card.json").write_text(text)
    with pytest.raises(CheckpointError, match=words):
        read_card(run)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model": "resnet"}, "a model of drcnet"),
        ({"options": {"n_wave": 64, "depth": 3}}, "options of rcnet"),
        ({"options": OPTIONS | {"widths": [4, 8]}}, "the weights of rcnet"),
        ({"model": "logreg", "options": {"n_wave": 64}}, "the weights of logreg"),
        ({"classes": ["F", "G"]}, "the weights of rcnet"),
        ({"normalize": "minmax"}, "a normalisation of"),
        ({"extra": 1}, "the fields"),
    ],
)
def test_card_of_another_model(run, changes, words):
    edit_card(run, **changes)
    with pytest.raises(CheckpointError, match=words):
        load_classifier(run, "cpu")


def test_damaged_and_foreign_weights(run, tmp_path):
    path = run / "weights.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="the weights that the card names"):
        load_classifier(run, "cpu")
    path.write_bytes(content[:40])
    edit_card(run, weights=file_digest(path))
    with pytest.raises(CheckpointError, match="a safetensors file"):
        load_classifier(run, "cpu")
    path.unlink()
    with pytest.raises(CheckpointError, match="no such file"):
        load_classifier(run, "cpu")


def test_other_name_for_an_array(run):
    path = run / "weights.safetensors"
    weights = safetensors.torch.load_file(path)
    safetensors.torch.save_file({f"x.{k}": v for k, v in weights.items()}, path)
    edit_card(run, weights=file_digest(path))
    with pytest.raises(CheckpointError, match="the weights of rcnet"):
        load_classifier(run, "cpu")


def test_saving_is_whole_or_not_at_all(run, network, monkeypatch):
    before = {p.name: p.read_bytes() for p in run.iterdir()}

    def full_disk(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(safetensors.torch, "save_file", full_disk)
    with pytest.raises(OSError, match="No space"):
        save_classifier(run, network.state_dict(), card_of("rcnet", OPTIONS, seed=9))
    assert {p.name: p.read_bytes() for p in run.iterdir()} == before


def test_devices():
    assert pick_device("cpu").type == "cpu"
    assert pick_device("auto").type in ("cpu", "cuda")
    with pytest.raises(ConfigError, match="'auto', 'cpu' or 'cuda', got 'tpu'"):
        pick_device("tpu")
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="none on this machine"):
            pick_device("cuda")


def test_loading_draws_no_random_numbers(run):
    before = torch.get_rng_state()
    load_classifier(run, "cpu")
    assert torch.equal(torch.get_rng_state(), before)


def test_run_folder_can_be_moved(run, tmp_path, electrons):
    p = load_classifier(run, "cpu").probabilities(electrons)
    moved = shutil.copytree(run, tmp_path / "elsewhere")
    np.testing.assert_array_equal(load_classifier(moved, "cpu").probabilities(electrons), p)
