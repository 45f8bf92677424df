"""The one suite that every registered model passes; it fails if one is missing from it."""

import numpy as np
import pytest
import safetensors.torch
import torch

from drcnet.models import MODELS, Fitted, build_model
from drcnet.models.cost import operations

WAVE, SPATIAL, CLASSES = 256, 11, 3

# Parameters of the network with its defaults, at the paper's size, three classes.
PARAMETERS = {
    "drcnet": 1_419_429,
    "rcnet": 573_955,
    "racnet": 585_627,
    "sharma": 810_643,
    "tdscnet": 295_083,
    "sgan": 1_006_053,
    "sscnn": 5_953_731,
    "ffcnn": 356_979,
    "ladder-box": 1_418_627,
    "ladder-optimal": 1_418_627,
    "ladder-weights": 1_418_651,
    "ladder-reduction": 1_419_429,
    "ladder-kernels": 1_420_965,
    "hornenet": 127_292,
}
# What makes a model small enough for a test, besides the size of its input.
SMALL = {
    "drcnet": {},
    "rcnet": {},
    "racnet": {},
    "sharma": {},
    "tdscnet": {"hidden": 32},
    "sgan": {"hidden": 32, "latent": 8},
    "sscnn": {"hidden": 32},
    "ffcnn": {},
    "ladder-box": {},
    "ladder-optimal": {},
    "ladder-weights": {},
    "ladder-reduction": {},
    "ladder-kernels": {},
    "hornenet": {"components": 6, "hidden": 8},
    "logreg": {"components": 5},
    "forest": {"components": 5, "trees": 20},
    "knn": {"components": 5, "neighbors": 3},
    "mlp": {"components": 5, "widths": (8,)},
    "svm": {"components": 5},
    "template": {"templates": 12},
    "ppca": {"components": 5},
}
# Readings of the paper that change the network, each built and run.
READINGS = [
    ("drcnet", {"reduction_activation": "linear", "reduction_channels": (1, 1, 1)}),
    ("drcnet", {"reduction_channels": (4, 6, 2)}),
    ("drcnet", {"shared_branches": True}),
    ("drcnet", {"pooling": "average"}),
    ("drcnet", {"fusion": "length"}),
    ("drcnet", {"fusion_widths": (8,)}),
    ("drcnet", {"classifier_widths": ()}),
    ("drcnet", {"norm": True}),
    ("drcnet", {"dropout": 0.2}),
    ("drcnet", {"n_spatial": 9, "reduction_kernels": (5, 3, 3)}),
    ("rcnet", {"arms": "concatenated"}),
    ("rcnet", {"arms": "branches"}),
    ("rcnet", {"pooling": "average"}),
    ("rcnet", {"norm": True}),
    ("rcnet", {"classifier_widths": (64,), "dropout": 0.2}),
    ("sscnn", {"norm": True, "dropout": 0.2}),
    ("sgan", {"norm": True}),
    ("ffcnn", {"norm": True}),
    ("ladder-box", {"norm": True}),
    ("ladder-kernels", {"norm": True}),
    ("racnet", {"norm": True}),
    ("sharma", {"norm": True}),
    ("tdscnet", {"norm": True}),
    ("hornenet", {"hidden": 0}),
    ("hornenet", {"tune": 0.0, "learned": False}),
    ("hornenet", {"flat": True, "n_spatial": 3 * SPATIAL + 1}),
    ("hornenet", {"flat": True, "n_spatial": 3 * SPATIAL + 1, "learned": False}),
    ("hornenet", {"told": True, "n_spatial": SPATIAL + 2}),
    ("hornenet", {"told": True, "n_spatial": SPATIAL + 2, "aligned": False, "mixed": 0.5}),
    ("hornenet", {"told": True, "n_spatial": SPATIAL + 2, "sky_error": 0.0}),
    ("template", {"offset": 0, "continuum": 1, "velocities": 0}),
    ("mlp", {"widths": (8, 4)}),
    ("logreg", {"scaling": "robust"}),
    ("logreg", {"scaling": "none"}),
]
EVERY = [(name, {}) for name in SMALL] + READINGS
TORCH = [(name, options) for name, options in EVERY if MODELS[name].kind == "torch"]
LEARN = [(name, options) for name, options in TORCH if set(options) <= {"norm"}]
CLASSICAL = [(name, options) for name, options in EVERY if MODELS[name].kind == "classical"]


def identity(case):
    return str(case) if isinstance(case, dict) else case


every_model = pytest.mark.parametrize(("name", "options"), EVERY, ids=identity)
every_network = pytest.mark.parametrize(("name", "options"), TORCH, ids=identity)


def small_options(name, options):
    across = SPATIAL + (MODELS[name].view == "stripes-sky")
    size = {"n_wave": WAVE, "n_spatial": across}
    known = {k: v for k, v in size.items() if k in MODELS[name].options}
    return known | SMALL[name] | options


