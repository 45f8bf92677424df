"""Operations that a model needs for one star."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

__all__ = ["operations"]

_CDIST = torch.ops.aten._cdist_forward  # noqa: SLF001  the operator's name, which torch counts by


@torch.no_grad()
def operations(model: nn.Module, shape: Sequence[int]) -> int:
    """Count the operations of classifying one star, exactly.

    Those of convolutions, matrix products and distances; sums, activations, poolings and the
    walk through a forest's trees are not among them.

    Parameters
    ----------
    model : torch.nn.Module
        A model; a classical one must have been fitted.
    shape : sequence of int
        Of one star: (2, 11, 3000) or (2, 3000).

    Returns
    -------
    int
        Two for each multiply-add.

    Examples
    --------
    >>> operations(nn.Sequential(nn.Flatten(), nn.Linear(6, 5)), (2, 3))
    60
    """
    trained = model.training
    device = next((v.device for v in model.state_dict().values()), torch.device("cpu"))
    counter = FlopCounterMode(display=False, custom_mapping={_CDIST: _cdist})
    try:
        with counter:
            model.eval()(torch.zeros(1, *shape, device=device))
    finally:
        model.train(trained)
    return int(counter.get_total_flops())


def _cdist(stars: Any, others: Any, *_args: Any, **_kwargs: Any) -> int:
    """Each of N x M distances takes a multiply-add a dimension."""
    return 2 * int(stars[-2]) * int(others[-2]) * int(stars[-1])
