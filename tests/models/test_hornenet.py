"""What HorneNet begins with, and what it does without."""

import pytest
import torch

from drcnet.models import build_model
from drcnet.models.ordered import next_on_sequence

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
    """Teff, log g and [Fe/H] by class, the last unknown for some; no subclass, no velocity."""
    teff, logg = 7000.0 - 1000 * label, 4.0 + 0.2 * label
    feh = torch.where(torch.arange(len(label)) % 4 == 0, torch.nan, -0.2 * label)
    unknown = torch.full_like(teff, torch.nan)
    return torch.stack([unknown, teff, logg, feh, unknown], dim=1)


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


def sequence(n, seed, noise):
    """Spectra of two normal components, the first of which tells the class; seen faint as well."""
    generator = torch.Generator().manual_seed(seed)
    wave = torch.arange(WAVE) / WAVE
    shapes = torch.stack([torch.sin(40 * wave), torch.sin(29 * wave)])
    c = torch.randn(n, 2, generator=generator)
    star = (100 + 10 * c @ shapes)[:, None].expand(n, 2, WAVE)
    light = star + noise * torch.randn(n, 2, WAVE, generator=generator)
    label = (c[:, 0] > -0.5).long() + (c[:, 0] > 0.5)
    return torch.stack([light, torch.full_like(light, noise**-2.0)], dim=2), label


def test_of_all_that_noise_leaves_open_it_is_as_sure_as_it_is_right():
    """Of the mean alone it is too sure of faint stars, and not sure enough of bright ones."""
    nothing = torch.empty(600, 0)
    shown = [(*sequence(600, 1, noise), nothing) for noise in (1.0, 100.0)]
    off = []
    for points in (0, 64):
        torch.manual_seed(1)
        model = build_model(
            "hornenet", CLASSES, n_spatial=2, n_wave=WAVE, components=4, points=points
        )
        model.begin(shown, seed=1)
        for noise in (1.0, 200.0):
            x, label = sequence(2000, 2, noise)
            with torch.no_grad():
                p = model.eval()(x).softmax(1)
            off.append(float(p.amax(1).mean() - (p.argmax(1) == label).double().mean()))
    of_mean, of_all = off[:2], off[2:]
    assert of_mean[1] > 0.05
    assert abs(of_all[1]) < 0.03
    assert abs(of_all[0]) < abs(of_mean[0])


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
    unknown = torch.full((6, 5), torch.nan)
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
        ({"n_spatial": 3, "told": True}, "1 or 2 more where 'told'"),
        ({"n_spatial": 34, "told": True, "flat": True}, "views of their own"),
        ({"sky_error": -1.0}, "'sky_error'"),
        ({"mixed": -1.0}, "'mixed'"),
        ({"points": 38}, "even and at least 40, got 38"),
        ({"points": 63}, "even and at least 40, got 63"),
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
    wanted = parameters(label)[:, 1:4]
    assert found.shape == (90, len(model.estimates))
    error = (found - wanted).nan_to_num().abs().median(dim=0).values
    assert error[0] < 150
    assert error[1] < 0.1
    assert error[2] < 0.1
    place = model.head(model._components(x)).place.detach()
    assert (place - (10 * label + 5)).abs().median() < 2


def told_spectra(n, seed, *, off=0.0, speed=0.0):
    """Spectra of lines by class, sky and wavelengths; fibres `off` pixels apart, `speed` km/s."""
    generator = torch.Generator().manual_seed(seed)
    label = torch.arange(n) % CLASSES
    first = 4000 + off * torch.randn(n, 1, generator=generator)
    angstrom = (first + torch.arange(WAVE)).double()
    velocity = speed * torch.randn(n, generator=generator)
    line = (4050.0 + 70 * label) * (1 + velocity / 299792.458)
    depth = 0.3 + 0.3 * torch.rand(n, 1, generator=generator)
    star = 1000 * (1 - depth * torch.exp(-0.5 * ((angstrom - line[:, None]) / 4) ** 2))
    sky = 100 + 900 * torch.exp(-0.5 * ((angstrom - 4090) / 3) ** 2)
    ivar = 1 / (star + sky)
    light = star + torch.randn(n, WAVE, generator=generator) / ivar.sqrt()
    arm = torch.stack([light, ivar, sky, angstrom], dim=1).float()
    return torch.stack([arm, arm], dim=1), label, velocity.float()


def told_model(x, label, velocity, **options):
    torch.manual_seed(1)
    model = build_model(
        "hornenet", CLASSES, n_spatial=4, n_wave=WAVE, components=6, told=True, **options
    )
    targets = torch.full((len(x), 5), torch.nan)
    targets[:, 4] = velocity
    model.begin([(x, label, targets)], seed=1)
    return model.eval()


def test_told_its_wavelengths_it_measures_velocities_through_fibres_pixels_apart():
    x, label, velocity = told_spectra(300, 1, off=8.0, speed=60.0)
    test, _, wanted = told_spectra(90, 2, off=8.0, speed=60.0)
    model = told_model(x, label, velocity)
    assert model.estimates == ("teff", "logg", "feh", "rv_topo")
    scatter = (model.estimate(test)[:, 3] - wanted).abs().median()
    assert scatter < 0.5 * wanted.abs().median()
    blind = told_model(x, label, velocity, aligned=False)
    assert blind.estimates == ("teff", "logg", "feh")
    with torch.no_grad():
        assert accuracy(model, test, label[:90]) > 0.95


def test_a_wrong_sky_moves_a_star_less_where_it_is_doubted():
    x, label, velocity = told_spectra(150, 1)
    wrong, _, _ = told_spectra(60, 2)
    wrong[:, :, 0] += 0.05 * wrong[:, :, 2]
    right, _, _ = told_spectra(60, 2)
    moved = []
    for doubt in (0.0, 0.05):
        model = told_model(x, label, velocity, sky_error=doubt)
        with torch.no_grad():
            apart = model._components(wrong) - model._components(right)
        moved.append(float(apart[:, 0, :6].norm()))
    assert moved[1] < 0.5 * moved[0]


def test_between_two_stars_lies_a_star():
    x, label, velocity = told_spectra(12, 1)
    model = told_model(x, label, velocity, mixed=1.0).train()
    targets = torch.full((12, 5), torch.nan)
    entropy = torch.nn.functional.cross_entropy
    torch.manual_seed(3)
    first = model.training_loss(x, label, targets, entropy)[0]
    torch.manual_seed(3)
    assert torch.equal(model.training_loss(x, label, targets, entropy)[0], first)
    torch.manual_seed(4)
    assert not torch.equal(model.training_loss(x, label, targets, entropy)[0], first)


def test_the_next_star_is_the_next_cooler_one():
    label = torch.tensor([2, 0, 1, 1])
    subclass = torch.tensor([5.0, 2.0, 9.0, torch.nan])  # K5, F2, G9, G: the middle, G5
    assert next_on_sequence(label, subclass).tolist() == [2, 3, 0, 2]
    assert next_on_sequence(label[:1], subclass[:1]).tolist() == [0]
