"""HorneNet: a network whose every part begins as the best that statistics can do, and learns on.

    stripe ─▶ Collapse ─▶ light, ivar ─▶ less the sky ─▶ Posterior ─▶ Head ─▶ logits
              Horne 1986, from the                       of the spectrum's    classes; on the way
              stripe (`.collapse`), or                   components, given    the subclass, Teff,
              the flat (`.mended`)                       the noise (`.ppca`)  log g and [Fe/H]

A network that starts anywhere has to find out from a few hundred stars what has been known since
long: that pixels are weighed by their noise, that lines are judged over their whole length and
not one by one, that the less is known the nearer one stays to the average star. Here `begin` sets
all of that before the first step; gradients then move each part together with the others. Both
arms are one measurement: an arm, or a pixel, that is missing has no weight, and no special case.

Given spectra and their inverse variances instead, it has nothing to collapse: the same network on
a pipeline's extraction, for comparison.

Shapes: N stars, S pixels across, L along wavelength, C components, K classes.
"""

from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import Tensor, nn

from drcnet.models.classical import fit_logit
from drcnet.models.collapse import Collapse, Extracted
from drcnet.models.mended import MendedCollapse
from drcnet.models.ordered import OrderedHead, scaled, subclass_loss, unscaled
from drcnet.models.ppca import (
    bright_stars,
    known_spectra,
    learn_components,
    posterior_components,
)
from drcnet.models.unlabelled import Components, refine_components

__all__ = ["HorneNet"]

_SPECTRA = 2  # rows of an input that is extracted already
_ROWS = 8  # stars whose stripes stay in a core's cache together
_START = 1e-2


