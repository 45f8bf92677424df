"""What can be wrong with a fibre, as named bits. Nothing is dropped: a flagged fibre is a row."""

from enum import IntFlag

__all__ = ["MEANINGS", "FiberFlag", "flag_names"]


class FiberFlag(IntFlag):
    """Bits of the column `flags`."""

    DEAD = 1
    NO_SIGNAL = 2
    SATURATED = 4
    COSMIC_RICH = 8
    TRACE_LOST = 16
    LOW_IDENTITY = 32
    BRIGHT_NEIGHBOR = 64
    SKY_FIBER = 128
    SCATTERED_LIGHT = 256
    ARM_MISSING = 512
    NOMINAL_WAVELENGTH = 1024
    OFF_CHIP = 2048
    NO_CATALOG = 4096
    FRAME_REFUSED = 8192


MEANINGS: dict[FiberFlag, str] = {
    FiberFlag.DEAD: "no light on the lamp flat",
    FiberFlag.NO_SIGNAL: "the exposure has no significant light above the sky in this fibre",
    FiberFlag.SATURATED: "saturated pixels inside the stripe",
    FiberFlag.COSMIC_RICH: "more than 2% of the stripe's pixels hit by cosmic rays",
    FiberFlag.TRACE_LOST: "gives light on the lamp flat, but its trace could not be followed",
    FiberFlag.LOW_IDENTITY: "which fibre this is could not be made sure",
    FiberFlag.BRIGHT_NEIGHBOR: "a neighbouring fibre is so bright that its wings matter",
    FiberFlag.SKY_FIBER: "looked at blank sky",
    FiberFlag.SCATTERED_LIGHT: "strong scattered light under the stripe",
    FiberFlag.ARM_MISSING: "one arm's frame is missing or refused",
    FiberFlag.NOMINAL_WAVELENGTH: "wavelengths are the instrument's nominal ones",
    FiberFlag.OFF_CHIP: "part of the stripe lies outside the chip",
    FiberFlag.NO_CATALOG: "no row of the catalogue is this fibre",
    FiberFlag.FRAME_REFUSED: "the frame was refused; the column `reason` says why",
}


def flag_names(flags: int) -> str:
    """Spell flags out.

    Parameters
    ----------
    flags : int
        A value of the column `flags`.

    Returns
    -------
    str
        Lower-case names joined by '|'; empty where no bit is set.

    Examples
    --------
    >>> flag_names(FiberFlag.DEAD | FiberFlag.SKY_FIBER)
    'dead|sky_fiber'
    """
    return "|".join(flag.name.lower() for flag in FiberFlag if flag & flags and flag.name)
