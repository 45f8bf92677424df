"""Frames to stripes (n_fiber, 11, 3000) and their 1-D twins (n_fiber, 3000)."""
