"""Tiny libraries of made-up stars, in each format that the readers know."""

import csv

import numpy as np
from astropy.io import fits

LINES = {"Ca K": 3934.78, "Mg b": 5185.05, "Na D2": 5891.58, "H alpha": 6564.61, "Ca T": 8544.44}


def vacuum(air):
    """Air to vacuum by Morton 1991's vacuum-to-air formula, turned round by iteration."""
    wave = np.array(air, dtype=float)
    for _ in range(5):
        wave = air * (1 + 2.735182e-4 + 131.4182 / wave**2 + 2.76249e8 / wave**4)
    return wave


def spectrum(wave, teff, fwhm=2.5):
    """Black body with absorption lines whose depths change with temperature."""
    flux = (wave / 5500) ** -5 / np.expm1(1.4388e8 / (wave * teff))
    flux /= 1 / np.expm1(1.4388e8 / (5500 * teff))
    hot = np.clip((teff - 3500) / 4000, 0.05, 0.95)
    for name, at in LINES.items():
        depth = 0.6 * hot if name == "H alpha" else 0.6 * (1 - hot)
        flux = flux * (1 - depth * np.exp(-4 * np.log(2) * ((wave - at) / fwhm) ** 2))
    return flux


def write_csv(path, header, rows, delimiter=","):
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream, delimiter=delimiter)
        writer.writerow(header)
        writer.writerows(rows)


def write_miles(folder, stars):
    """Stars: name, type, teff."""
    folder.mkdir(parents=True, exist_ok=True)
    wave = vacuum(3540.5 + 0.9 * np.arange(4300))
    flux = np.array([spectrum(wave, teff) for _, _, teff in stars], dtype=np.float32)
    flux[:, -2:] = 0
    np.savez(folder / "miles_fgk.npz", flux=flux, wave0=3540.5, dwave=0.9)
    write_csv(
        folder / "miles_fgk.csv",
        ["row", "name", "miles_id", "spt", "teff", "logg", "feh"],
        [[i, name, i, spt, teff, "4.0", "--"] for i, (name, spt, teff) in enumerate(stars)],
    )
    return folder


def write_pyhammer(folder, stars):
    """Stars: type, [Fe/H] as text, teff."""
    folder.mkdir(parents=True, exist_ok=True)
    wave = 10 ** (3.5624 + 1e-4 * np.arange(4460))
    flux = np.array([spectrum(wave, teff) for _, _, teff in stars], dtype=np.float32)
    flux[:, 1000] = 0
    np.savez(folder / "pyhammer_fgk.npz", flux=flux, err=0.01 * flux, loglam0=3.5624, dloglam=1e-4)
    write_csv(
        folder / "pyhammer_fgk.csv",
        ["row", "file", "spt", "feh", "lum", "n_coadded", "teff", "logg"],
        [
            [i, f"{spt}_{feh}_Dwarf.fits", spt, feh, "Dwarf", 3, teff, 4.4]
            for i, (spt, feh, teff) in enumerate(stars)
        ],
    )
    return folder


def write_indo_us(path, stars):
    """Stars: name header such as 'F0II (25291)', teff."""
    path.parent.mkdir(parents=True, exist_ok=True)
    wave = 10 ** (3.4842 + 1e-4 * np.arange(5933))
    flux = np.array([spectrum(wave, teff, 3.3) for _, teff in stars], dtype=np.float32)
    hdu = fits.PrimaryHDU(flux)
    hdu.header["COEFF0"], hdu.header["COEFF1"] = 3.4842, 1e-4
    for number, (name, _) in enumerate(stars):
        hdu.header[f"NAME{number}"] = name
    hdu.writeto(path, overwrite=True)
    return path


def write_lamost_bundle(folder, stars, n_bad=0):
    """Stars: subclass, teff, z, ra, dec, snrr."""
    folder.mkdir(parents=True, exist_ok=True)
    wave = 10 ** (3.5682 + 1e-4 * np.arange(3909))
    flux = np.array([spectrum(wave / (1 + max(z, -1e-3)), teff, 3.0) for _, teff, z, *_ in stars])
    bad = np.zeros((len(stars), 3909), dtype=bool)
    bad[:, 500 : 500 + n_bad] = True
    flux[bad] = 40.0
    np.savez(
        folder / "lamost_fgk.npz",
        flux=flux.astype(np.float16),
        badbits=np.packbits(bad, axis=1),
        loglam0=3.5682,
        dloglam=1e-4,
    )
    write_csv(
        folder / "lamost_fgk.csv",
        ["file", "subclass", "snrr", "z", "ra", "dec", "teff", "logg", "feh"],
        [
            [f"spec-{i}.fits.gz", sub, snrr, z, ra, dec, teff, "", ""]
            for i, (sub, teff, z, ra, dec, snrr) in enumerate(stars)
        ],
    )
    return folder


def lamost_header(**changed):
    header = fits.Header()
    values = {
        "CLASS": "STAR", "SUBCLASS": "G2", "DESIG": "LAMOST J063715.90+271356.5",
        "RA": 99.316263, "DEC": 27.23237, "LMJD": 55862, "PLANID": "B6212", "SPID": 6,
        "FIBERID": 3, "LMJMLIST": "80441496-80441524", "Z": 2e-4, "COEFF0": 3.5682,
        "COEFF1": 1e-4,
    }  # fmt: skip
    for key, value in {**values, **changed}.items():
        header[key] = value
    return header


def write_lamost_file(path, layout, teff=5800.0, n_pix=3909, **changed):
    """One file in the layout of 'dr1', 'dr7' or 'dr10'."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if layout == "dr1":
        header = lamost_header(SN_R=99.0, **changed)
    else:
        header = lamost_header(SNRR=99.0, OBSID=740103002, **changed)
    wave = 10 ** (3.5682 + 1e-4 * np.arange(n_pix))
    flux = 100 * spectrum(wave / (1 + header["Z"]), teff, 3.0)
    zero = np.zeros(n_pix)
    ivar = np.full(n_pix, 4.0)
    ivar[7] = 0
    third = np.ones(n_pix) if layout == "dr1" else wave
    if layout == "dr10":
        names = ("FLUX", "IVAR", "WAVELENGTH", "ANDMASK", "ORMASK", "NORMALIZATION")
        values = (flux, ivar, wave, zero, zero, zero + 1)
        columns = [
            fits.Column(name, f"{n_pix}E", array=value[None])
            for name, value in zip(names, values, strict=True)
        ]
        table = fits.BinTableHDU.from_columns(columns, name="COADD")
        fits.HDUList([fits.PrimaryHDU(header=header), table]).writeto(path, overwrite=True)
    else:
        rows = np.array([flux, ivar, third, zero, zero], dtype=np.float32)
        fits.PrimaryHDU(rows, header=header).writeto(path, overwrite=True)
    return path
