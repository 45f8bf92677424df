"""What each pixel adds to an answer: integrated gradients, or hiding a window.

Both compare a normalised star with a reference: itself smoothed along wavelength, so that only
lines and bumps count, or a blank stripe. Where a spectrum stands beside its inverse variance, the
reference has the same weights: what is asked is what the light says, not how noisy it is. Where a
stripe stands beside the sky, only the star's part of it is compared, and sky, neighbours and what
is known of the profile stay.

Shapes: N stars, S pixels across, L along wavelength.
"""

import copy

import torch
from torch import Tensor, nn
from torch.nn.functional import conv1d, pad

from drcnet.config import SaliencySettings
from drcnet.dataset.loader import BESIDE, FLAT_BESIDE, WEIGHED, electrons, rows_beside

__all__ = ["attribute", "hide_windows", "integrated_gradients", "randomised", "reference"]


def attribute(
    model: nn.Module,
    x: Tensor,
    label: Tensor,
    settings: SaliencySettings,
    *,
    view: str = "stripes",
) -> Tensor:
    """What each pixel adds to an answer, by the method asked for.

    Parameters
    ----------
    model : torch.nn.Module
        In evaluation mode.
    x : Tensor, shape (N, 2, S or more, L), (N, 2, L) or (N, 2, 2, L)
        Normalised stars.
    label : Tensor of int64, shape (N,)
        Whose logit.
    settings : SaliencySettings
        Method, reference, steps and window.
    view : str
        Which view of the stars `x` is.

    Returns
    -------
    Tensor, shape (N, 2, S, L) or (N, 2, L)
        Logits; of stripes by pixel with gradients, else by wavelength.
    """
    blank = reference(x, settings, view=view)
    x = torch.where(torch.isfinite(x), x, blank) if view in BESIDE else x
    if settings.method == "occlusion":
        return hide_windows(model, x, blank, label, settings.window)
    found = integrated_gradients(model, x, blank, label, settings.steps)
    if view in WEIGHED:
        return found[:, :, 0]  # the weights are those of the reference
    return electrons(found, view)[0]  # and so is all that stands below a stripe


def reference(x: Tensor, settings: SaliencySettings, *, view: str = "stripes") -> Tensor:
    """What stars are compared with.

    Parameters
    ----------
    x : Tensor, shape (N, 2, S or more, L), (N, 2, L) or (N, 2, 2, L)
        Normalised.
    settings : SaliencySettings
        Which reference, and how smooth.
    view : str
        Which view of the stars `x` is.

    Returns
    -------
    Tensor, shape of `x`
        The stars without their lines (a Gaussian along wavelength, ends held), or zeros; inverse
        variances and sky as they are, and pixels that are not known no part of the average.
    """
    if view in WEIGHED:
        spectrum, ivar = x[:, :, 0], x[:, :, 1]
        known = (ivar > 0).to(x.dtype)
        blank = torch.stack([known * _lineless(spectrum, known, settings), ivar], dim=2)
        return torch.cat([blank, x[:, :, 2:]], dim=2)  # and what it is told besides
    if view in BESIDE:
        stripe, below = electrons(x, view)[0], rows_beside(x, view)
        known = torch.isfinite(stripe).to(x.dtype)
        night = _night(stripe, known, below, view, settings.smooth)
        star = (stripe - night).nan_to_num() * known
        return torch.cat([night + _lineless(star, known, settings), below], dim=2)
    return torch.zeros_like(x) if settings.against == "zero" else _smoothed(x, settings.smooth)


def integrated_gradients(
    model: nn.Module, x: Tensor, blank: Tensor, label: Tensor, steps: int
) -> Tensor:
    """Integrate the gradient of an answer from a reference to the star.

    Sundararajan, Taly & Yan 2017, equation 1, by the midpoint rule. The answer is the logit of
    `label` less the average logit.

    Parameters
    ----------
    model : torch.nn.Module
        In evaluation mode.
    x, blank : Tensor, shape (N, 2, ...)
        Stars and their references, normalised.
    label : Tensor of int64, shape (N,)
        Whose logit.
    steps : int
        Points between the two.

    Returns
    -------
    Tensor, shape of `x`
        Their sum over a star is, but for the steps, the answer's change from reference to star;
        zeros where the model has no gradient.
    """
    total = torch.zeros_like(x)
    for k in range(steps):
        point = (blank + (k + 0.5) / steps * (x - blank)).detach().requires_grad_()
        answer = _answer(model, point, label).sum()
        if answer.requires_grad:  # a forest's does not
            total += torch.autograd.grad(answer, point)[0]
    return (x - blank) * total / steps


