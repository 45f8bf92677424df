"""Predictions to numbers to tables and figures.

Nothing is imported here: take what you need from the module that holds it.

- `runs`: a run folder read and checked
- `metrics`, `calibration`, `subclasses`, `comparison`: arrays and tables in, tables out
- `paper`: the published numbers and what is odd about them
- `tables`: the paper's tables in our numbers; ECSV, Markdown, LaTeX
- `figures`: tables in, ink out
- `evaluate`: run folders in, `metrics.ecsv`, `confusion.ecsv` and figures out
"""

__all__: list[str] = []
