"""Run folders to one HTML page that works offline.

Nothing is imported here: `page.report` is the entrance.
"""

__all__: list[str] = []
