"""What becomes of a classifier's answers when the light is not what it learnt from.

Nothing is imported here: `sheet.robustness` is the entrance.
"""

__all__: list[str] = []