class HorneNet(nn.Module):
    """Optimal extraction, posterior components and an ordered head, trained as one.

    Parameters
    ----------
    n_class : int, default 3
        Classes, K, in the order of temperature.
    n_spatial : int, default 12
        Rows of the input: S pixels across, and the frame's sky; with `flat` S rows of the flat's
        profile and S of the neighbours' light besides; 2: a spectrum less its sky, and its
        inverse variance.
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
    unlabelled_turns : int, default 0
        Turns of expectation-maximisation that the components then take over all exposures of the
        training stars, the faint ones that no label may be used of too, and over stars without a
        label (`drcnet.models.unlabelled`); 0: they stay those of the bright stars.
    tune : float, default 0.003
        How fast the components move with the rest, 0: not at all. They are 6000 numbers each,
        and the stars are few.
    ordered : float, default 0.3
        Weight of the subclass in the loss; 0 for none.
    parameters : float, default 0.1
        Weight of Teff, log g and [Fe/H] in the loss, where they are known; 0 for none.
    """

    targets = ("subclass", "teff", "logg", "feh")
    """Columns of the index that it learns from beside the class, NaN where unknown."""

    estimates = ("teff", "logg", "feh")
    """What `estimate` measures beside the class."""

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
        unlabelled_turns: int = 0,
        tune: float = 0.003,
        ordered: float = 0.3,
        parameters: float = 0.1,
    ) -> None:
        super().__init__()
        if flat and (n_spatial < 10 or n_spatial % 3 != 1):
            wanted = "3 rows for each of at least 3 pixels, and a sky"
            raise ValueError(f"'n_spatial' must be {wanted}, got {n_spatial}")
        if n_spatial < 4 and n_spatial != _SPECTRA:
            wanted = "at least 3 pixels and a sky, or 2 for spectra"
            raise ValueError(f"'n_spatial' must be {wanted}, got {n_spatial}")
        if components < 1 or min(hidden, tune, ordered, parameters, unlabelled_turns) < 0:
            raise ValueError(
                "'components' must be >= 1, 'hidden', 'tune', 'ordered', 'parameters' and "
                f"'unlabelled_turns' >= 0, got {components}, {hidden}, {tune}, {ordered}, "
                f"{parameters}, {unlabelled_turns}"
            )
        self.bright, self.penalty_inverse = bright, penalty_inverse
        self.unlabelled_turns = unlabelled_turns
        self.ordered, self.parameters_weight = ordered, parameters
        self.flat, self.across = flat, (n_spatial - 1) // 3 if flat else n_spatial - 1
        self.collapse: Collapse | MendedCollapse | None = None
        if n_spatial != _SPECTRA:
            self.collapse = (MendedCollapse if flat else Collapse)(learned=learned)
        basis = torch.linalg.qr(torch.randn(2 * n_wave, components)).Q
        self.register_buffer("mean", torch.ones(2, n_wave))
        self.register_buffer("basis", basis)
        self.log_variance = nn.Parameter(torch.zeros(components))
        self.tune = tune
        if tune:
            self.moved = nn.Parameter(torch.zeros(1 + components, 2, n_wave))
        self.head = OrderedHead(components, n_class, hidden)

    def forward(self, x: Tensor) -> Tensor:
        """Classify stars.

        Parameters
        ----------
        x : Tensor, shape (N, 2, S + 1, L) or (N, 2, 3 S + 1, L)
            Blue and red: the stripe in electrons, not finite where a pixel is bad, and in the
            row below the frame's sky in electrons of the fibre; then, of a flat, the share of the
            fibre's light on each pixel, and the electrons that neighbours bring there. Or
            (N, 2, 2, L): electrons less the sky, and their inverse variance, not finite where
            nothing is known.

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
        targets : Tensor, shape (N, 4)
            `targets` of the stars.
        loss : callable
            loss(logits, label): of the classes.

        Returns
        -------
        tuple of Tensor
            The sum to go down on, and the logits.
        """
        found = self.head(self._components(x))
        total = loss(found.logits, label)
        if self.ordered:
            total = total + self.ordered * subclass_loss(found, label, targets[:, 0])
        if self.parameters_weight:
            wanted = scaled(targets[:, 1:])
            known = torch.isfinite(wanted)
            apart = torch.where(known, found.parameters - wanted.nan_to_num(), 0.0)
            total = total + self.parameters_weight * (apart**2).sum() / known.sum().clamp(min=1)
        return total, found.logits

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
            Training stars, as `forward` takes them, their labels, and their `targets` (N, 4),
            or none, (N, 0).
        seed : int
            Of the components.
        unlabelled : iterable of Tensor
            Stars that only the components may be learnt from, where `unlabelled_turns` says so.
        """
        light, ivar, labels, targets = [], [], [], []
        for number, (x, label, target) in enumerate(batches):
            if number == 0 and self.collapse is not None:
                self.collapse.begin(*self._seen(x))
            one = self._spectra(x)
            light.append(one[0].cpu())
            ivar.append(one[1].cpu())
            labels.append(label.cpu())
            targets.append(target.cpu())
        spectra, weights = torch.cat(light), torch.cat(ivar)
        mean, basis, variance = learn_components(
            *bright_stars(spectra, weights, self.bright),
            components=len(self.log_variance),
            degree=0,
            seed=seed,
        )
        if self.unlabelled_turns:
            more = [self._spectra(x) for x in unlabelled]
            known = Components(*map(torch.from_numpy, (mean, basis, variance)))
            known = refine_components(
                torch.cat([spectra, *(one[0].cpu() for one in more)]),
                torch.cat([weights, *(one[1].cpu() for one in more)]),
                known,
                self.unlabelled_turns,
            )
            mean, basis, variance = (part.numpy() for part in known)
        count = len(variance)  # fewer where there are few stars
        self.get_buffer("mean").copy_(torch.from_numpy(mean))
        self.get_buffer("basis")[:, :count].copy_(torch.from_numpy(basis))
        self.log_variance[:count].copy_(torch.from_numpy(np.log(variance)))
        self.log_variance[count:] = float(np.log(variance[-1] * _START))
        device = self.get_buffer("mean").device
        z = torch.cat(
            [
                self._posterior(a.to(device), b.to(device))[:, : len(self.log_variance)].cpu()
                for a, b in zip(light, ivar, strict=True)
            ]
        )
        classes = torch.cat(labels)
        learnt = fit_logit(
            z.numpy(), classes.numpy(), seed=seed, balanced=False, inverse=self.penalty_inverse
        )
        self.head.direct.weight.copy_(torch.from_numpy(learnt["weight"]))
        self.head.direct.bias.copy_(torch.from_numpy(learnt["bias"]))
        self.head.begin(z, classes, torch.cat(targets))

    @torch.no_grad()
    def estimate(self, x: Tensor) -> Tensor:
        """Measure stars' parameters.

        Parameters
        ----------
        x : Tensor, shape (N, 2, S + 1, L)
            As for `forward`.

        Returns
        -------
        Tensor, shape (N, 3)
            `estimates`: Teff (K), log g (cm s-2) and [Fe/H] (dex), kept within what stars have.
        """
        return unscaled(self.head(self._components(x)).parameters)

    def _components(self, x: Tensor) -> Tensor:
        """What the head sees, in single precision whatever the training's."""
        with torch.autocast(x.device.type, enabled=False):
            return self._posterior(*self._spectra(x.float()))

    def _spectra(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """As `_extract`, a few stars at a time where there is a cache to stay in."""
        few = x.split(_ROWS if x.device.type == "cpu" else max(len(x), 1))
        found = [self._extract(part) for part in few]
        return torch.cat([light for light, _ in found]), torch.cat([ivar for _, ivar in found])

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

    def _posterior(self, light: Tensor, ivar: Tensor) -> Tensor:
        """Posterior means in units of the components' spread, and how much is known, (N, C + 2).

        The last two are the logarithms of the S/N of both arms, near 0 for S/N 10 a pixel.
        """
        variance = self.log_variance.exp()
        mean, basis = self.get_buffer("mean"), self.get_buffer("basis")
        if self.tune:
            mean = mean + self.tune * self.moved[0]
            basis = basis + self.tune * self.moved[1:].flatten(1).T
        z = posterior_components(light, ivar, mean, basis, variance) / variance.sqrt()
        level = (light * ivar).sum(-1) / ivar.sum(-1).clamp(min=1e-12)
        snr = level.clamp(min=0) * ivar.mean(-1).sqrt()
        return torch.cat([z, (snr / 10 + 0.03).log()], dim=1)