def stars(name, options, n, seed=0):
    """Stars of three classes, each with a line of its own in both arms, normalised."""
    rng = np.random.default_rng(seed)
    label = np.arange(n) % CLASSES
    wave = np.arange(WAVE)
    line = np.exp(-0.5 * ((wave - 50 - 70 * label[:, None]) / 5) ** 2)
    x = np.repeat(-3 * line[:, None], 2, axis=1)  # (n, 2, WAVE)
    if MODELS[name].view == "stripes":
        x = np.repeat(x[:, :, None], options.get("n_spatial", SPATIAL), axis=2)
    x = x + rng.normal(0, 0.3, x.shape)
    if MODELS[name].view == "optimal-ivar":  # on a continuum, beside the inverse variance
        x = np.stack([10 + x, np.full(x.shape, 1 / 0.3**2)], axis=2)
    if MODELS[name].view == "stripes-sky":  # electrons: a fibre's profile, and the sky beside
        x = _counts(x, rng)
    if options.get("flat"):
        x = _with_flat(x)
    if options.get("told"):
        angstrom = 4000.0 + np.arange(WAVE) + rng.normal(0, 2, (n, 2, 1))
        x = np.concatenate([x, angstrom[:, :, None]], axis=2)
    return torch.from_numpy(x.astype(np.float32)), torch.from_numpy(label)