@torch.no_grad()
def hide_windows(model: nn.Module, x: Tensor, blank: Tensor, label: Tensor, width: int) -> Tensor:
    """Hide one window of wavelengths after the other behind the reference.

    Parameters
    ----------
    model : torch.nn.Module
        In evaluation mode.
    x, blank : Tensor, shape (N, 2, ..., L)
        Stars and their references, normalised.
    label : Tensor of int64, shape (N,)
        Whose logit.
    width : int
        Pixels.

    Returns
    -------
    Tensor, shape (N, 2, L)
        What the answer loses when the window is hidden, evenly over the window's pixels.
    """
    whole = _answer(model, x, label)
    out = torch.zeros(len(x), x.shape[1], x.shape[-1], device=x.device)
    for arm in range(x.shape[1]):
        for start in range(0, x.shape[-1], width):
            stop = min(start + width, x.shape[-1])
            hidden = x.clone()
            hidden[:, arm, ..., start:stop] = blank[:, arm, ..., start:stop]
            lost = (whole - _answer(model, hidden, label)).to(out.dtype)
            out[:, arm, start:stop] = lost[:, None] / (stop - start)
    return out


def randomised(model: nn.Module, seed: int) -> nn.Module:
    """Give a model's weights other places: what it learnt is gone, their sizes are not.

    Parameters
    ----------
    model : torch.nn.Module
        Stays as it is.
    seed : int
        Which order.

    Returns
    -------
    torch.nn.Module
        A copy; each array of numbers in its state is shuffled within itself.
    """
    other = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, values in other.state_dict().items():
        if values.is_floating_point() and values.numel() > 1:
            order = torch.randperm(values.numel(), generator=generator).to(values.device)
            values = values.reshape(-1)[order].reshape(values.shape)  # noqa: PLW2901
        state[name] = values
    other.load_state_dict(state)
    return other.eval()


def _night(stripe: Tensor, known: Tensor, below: Tensor, view: str, sigma: float) -> Tensor:
    """What a stripe shows besides its star: sky, and neighbours where they are known."""
    sky, flat = below[:, :, :1].nan_to_num(), below[:, :, 1:].nan_to_num()
    if view == FLAT_BESIDE:
        profile, spilt = flat.chunk(2, dim=2)
        return profile * sky + spilt
    mean = _averaged(stripe.nan_to_num(), known, sigma).clamp(min=0)
    return mean / mean.sum(dim=2, keepdim=True).clamp(min=1e-9) * sky


def _lineless(star: Tensor, known: Tensor, settings: SaliencySettings) -> Tensor:
    """What is left of light without lines; nothing at all against a blank."""
    if settings.against == "zero":
        return torch.zeros_like(star)
    return _averaged(star, known, settings.smooth)


def _averaged(light: Tensor, known: Tensor, sigma: float) -> Tensor:
    """Average along wavelength over the pixels that are known."""
    return _smoothed(known * light, sigma) / _smoothed(known, sigma).clamp(min=1e-6)


def _smoothed(x: Tensor, sigma: float) -> Tensor:
    half = min(int(3 * sigma), x.shape[-1] - 1)
    place = torch.arange(-half, half + 1, device=x.device, dtype=x.dtype)
    kernel = torch.exp(-0.5 * (place / sigma) ** 2)
    flat = pad(x.reshape(-1, 1, x.shape[-1]), (half, half), mode="replicate")
    return conv1d(flat, (kernel / kernel.sum())[None, None]).reshape(x.shape)


def _answer(model: nn.Module, x: Tensor, label: Tensor) -> Tensor:
    logits = model(x)
    return logits.gather(1, label[:, None])[:, 0] - logits.mean(dim=1)
