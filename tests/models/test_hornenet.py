"""What HorneNet begins with, and what it does without."""

import pytest
import torch

from drcnet.models import build_model

SPATIAL, WAVE, CLASSES = 11, 240, 3


def stars(n, seed=0, sky=400.0):
    """Stripes of stars with a line at the place of their class, before a sky."""
    generator = torch.Generator().manual_seed(seed)
    label = torch.arange(n) % CLASSES
    wave = torch.arange(WAVE)
    depth = 0.3 + 0.3 * torch.rand(n, generator=generator)
    line = torch.exp(-0.5 * ((wave - 50 - 70 * label[:, None]) / 4) ** 2)
    level = 300 * (1 + torch.rand(n, generator=generator))
    star = (level[:, None] * (1 - depth[:, None] * line))[:, None].expand(n, 2, WAVE)
    sky = torch.full((n, 2, WAVE), sky)
    across = torch.exp(-0.5 * ((torch.arange(SPATIAL) - 5) / 1.6) ** 2)
    light = (star + sky)[:, :, None] * (across / across.sum())[:, None]
    light = light + torch.randn(light.shape, generator=generator) * (light + 25).sqrt()
    return torch.cat([light, sky[:, :, None]], dim=2), label


def parameters(label):
    """Subclass unknown; Teff, log g and [Fe/H] by class, the last unknown for some."""
    teff, logg = 7000.0 - 1000 * label, 4.0 + 0.2 * label
    feh = torch.where(torch.arange(len(label)) % 4 == 0, torch.nan, -0.2 * label)
    return torch.stack([torch.full_like(teff, torch.nan), teff, logg, feh], dim=1)


def begun(**options):
    torch.manual_seed(1)
    model = build_model(
        "hornenet", CLASSES, n_spatial=SPATIAL + 1, n_wave=WAVE, components=6, **options
    )
    x, label = stars(120)
    known = parameters(label)
    model.begin([(x[:60], label[:60], known[:60]), (x[60:], label[60:], known[60:])], seed=1)
    return model.eval()


@pytest.fixture(scope="module")
def model():
    return begun()


def accuracy(model, x, label):
    with torch.no_grad():
        return float((model(x).argmax(dim=1) == label).double().mean())


def test_it_knows_the_classes_before_the_first_step(model):
    x, label = stars(60, seed=9)
    assert accuracy(model, x, label) > 0.95
    torch.manual_seed(1)
    untouched = build_model("hornenet", CLASSES, n_spatial=SPATIAL + 1, n_wave=WAVE).eval()
    assert accuracy(untouched, x, label) < 0.7


def test_one_arm_is_enough(model):
    x, label = stars(60, seed=9)
    x[:, 1] = torch.nan
    assert accuracy(model, x, label) > 0.9


def test_it_is_less_sure_of_a_star_before_a_brighter_sky(model):
    with torch.no_grad():
        sure, doubtful = (
            model(stars(60, seed=9, sky=sky)[0]).softmax(1).amax(1).mean() for sky in (400, 1e6)
        )
    assert doubtful < sure - 0.1


def test_the_same_beginning_gives_the_same_weights(model):
    again = begun()
    assert all(torch.equal(v, again.state_dict()[k]) for k, v in model.state_dict().items())


def test_the_sequence_of_classes_is_a_probability(model):
    place = torch.linspace(-10, 40, 101)
    p = model.head._of_place(place).exp()
    assert torch.allclose(p.sum(1), torch.ones(101), atol=1e-5)
    assert p[0].argmax() == 0
    assert p[50].argmax() == 1
    assert p[100].argmax() == 2


def test_given_spectra_it_has_nothing_to_collapse(model):
    x, label = stars(120)
    light, ivar = model.collapse(x[:, :, :-1])
    spectra = torch.stack([light - x[:, :, -1], ivar], dim=2).detach()
    torch.manual_seed(1)
    other = build_model("hornenet", CLASSES, n_spatial=2, n_wave=WAVE, components=6)
    assert other.collapse is None
    other.begin([(spectra, label, torch.empty(120, 0))], seed=1)
    assert accuracy(other.eval(), spectra, label) > 0.95
    spectra[:, 1] = torch.nan
    assert accuracy(other, spectra, label) > 0.85


def test_unknown_subclasses_and_parameters_teach_nothing(model):
    x, label = stars(6)
    entropy = torch.nn.functional.cross_entropy
    unknown = torch.full((6, 4), torch.nan)
    plain = build_model(
        "hornenet", CLASSES, n_spatial=SPATIAL + 1, n_wave=WAVE, components=6, parameters=0.0
    )
    plain.load_state_dict(model.state_dict())
    with torch.no_grad():
        both = [one.training_loss(x, label, unknown, entropy)[0] for one in (model, plain.eval())]
    assert torch.equal(*both)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"n_spatial": 3}, "at least 3 pixels and a sky, or 2"),
        ({"n_spatial": 12, "flat": True}, "3 rows for each of at least 3 pixels, and a sky"),
        ({"tune": -1.0}, "'tune'"),
    ],
)
def test_bad_options_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        build_model("hornenet", CLASSES, **options)


def test_it_begins_with_the_stars_parameters_and_says_them_in_their_units(model):
    x, label = stars(90, seed=7)
    found = model.estimate(x)
    wanted = parameters(label)[:, 1:]
    assert found.shape == (90, len(model.estimates))
    error = (found - wanted).nan_to_num().abs().median(dim=0).values
    assert error[0] < 150
    assert error[1] < 0.1
    assert error[2] < 0.1
    place = model.head(model._components(x)).place.detach()
    assert (place - (10 * label + 5)).abs().median() < 2
