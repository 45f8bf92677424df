"""Stellar classification straight from two-dimensional fibre spectra.

A star's light enters at one door and leaves at the other; the rooms stand in that order::

      raw FITS frames + catalogue
        -> frames     pixels: read, overscan, bias, gain
        -> stripes    250 fibres x 11 x 3000 pixels, and their 1-D twins
        -> dataset    store + split
        -> train      a model of models/ on one split, into a run folder
        -> evaluate   predictions to numbers, tables and figures
        -> report     one page
      new frames      -> classify -> one row a fibre

`drcnet.simulate` writes the same raw files a telescope would. Data moves through files, left
to right; imports point right to left only. Every command of the command line is a function of
the same name in `drcnet.api`.
"""

__version__ = "0.1.0.dev0"
