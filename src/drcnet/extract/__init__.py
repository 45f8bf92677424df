"""Raw frames into products that other programs open: traces, spectra, stripes, a page a frame."""

from drcnet.extract.learn import learn_detectors, learn_instrument
from drcnet.extract.product import ArmProduct
from drcnet.extract.run import ArmTask, Extraction, extract, extract_arm

__all__ = [
    "ArmProduct",
    "ArmTask",
    "Extraction",
    "extract",
    "extract_arm",
    "learn_detectors",
    "learn_instrument",
]
