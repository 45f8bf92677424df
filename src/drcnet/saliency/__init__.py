"""Where on the stripe a classifier looks, in wavelengths that an astronomer can name.

Nothing is imported here: `run.explain` is the entrance.
"""

__all__: list[str] = []
