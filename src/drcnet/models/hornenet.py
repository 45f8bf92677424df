"""HorneNet: a network whose every part begins as the best that statistics can do, and learns on.

    stripe ─▶ Collapse ─▶ less the sky ─▶ Align ─▶ Posterior ─▶ Head ─▶ logits
              Horne 1986, from the        on one   of the spectrum's    classes; on the way
              stripe (`.collapse`), or    grid of  components, given    the subclass, Teff,
              the flat (`.mended`)        wave-    the noise (`.ppca`)  log g, [Fe/H] and the
                                          lengths  and a doubtful sky   radial velocity; asked
                                          (`.align`)   (`.doubt`)       of all that the noise
                                                                        allows (`.possible`)

A network that starts anywhere has to find out from a few hundred stars what has been known since
long: that pixels are weighed by their noise, that lines are judged over their whole length and
not one by one, that the less is known the nearer one stays to the average star. Here `begin` sets
all of that before the first step; gradients then move each part together with the others. Both
arms are one measurement: an arm, or a pixel, that is missing has no weight, and no special case.

Given spectra and their inverse variances instead, it has nothing to collapse: the same network on
a pipeline's extraction, for comparison. Where it is not told the wavelengths (the views without
`-full`) nothing is aligned, the sky is believed and no velocity is measured.

Shapes: N stars, S pixels across, L along wavelength, C components, K classes.
"""

from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import Tensor, nn

from drcnet.models.align import Align, Spectra
from drcnet.models.classical import fit_logit
from drcnet.models.collapse import SPECTRA, TOLD, Collapse, Extracted, rows_of_input
from drcnet.models.doubt import SkyDoubt, sky_columns
from drcnet.models.mended import MendedCollapse
from drcnet.models.ordered import (
    Found,
    OrderedHead,
    next_on_sequence,
    parameter_loss,
    subclass_loss,
    unscaled,
)
from drcnet.models.possible import draw_components, fit_expected_logit, normal_points
from drcnet.models.ppca import (
    bright_stars,
    known_spectra,
    learn_components,
    posterior_components,
)
from drcnet.models.unlabelled import Components, refine_components

__all__ = ["HorneNet"]

_ROWS = 8  # stars whose stripes stay in a core's cache together
_START = 1e-2
_SKY_SHAPE = (1.0, 2.5, 4.0)  # of errors in the sky, its first and its second difference


