"""How sure a trained model may be, learnt from validation stars made fainter.

Nothing is imported here: take what you need from the module that holds it.

- `fading`: validation stars in, the same stars in every S/N interval out
- `temperature`: logits and S/N in, true probabilities out
- `conformal`: probabilities in, sets of classes that hold the true one often enough out
- `strange`: is this any of the classes at all?
- `product`: `calibration.json`, read, written and applied
- `run`: a run folder in, its `calibration.json` out
"""

__all__: list[str] = []