def _counts(spectrum, rng):
    """Stripes in electrons of spectra with lines 3 deep, before a sky; the sky as last row."""
    across = np.exp(-0.5 * ((np.arange(SPATIAL) - SPATIAL // 2) / 1.5) ** 2)
    star, sky = 200 * (4 + spectrum), np.full(spectrum.shape, 300.0)
    light = (star + sky)[:, :, None] * (across / across.sum())[:, None]
    return np.concatenate([light + rng.normal(0, 5, light.shape), sky[:, :, None]], axis=2)


def _with_flat(x):
    """The profile that the stripes were made with, and next to no neighbours."""
    across = np.exp(-0.5 * ((np.arange(SPATIAL) - SPATIAL // 2) / 1.5) ** 2)
    profile = np.broadcast_to((across / across.sum())[:, None], (*x.shape[:2], SPATIAL, WAVE))
    return np.concatenate([x, profile, 1e-2 + profile[:, :, ::-1]], axis=2)


def training_loss(model, x, label):
    """What a model is trained on: its own loss where it has one, the stars being the pool too."""
    entropy = torch.nn.functional.cross_entropy
    own = getattr(model, "training_loss", None)
    if own is None:
        return entropy(model(x), label)
    count = len(getattr(model, "targets", ()))
    beside = (torch.arange(len(x) * count) % 7 + 1.0).reshape(len(x), count) if count else x
    return own(x, label, beside, entropy)[0]


def ready(name, options, seed=1):
    """A model in evaluation mode; fitted, if it is one to be fitted."""
    torch.manual_seed(seed)
    options = small_options(name, options)
    model = build_model(name, CLASSES, **options)
    if isinstance(model, Fitted):
        x, label = stars(name, options, 24)
        model.fit(x.numpy(), label.numpy(), seed=seed, balanced=False)
    return model.eval()


def test_no_model_is_missing_from_this_suite():
    assert set(SMALL) == set(MODELS)
    assert set(PARAMETERS) == {name for name, entry in MODELS.items() if entry.kind == "torch"}


@pytest.mark.parametrize("name", sorted(MODELS))
def test_registry_lines_are_whole(name):
    entry = MODELS[name]
    assert entry.name == name
    assert entry.reference
    assert "n_wave" in entry.options
    assert ("n_spatial" in entry.options) == entry.view.startswith("stripes")


@pytest.mark.parametrize("name", sorted(PARAMETERS))
def test_parameter_count_is_pinned(name):
    model = build_model(name, CLASSES)
    assert sum(p.numel() for p in model.parameters()) == PARAMETERS[name]


def test_parameter_count_with_a_flat_is_pinned():
    model = build_model("hornenet", CLASSES, flat=True, n_spatial=34)
    assert sum(p.numel() for p in model.parameters()) == 127_174
    assert operations(model, (2, 34, 3000)) < 0.2e9


@every_model
@pytest.mark.parametrize("n", [1, 3])
def test_logits_of_any_batch(name, options, n):
    model = ready(name, options)
    with torch.no_grad():
        logits = model(stars(name, options, n)[0])
    assert logits.shape == (n, CLASSES)
    assert torch.isfinite(logits).all()


@every_model
def test_other_numbers_of_classes(name, options):
    for n_class in (2, 5):
        model = build_model(name, n_class, **small_options(name, options))
        x, _ = stars(name, options, 10)
        if isinstance(model, Fitted):
            model.fit(x.numpy(), np.arange(10) % n_class, seed=1, balanced=True)
        assert model.eval()(x).shape == (10, n_class)


@every_model
def test_evaluation_is_deterministic_and_star_by_star(name, options):
    model = ready(name, options)
    x, _ = stars(name, options, 5)
    with torch.no_grad():
        first, again, alone = model(x), model(x), model(x[3:4])
    assert torch.equal(first, again)
    torch.testing.assert_close(first[3:4], alone, atol=1e-4, rtol=1e-4)


@every_model
def test_save_and_load(name, options, tmp_path):
    model = ready(name, options)
    x, _ = stars(name, options, 4)
    safetensors.torch.save_file(
        {k: v.contiguous() for k, v in model.state_dict().items()}, tmp_path / "w.safetensors"
    )
    torch.manual_seed(99)
    other = build_model(name, CLASSES, **small_options(name, options))
    other.load_state_dict(safetensors.torch.load_file(tmp_path / "w.safetensors"))
    with torch.no_grad():
        assert torch.equal(other.eval()(x), model(x))


@every_network
def test_gradient_reaches_every_parameter(name, options):
    model = ready(name, options).train()
    x, label = stars(name, options, 6)
    training_loss(model, x, label).backward()
    still = [k for k, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert still == []


@pytest.mark.parametrize(("name", "options"), LEARN, ids=identity)
def test_overfits_eight_stars(name, options):
    model = ready(name, options).train()
    x, label = stars(name, options, 8)
    if MODELS[name].begins:
        model.begin([(x, label, torch.empty(len(x), 0))], seed=1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for _ in range(200):
        optimizer.zero_grad()
        training_loss(model, x, label).backward()
        optimizer.step()
        loss = torch.nn.functional.cross_entropy(model(x), label)
        if loss < 0.02:
            break
    assert loss < 0.1


@pytest.mark.parametrize(("name", "options"), CLASSICAL, ids=identity)
def test_classical_models_learn_and_generalise(name, options):
    model = ready(name, options)
    x, label = stars(name, options, 30, seed=7)
    assert (model(x).argmax(dim=1) == label).double().mean() >= 0.9


@pytest.mark.parametrize(("name", "options"), CLASSICAL, ids=identity)
def test_fit_is_deterministic(name, options):
    first, again = (ready(name, options).state_dict() for _ in range(2))
    assert all(torch.equal(first[k], again[k]) for k in first)


@pytest.mark.parametrize(("name", "options"), CLASSICAL, ids=identity)
def test_unfitted_model_says_so(name, options):
    model = build_model(name, CLASSES, **small_options(name, options))
    with pytest.raises(RuntimeError, match="must be fitted or loaded"):
        model(stars(name, options, 2)[0])


@pytest.mark.parametrize("name", sorted(MODELS))
def test_unknown_option_lists_the_known(name):
    with pytest.raises(ValueError, match=f"options of {name} must be among n_.*, got nonsense"):
        build_model(name, CLASSES, nonsense=1)


def test_unknown_model_lists_the_known():
    with pytest.raises(ValueError, match="must be one of drcnet, rcnet, .*got 'resnet'"):
        build_model("resnet", CLASSES)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("drcnet", {"reduction_kernels": (5, 5, 5)}, "take 11 pixels to 1, .* leave -1"),
        ("drcnet", {"reduction_channels": (8, 1)}, "equally long"),
        ("drcnet", {"reduction_activation": "tanh"}, "'relu' or 'linear'"),
        ("drcnet", {"fusion": "sum"}, "'channels' or 'length'"),
        ("drcnet", {"pooling": "max"}, "'linear' or 'average'"),
        ("drcnet", {"n_wave": 200}, "at least 256"),
        ("rcnet", {"arms": "blue"}, "channels, concatenated, branches"),
        ("drcnet", {"reduction_wave_kernel": 2}, "odd int"),
        ("sscnn", {"n_wave": 165}, "at least 166"),
        ("ffcnn", {"n_wave": 60}, "at least 3 and 64"),
        ("knn", {"neighbors": 0}, "'neighbors' must be"),
        ("sharma", {"n_wave": 60}, "at least 64 for 3 pools"),
        ("tdscnet", {"n_wave": 200}, "at least 8 and 256"),
        ("svm", {"width": 0.0}, "'width' must be above 0"),
        ("template", {"templates": 2}, "'templates' must be at least 3"),
        ("template", {"continuum": 0}, "'continuum' must be >= 1"),
        ("logreg", {"scaling": "max"}, "standard, robust, none"),
        ("logreg", {"components": 0}, "'components' must be"),
    ],
)
def test_option_out_of_range(name, options, words):
    with pytest.raises(ValueError, match=words):
        build_model(name, CLASSES, **options)
