"""SGAN: a semi-supervised generative adversarial network with a CNN.

After Zheng, Qiu, Luo & Li 2020, PASP 132, 024504. A generator makes spectra; the classifier tells
the classes apart, and real from made by the sum of its class evidence (Salimans et al. 2016).
Stars without a label teach it what real spectra are. The generator is told which class to make,
and makes all classes equally often: a rare class is seen as often as any other. Sizes are our
reading.

Shapes: N stars, L = 3000 wavelength pixels an arm, K classes, Z latent numbers.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy, one_hot, softplus

from drcnet.models.blocks import classifier

__all__ = ["SGAN"]

_POOL = 4
_KERNEL = 9


class SGAN(nn.Module):
    """Classifier that is a discriminator too, and the generator that it learns against.

    It brings a loss of its own, `training_loss`; both parts take one step together, each moved by
    its own terms only. Nothing is normalised over a batch, since real and made spectra share it.

    Parameters
    ----------
    n_class : int, default 3
        Classes, K.
    n_wave : int
        Wavelength pixels of an arm, L.
    widths : sequence of int
        Channels of the classifier's stages, each a convolution of 9 pixels and a pool of 4; the
        generator has them the other way round.
    hidden : int, default 256
        Width of the classifier's dense layer: the features that made spectra must match.
    latent : int, default 64
        Random numbers a made spectrum starts from, Z.
    norm : bool, default False
        Normalise each star's features after each convolution of the classifier.
    unlabelled : float, default 0.5
        Weight of telling real from made, beside the classes.
    made : float, default 0.1
        Weight of the made spectra's classes in the classifier's loss.
    """

    def __init__(
        self,
        n_class: int = 3,
        *,
        n_wave: int = 3000,
        widths: Sequence[int] = (16, 32, 64),
        hidden: int = 256,
        latent: int = 64,
        norm: bool = False,
        unlabelled: float = 0.5,
        made: float = 0.1,
    ) -> None:
        super().__init__()
        if n_wave < _POOL ** len(widths):
            raise ValueError(f"'n_wave' must be at least {_POOL ** len(widths)}, got {n_wave}")
        if latent < 1 or unlabelled < 0 or made < 0:
            raise ValueError(
                "'latent' must be >= 1, 'unlabelled' and 'made' >= 0, "
                f"got {latent}, {unlabelled}, {made}"
            )
        self.n_class, self.latent = n_class, latent
        self.unlabelled, self.made = unlabelled, made
        self.generator = _Generator(latent + n_class, n_wave, tuple(reversed(widths)))
        self.features = _features(widths, n_wave, hidden, norm=norm)
        self.classifier = classifier(hidden, (), n_class)

    def forward(self, x: Tensor) -> Tensor:
        """Classify stars.

        Parameters
        ----------
        x : Tensor, shape (N, 2, L)
            Normalised spectra, blue then red.

        Returns
        -------
        Tensor, shape (N, K)
            Logits; their log-sum-exp is the logit of being real.
        """
        return self.classifier(self.features(x[:, :, None]))

    def training_loss(
        self, x: Tensor, label: Tensor, pool: Tensor, loss: Callable[[Tensor, Tensor], Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Loss of classifier and generator on one batch.

        Parameters
        ----------
        x : Tensor, shape (N, 2, L)
            Stars with a label.
        label : Tensor of int64, shape (N,)
            Their classes.
        pool : Tensor, shape (M, 2, L)
            Stars without one.
        loss : callable
            loss(logits, label): of the classes.

        Returns
        -------
        tuple of Tensor
            The sum to go down on, and the logits of `x`.
        """
        wanted = torch.arange(len(pool), device=x.device) % self.n_class
        start = torch.randn(len(pool), self.latent, device=x.device)
        spectra = self.generator(torch.cat([start, one_hot(wanted, self.n_class)], dim=1))
        logits, real, fake = self(x), self(pool), self(spectra.detach())
        taught = loss(logits, label) + self.made * loss(fake, wanted)
        told = softplus(-_evidence(real)).mean() + softplus(_evidence(fake)).mean()
        return taught + self.unlabelled * told + self._cheat(spectra, pool, wanted), logits

    def _cheat(self, spectra: Tensor, pool: Tensor, wanted: Tensor) -> Tensor:
        """Loss of the generator: features as real stars have them, and the class asked for."""
        features, head = _still(self.features), _still(self.classifier)
        seen = functional_call(self.features, features, (spectra[:, :, None],))
        with torch.no_grad():
            goal = self.features(pool[:, :, None]).float().mean(dim=0)
        apart = (seen.float().mean(dim=0) - goal).square().mean()
        return apart + cross_entropy(functional_call(self.classifier, head, (seen,)), wanted)


class _Generator(nn.Module):
    """Latent numbers to spectra, (N, Z + K) to (N, 2, L), each arm with mean 0 and spread 1."""

    def __init__(self, n_in: int, n_wave: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.n_wave, self.width = n_wave, widths[0]
        length = -(-n_wave // _POOL ** len(widths))
        self.start = nn.Sequential(nn.Linear(n_in, widths[0] * length), nn.ReLU())
        layers: list[nn.Module] = []
        for before, after in zip(widths, (*widths[1:], 2), strict=True):
            layers.append(nn.Upsample(scale_factor=(1, _POOL)))
            layers.append(nn.Conv2d(before, after, (1, _KERNEL), padding=(0, _KERNEL // 2)))
            layers.append(nn.ReLU())
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self, start: Tensor) -> Tensor:
        x = self.start(start).reshape(len(start), self.width, 1, -1)
        x = self.layers(x)[:, :, 0, : self.n_wave].float()  # (N, 2, L)
        spread = x.std(dim=2, keepdim=True).clamp_min(1e-3)
        return (x - x.mean(dim=2, keepdim=True)) / spread  # as a z-score leaves real ones


def _still(part: nn.Module) -> dict[str, Tensor]:
    """Parameters that a loss goes through, but does not move."""
    return {name: value.detach() for name, value in part.named_parameters()}


def _evidence(logits: Tensor) -> Tensor:
    return torch.logsumexp(logits.float(), dim=1)


def _features(widths: Sequence[int], n_wave: int, hidden: int, *, norm: bool) -> nn.Sequential:
    """(N, 2, 1, L) to (N, hidden)."""
    layers: list[nn.Module] = []
    before = 2
    for after in widths:
        layers.append(nn.Conv2d(before, after, (1, _KERNEL), padding=(0, _KERNEL // 2)))
        if norm:
            layers.append(nn.GroupNorm(1, after))
        layers += [nn.LeakyReLU(0.2), nn.AvgPool2d((1, _POOL))]
        before = after
    length = n_wave // _POOL ** len(widths)
    return nn.Sequential(
        *layers, nn.Flatten(), nn.Linear(before * length, hidden), nn.LeakyReLU(0.2)
    )