class HorneNet(nn.Module):
    """Optimal extraction, posterior components and an ordered head, trained as one.

    Parameters
    ----------
    n_class : int, default 3
        Classes, K, in the order of temperature.
    n_spatial : int, default 12
        Rows of the input: S pixels across, and the frame's sky; with `flat` S rows of the flat's
        profile and S of the neighbours' light besides; 2: a spectrum less its sky, and its
        inverse variance. With `told` one row more, or two of a spectrum.
    n_wave : int
        Wavelength pixels of an arm, L.
    components : int, default 20
        Components of spectra, C.
    bright : float, default 20
        Median S/N a pixel of the stars that the components begin with.
    penalty_inverse : float, default 0.1
        Inverse strength of the ridge penalty that the classes begin with (scikit-learn's C).
    hidden : int, default 32
        Width of the head's hidden layer; 0: a linear head.
    learned : bool, default True
        Learn how to better the profile; else it is what each block of the stripe, or the flat,
        shows.
    flat : bool, default False
        The input says what the flat knows.
    told : bool, default False
        The input says which sky was taken off, and every pixel's wavelength.
    aligned : bool, default True
        Put what is told its wavelengths on a common grid.
    sky_error : float, default 0.006
        How much of a sky that is told may be wrong, where learning begins; 2.5 times as much of
        its first difference and 4 times of its second, as sky fibres show. 0: it is believed.
    unlabelled_turns : int, default 0
        Turns of expectation-maximisation that the components then take over all exposures of the
        training stars, the faint ones that no label may be used of too, and over stars without a
        label (`drcnet.models.unlabelled`); 0: they stay those of the bright stars.
    tune : float, default 0.003
        How fast the components move with the rest, 0: not at all, nor do their variances and the
        sky's error. They are 6000 numbers each, and the stars are few.
    ordered : float, default 0.3
        Weight of the subclass in the loss; 0 for none.
    parameters : float, default 0.1
        Weight of Teff, log g, [Fe/H] and velocity in the loss, where they are known; 0 for none.
    points : int, default 64
        Points of what noise leaves open that the head is asked about (`drcnet.models.possible`):
        even and at least 2 C; 0: its mean alone, as if that were known.
    mixed : float, default 0
        Learn from stars between two stars that are next to each other on the sequence, in a share
        drawn from Beta(mixed, mixed) for each batch; 0: from the stars themselves.
    """

    targets = ("subclass", "teff", "logg", "feh", "rv_topo")
    """Columns of the index that it learns from beside the class, NaN where unknown; the last is
    the radial velocity as seen from the ground."""

    log_variance: Tensor
    log_sky: Tensor

    def __init__(
        self,
        n_class: int = 3,
        *,
        n_spatial: int = 12,
        n_wave: int = 3000,
        components: int = 20,
        bright: float = 20.0,
        penalty_inverse: float = 0.1,
        hidden: int = 32,
        learned: bool = True,
        flat: bool = False,
        told: bool = False,
        aligned: bool = True,
        sky_error: float = 0.006,
        unlabelled_turns: int = 0,
        tune: float = 0.003,
        ordered: float = 0.3,
        parameters: float = 0.1,
        points: int = 64,
        mixed: float = 0.0,
    ) -> None:
        super().__init__()
        rows = rows_of_input(n_spatial, flat=flat, told=told)
        numbers = {
            "hidden": hidden,
            "tune": tune,
            "ordered": ordered,
            "parameters": parameters,
            "unlabelled_turns": unlabelled_turns,
            "sky_error": sky_error,
            "mixed": mixed,
        }
        if components < 1 or min(numbers.values()) < 0:
            names = ", ".join(f"'{name}'" for name in numbers)
            values = ", ".join(str(value) for value in (components, *numbers.values()))
            raise ValueError(f"'components' must be >= 1, {names} >= 0, got {values}")
        self.bright, self.penalty_inverse = bright, penalty_inverse
        self.unlabelled_turns, self.mixed = unlabelled_turns, mixed
        self.ordered, self.parameters_weight = ordered, parameters
        self.flat, self.across = flat, (rows - 1) // 3 if flat else rows - 1
        self.told = told
        self.estimates = ("teff", "logg", "feh", *(("rv_topo",) if told and aligned else ()))
        self.collapse: Collapse | MendedCollapse | None = None
        if rows != SPECTRA:
            self.collapse = (MendedCollapse if flat else Collapse)(learned=learned)
        self.align = Align(n_wave) if told and aligned else None
        self.doubts = bool(told and sky_error)
        if self.doubts:
            self._hold("log_sky", (sky_error * torch.tensor(_SKY_SHAPE)).log().repeat(2, 1), tune)
        basis = torch.linalg.qr(torch.randn(2 * n_wave, components)).Q
        self.register_buffer("mean", torch.ones(2, n_wave))
        self.register_buffer("basis", basis)
        self._hold("log_variance", torch.zeros(components), tune)
        self.register_buffer("points", normal_points(points, components))
        self.tune = tune
        if tune:
            self.moved = nn.Parameter(torch.zeros(1 + components, 2, n_wave))
        self.head = OrderedHead(components, n_class, hidden, len(self.estimates))

    def _hold(self, name: str, value: Tensor, tune: float) -> None:
        """Hold numbers that are learnt where the components are, and else stay as they begin."""
        if tune:
            self.register_parameter(name, nn.Parameter(value))
        else:
            self.register_buffer(name, value)

    def forward(self, x: Tensor) -> Tensor:
        """Classify stars.

        Parameters
        ----------
        x : Tensor, shape (N, 2, S + 1, L) or (N, 2, 3 S + 1, L)
            Blue and red: the stripe in electrons, not finite where a pixel is bad, and in the
            row below the frame's sky in electrons of the fibre; then, of a flat, the share of the
            fibre's light on each pixel, and the electrons that neighbours bring there. Or
            (N, 2, 2, L): electrons less the sky, and their inverse variance, not finite where
            nothing is known. What is `told` stands below: vacuum angstrom, and over that, in
            spectra, the sky in electrons.

        Returns
        -------
        Tensor, shape (N, K)
            Logits.
        """
        return self.head(self._components(x)).logits

    def training_loss(
        self, x: Tensor, label: Tensor, targets: Tensor, loss: Callable[[Tensor, Tensor], Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Loss of classes, subclasses and parameters on one batch.

        Parameters
        ----------
        x : Tensor, shape (N, 2, R, L)
            As for `forward`.
        label : Tensor of int64, shape (N,)
            Classes.
        targets : Tensor, shape (N, 5)
            `targets` of the stars.
        loss : callable
            loss(logits, label): of the classes.

        Returns
        -------
        tuple of Tensor
            The sum to go down on, and the logits.
        """
        seen = self._components(x)
        if not self.mixed:
            found = self.head(seen)
            return self._loss(found, label, targets, loss), found.logits
        # light is linear in the components: between two stars lies a star
        other = next_on_sequence(label, targets[:, 0])
        share = torch.distributions.Beta(self.mixed, self.mixed).sample().item()
        found = self.head(share * seen + (1 - share) * seen[other])
        total = share * self._loss(found, label, targets, loss)
        total = total + (1 - share) * self._loss(found, label[other], targets[other], loss)
        return total, found.logits

    def _loss(
        self,
        found: Found,
        label: Tensor,
        targets: Tensor,
        loss: Callable[[Tensor, Tensor], Tensor],
    ) -> Tensor:
        """Loss of classes, subclasses and parameters."""
        total = loss(found.logits, label)
        if self.ordered:
            total = total + self.ordered * subclass_loss(found, label, targets[:, 0])
        if self.parameters_weight:
            total = total + self.parameters_weight * parameter_loss(found, targets[:, 1:])
        return total

    @torch.no_grad()
    def begin(
        self,
        batches: Iterable[tuple[Tensor, Tensor, Tensor]],
        seed: int,
        unlabelled: Iterable[Tensor] = (),
    ) -> None:
        """Set every part to what statistics know, before the first step.

        Parameters
        ----------
        batches : iterable of tuple of Tensor
            Training stars, as `forward` takes them, their labels, and their `targets` (N, 5),
            or none, (N, 0). Profile and wavelengths begin with those of the first batch.
        seed : int
            Of the components.
        unlabelled : iterable of Tensor
            Stars that only the components may be learnt from, where `unlabelled_turns` says so.
        """
        some, labels, targets = [], [], []
        for number, (x, label, target) in enumerate(batches):
            if number == 0 and self.collapse is not None:
                self.collapse.begin(*self._seen(x))
            if number == 0 and self.align is not None:
                self.align.begin(x[:, :, -1])
            some.append(self._spectra(x).to("cpu"))
            labels.append(label.cpu())
            targets.append(target.cpu())
        spectra = Spectra.together(some)
        mean, basis, variance = learn_components(
            *bright_stars(spectra.light, spectra.ivar, self.bright),
            components=len(self.log_variance),
            degree=0,
            seed=seed,
        )
        if self.unlabelled_turns:
            every = Spectra.together([spectra, *(self._spectra(x).to("cpu") for x in unlabelled)])
            known = Components(*map(torch.from_numpy, (mean, basis, variance)))
            known = refine_components(every.light, every.ivar, known, self.unlabelled_turns)
            mean, basis, variance = (part.numpy() for part in known)
        count = len(variance)  # fewer where there are few stars
        self.get_buffer("mean").copy_(torch.from_numpy(mean))
        self.get_buffer("basis")[:, :count].copy_(torch.from_numpy(basis))
        self.log_variance[:count].copy_(torch.from_numpy(np.log(variance)))
        self.log_variance[count:] = float(np.log(variance[-1] * _START))
        device = self.get_buffer("mean").device
        draws = torch.cat([self._posterior(one.to(device)).cpu() for one in some])
        self._begin_head(
            draws[..., : self.head.components], torch.cat(labels), torch.cat(targets), seed
        )

    def _begin_head(self, draws: Tensor, label: Tensor, targets: Tensor, seed: int) -> None:
        z, penalty = draws.mean(1), self.penalty_inverse
        learnt = fit_logit(z.numpy(), label.numpy(), seed=seed, balanced=False, inverse=penalty)
        weight, bias = torch.from_numpy(learnt["weight"]), torch.from_numpy(learnt["bias"])
        if draws.shape[1] > 1:
            weight, bias = fit_expected_logit(draws, label, weight, bias, inverse=penalty)
        self.head.direct.weight.copy_(weight)
        self.head.direct.bias.copy_(bias)
        self.head.begin(z, label, targets)

    @torch.no_grad()
    def estimate(self, x: Tensor) -> Tensor:
        """Measure stars' parameters.

        Parameters
        ----------
        x : Tensor, shape (N, 2, S + 1, L)
            As for `forward`.

        Returns
        -------
        Tensor, shape (N, 3) or (N, 4)
            `estimates`: Teff (K), log g (cm s-2) and [Fe/H] (dex), kept within what stars have;
            where wavelengths are told, the velocity as seen from the ground (km/s).
        """
        return unscaled(self.head(self._components(x)).parameters)

    def _components(self, x: Tensor) -> Tensor:
        """What the head sees, in single precision whatever the training's."""
        with torch.autocast(x.device.type, enabled=False):
            return self._posterior(self._spectra(x.float()))

    def _spectra(self, x: Tensor) -> Spectra:
        """As `_extract`, and aligned; a few stars at a time where there is a cache to stay in."""
        few = x.split(_ROWS if x.device.type == "cpu" else max(len(x), 1))
        return Spectra.together([self._aligned(part) for part in few])

    def _aligned(self, x: Tensor) -> Spectra:
        light, ivar = self._extract(x)
        if not self.told:
            return Spectra(light, ivar, light.new_zeros(len(x), 0))
        sky = torch.where(ivar > 0, x[:, :, -TOLD], 0.0).nan_to_num()
        if self.align is None:
            return Spectra(light, ivar, sky)
        ivar, light, sky = self.align(x[:, :, -1], ivar, light, sky)
        return Spectra(light, ivar, sky)

    def _extract(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Light of the star and its inverse variance, (N, 2, L) each."""
        if self.collapse is None:
            return known_spectra(x)
        found: Extracted = self.collapse(*self._seen(x))
        sky = x[:, :, self.across]
        known = torch.isfinite(sky) & (found.ivar > 0)
        zero = torch.zeros((), dtype=x.dtype, device=x.device)
        light = torch.where(known, found.light - torch.where(known, sky, zero), zero)
        return light, torch.where(known, found.ivar, zero)

    def _seen(self, x: Tensor) -> tuple[Tensor, ...]:
        """What the collapse is shown: the stripe, and profile and neighbours of the flat."""
        stripe = x[:, :, : self.across]
        return (stripe, *x[:, :, self.across + 1 :].chunk(2, dim=2)) if self.flat else (stripe,)

    def _posterior(self, seen: Spectra) -> Tensor:
        """What the components may be, in units of their spread, and how much is known.

        (N, M, C + 2); the last two are the logarithms of the S/N of both arms, near 0 for S/N 10 a
        pixel.
        """
        variance = self.log_variance.exp()
        mean, basis = self.get_buffer("mean"), self.get_buffer("basis")
        if self.tune:
            mean = mean + self.tune * self.moved[0]
            basis = basis + self.tune * self.moved[1:].flatten(1).T
        light, ivar, sky = seen
        doubt = None
        if self.doubts:
            doubt = SkyDoubt(sky_columns(sky), (2.0 * self.log_sky).exp())
        spread = variance.sqrt()
        known = posterior_components(light, ivar, mean, basis, variance, doubt)
        precision = known.precision * spread * spread[:, None]
        z = draw_components(known.mean / spread, precision, self.get_buffer("points"))
        level = (light * ivar).sum(-1) / ivar.sum(-1).clamp(min=1e-12)
        snr = level.clamp(min=0) * ivar.mean(-1).sqrt()
        snr = (snr / 10 + 0.03).log()[:, None].expand(-1, z.shape[1], -1)
        return torch.cat([z, snr], dim=-1)
