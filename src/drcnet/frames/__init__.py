"""Files on disk to frames: counts, calibration and mask; axes turned once, here."""
