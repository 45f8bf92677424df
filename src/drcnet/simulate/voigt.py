"""The Voigt function, fast enough to be evaluated millions of times."""

from numba import njit

__all__ = ["voigt"]


@njit(nogil=True, cache=True, fastmath=True)
def voigt(a: float, v: float) -> float:
    """Evaluate H(a, v), the real part of the Faddeeva function at v + i a.

    Parameters
    ----------
    a : float
        Damping width over Doppler width, >= 0.
    v : float
        Distance from the line's centre over Doppler width, >= 0.

    Returns
    -------
    float
        H, with H(0, 0) = 1 and integral over v of sqrt(pi); good to 1e-4 of the centre.

    Notes
    -----
    Rational approximation of Hui, Armstrong & Wray (1978, JQSRT 19, 509), p = 6; beyond
    v + a = 12 the first terms of the asymptotic series.
    """
    if v + a > 12.0:
        s = v * v + a * a
        return a / (1.7724538509 * s) * (1.0 + 1.5 * (v * v - a * a / 3.0) / (s * s))
    z = complex(a, -v)
    top = 122.607931777104326 + z * (
        214.382388694706425
        + z
        * (
            181.928533092181549
            + z
            * (
                93.155580458138441
                + z * (30.180142196210589 + z * (5.912626209773153 + z * 0.564189583562615))
            )
        )
    )
    bottom = 122.607931773875350 + z * (
        352.730625110963558
        + z
        * (
            457.334478783897737
            + z
            * (
                348.703917719495792
                + z
                * (170.354001821091472 + z * (53.992906912940207 + z * (10.479857114260399 + z)))
            )
        )
    )
    return (top / bottom).real
