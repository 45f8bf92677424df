"""A night of a fibre spectrograph, from star spectra to raw FITS files."""
