"""Frames broken in every way that we could think of, each with the error that it must cause."""

import gzip
import os

import numpy as np
from astropy.io import fits

from .conftest import N_SPATIAL, OBJECT, draw

CASES = {}


def broken(wanted, came):
    """Register a builder `(folder, raw) -> path` with the error it must cause."""

    def register(build):
        CASES[build.__name__] = (build, wanted, came)
        return build

    return register


def put(folder, data, name=OBJECT, cards=(), *, checksum=False):
    path = folder / name
    image = fits.CompImageHDU(data) if name.endswith(".fz") else fits.PrimaryHDU(data)
    image.header.extend(cards)
    hdus = [fits.PrimaryHDU(), image] if name.endswith(".fz") else [image]
    fits.HDUList(hdus).writeto(path, checksum=checksum)
    return path


def edited(path, edit):
    blob = bytearray(path.read_bytes())
    path.write_bytes(edit(blob) or blob)
    return path


def with_block(raw, value, start=5000, length=1440):
    data = raw.copy()
    data.reshape(-1)[start : start + length] = value
    return data


# --- the file itself


@broken("a readable file", "no such file or directory")
def missing(folder, raw):
    return folder / OBJECT


@broken("a FITS file", "an empty file")
def empty_file(folder, raw):
    (folder / OBJECT).touch()
    return folder / OBJECT


@broken("a FITS file", "a folder or a special file")
def folder_with_a_frames_name(folder, raw):
    (folder / OBJECT).mkdir()
    return folder / OBJECT


@broken("a FITS file", "a folder or a special file")
def pipe(folder, raw):
    os.mkfifo(folder / OBJECT)
    return folder / OBJECT


@broken("a readable file", "too many levels of symbolic links")
def symlink_loop(folder, raw):
    (folder / "other").symlink_to(folder / OBJECT)
    (folder / OBJECT).symlink_to(folder / "other")
    return folder / OBJECT


@broken("a readable file", "no such file or directory")
def symlink_to_nothing(folder, raw):
    (folder / OBJECT).symlink_to(folder / "gone")
    return folder / OBJECT


@broken("a FITS file", "a file that begins with b'obsid,design'")
def not_a_fits(folder, raw):
    (folder / OBJECT).write_text("obsid,designation\n" * 500)
    return folder / OBJECT


@broken("a FITS file", "a file that begins with b'<!DOCTYPE ht'")
def error_page_of_a_server(folder, raw):
    (folder / OBJECT).write_text("<!DOCTYPE html><title>404</title>" * 200)
    return folder / OBJECT


@broken("a whole gzip file", "a gzip file cut short")
def gz_cut_short(folder, raw):
    return edited(put(folder, raw, OBJECT + ".gz"), lambda b: b[: len(b) // 2])


@broken("a whole gzip file", "a gzip file cut short")
def gz_without_its_checksum(folder, raw):
    return edited(put(folder, raw, OBJECT + ".gz"), lambda b: b[:-8])


@broken("a whole gzip file", "a damaged one")
def gz_with_a_bit_flipped(folder, raw):
    def flip(blob):
        blob[len(blob) // 2] ^= 0x10

    return edited(put(folder, raw, OBJECT + ".gz"), flip)


@broken("a FITS file", "a file that begins with b'\\x1f\\x8b\\x08")
def gzipped_twice(folder, raw):
    return edited(put(folder, raw, OBJECT + ".gz"), lambda b: gzip.compress(bytes(b)))


# --- its structure


@broken("a whole FITS file", "one cut short by 11520 bytes")
def truncated_in_the_data(folder, raw):
    return edited(put(folder, raw), lambda b: b[: 2880 + raw.nbytes - 11520])


@broken("a whole FITS file", "one cut short by 1 bytes")
def truncated_by_one_byte(folder, raw):
    return edited(put(folder, raw), lambda b: b[: 2880 + raw.nbytes - 1])


@broken("a whole FITS file", "one cut short in header 0")
def truncated_in_the_header(folder, raw):
    return edited(put(folder, raw), lambda b: b[:1000])


@broken("a whole FITS file", "one cut short by")
def truncated_after_the_header(folder, raw):
    return edited(put(folder, raw), lambda b: b[:2880])


@broken("a whole FITS file", "one cut short by")
def compressed_image_cut_short(folder, raw):
    name = OBJECT.replace(".fit", ".fits.fz")
    return edited(put(folder, raw, name), lambda b: b[:-5760])


@broken("one FITS file and nothing more", "(a second file begins there)")
def doubled_file(folder, raw):
    return edited(put(folder, raw), lambda b: b + b)


@broken("one FITS file and nothing more", "bytes after its end")
def rubbish_after_the_end(folder, raw):
    return edited(put(folder, raw), lambda b: b + b"\xff" * 100)


@broken("a whole FITS file", "one cut short by")
def header_that_lies_about_more_rows(folder, raw):
    lie = (b"NAXIS2  =                  120", b"NAXIS2  =                  999")
    return edited(put(folder, raw), lambda b: b.replace(*lie))


@broken("one FITS file and nothing more", "bytes after its end")
def header_that_lies_about_fewer_rows(folder, raw):
    lie = (b"NAXIS2  =                  120", b"NAXIS2  =                   12")
    return edited(put(folder, raw), lambda b: b.replace(*lie))


@broken("a FITS header with BITPIX and NAXIS", "none ('BITPIX')")
def header_without_bitpix(folder, raw):
    return edited(put(folder, raw), lambda b: b.replace(b"BITPIX  =", b"BITPAX  ="))


@broken("a legible FITS header", "a damaged header 0")
def header_with_bytes_that_are_no_text(folder, raw):
    return edited(put(folder, raw), lambda b: b.replace(b"EXTEND  =", b"EXT\xff\xfeD  ="))


@broken("a whole FITS file", "one cut short in header 0")
def header_without_end(folder, raw):
    return edited(put(folder, raw), lambda b: b.replace(b"END     ", b"ENDS    "))


@broken("a FITS file with an image", "1 HDUs without one")
def no_image(folder, raw):
    fits.PrimaryHDU().writeto(folder / OBJECT)
    return folder / OBJECT


@broken("a FITS file with an image", "2 HDUs without one")
def a_table_and_no_image(folder, raw):
    table = fits.BinTableHDU.from_columns([fits.Column("a", "E", array=np.ones(3))])
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(folder / OBJECT)
    return folder / OBJECT


@broken("data that sum to DATASUM", "damaged data, HDU 0")
def bit_flipped_under_a_datasum(folder, raw):
    def flip(blob):
        blob[2880 + 7777] ^= 0x01

    return edited(put(folder, raw, checksum=True), flip)


@broken("data that sum to DATASUM", "damaged data, HDU 1")
def bit_flipped_in_a_compressed_image(folder, raw):
    def flip(blob):
        blob[-9000] ^= 0x01

    return edited(put(folder, raw, OBJECT.replace(".fit", ".fits.fz"), checksum=True), flip)


@broken("an HDU that agrees with its CHECKSUM", "HDU 0 damaged")
def header_changed_under_a_checksum(folder, raw):
    path = put(folder, raw, cards=[("EXPTIME", 600)], checksum=True)
    return edited(path, lambda b: b.replace(b" 600", b" 900"))


@broken("data that sum to DATASUM", "damaged data, HDU 0")
def zeroed_block_under_a_datasum(folder, raw):
    def zero(blob):
        blob[5760:8640] = bytes(2880)

    return edited(put(folder, raw, checksum=True), zero)


# --- the array


@broken("an array of shape (120, 96) (tiny)", "(96, 120), transposed")
def transposed(folder, raw):
    return put(folder, raw.T.copy())


@broken("an array of shape (120, 96) (tiny)", "(60, 96)")
def half_a_chip(folder, raw):
    return put(folder, raw[:60].copy())


@broken("an array of shape (120, 96) (tiny)", "the image area alone: the overscan is missing")
def overscan_cut_off(folder, raw):
    return put(folder, raw[:, :N_SPATIAL].copy())


@broken("an array of shape (120, 96) (tiny)", "(350, 2112), the shape of kast")
def another_instruments_array(folder, raw):
    return put(folder, np.full((350, 2112), 1000, np.uint16))


@broken("a two-dimensional image", "an image of shape (2, 120, 96)")
def cube(folder, raw):
    return put(folder, np.stack([raw, raw]))


@broken("a two-dimensional image", "an image of shape (11520,)")
def one_long_row(folder, raw):
    return put(folder, raw.ravel())


@broken("16-bit unsigned or 32-bit real pixels", "BITPIX 16, BZERO 0, BSCALE 1")
def signed_integers(folder, raw):
    return put(folder, raw.astype(np.int16))


@broken("16-bit unsigned or 32-bit real pixels", "BITPIX -64, BZERO 0, BSCALE 1")
def double_precision(folder, raw):
    return put(folder, raw.astype(np.float64))


@broken("16-bit unsigned or 32-bit real pixels", "BITPIX 8, BZERO 0, BSCALE 1")
def bytes_for_pixels(folder, raw):
    return put(folder, (raw % 256).astype(np.uint8))


@broken("16-bit unsigned or 32-bit real pixels", "int32")
def compressed_wide_integers(folder, raw):
    return put(folder, raw.astype(np.int32), OBJECT.replace(".fit", ".fits.fz"))


# --- its pixels


@broken("finite pixels", "3 that are NaN or infinite")
def nan(folder, raw):
    data = raw.astype(np.float32)
    data[7, 7:9], data[80, 3] = np.nan, np.inf
    return put(folder, data)


@broken("a signal in every part of the frame", "1440 pixels of 0 from (y, x) = (52, 8)")
def zeroed_block(folder, raw):
    return put(folder, with_block(raw, 0))


@broken("a signal in every part of the frame", "1440 pixels of 32768 from (y, x) = (52, 8)")
def zeroed_bytes(folder, raw):
    """Zero bytes of an unsigned image read as half the range."""
    return put(folder, with_block(raw, 32768))


@broken("a signal in every part of the frame", "of 0 from (y, x) = (0, 0)")
def first_rows_empty(folder, raw):
    return put(folder, with_block(raw, 0, start=0, length=300))


@broken("a signal in every part of the frame", "of 0 from (y, x) = (117")
def last_rows_empty(folder, raw):
    return put(folder, with_block(raw, 0, start=raw.size - 256, length=256))


@broken("a signal in every part of the frame", "11520 pixels of 0 from (y, x) = (0, 0)")
def nothing_but_zeros(folder, raw):
    return put(folder, np.zeros_like(raw))


@broken("a signal in every part of the frame", "of 0 from")
def zeroed_block_of_reals(folder, raw):
    return put(folder, with_block(raw.astype(np.float32), 0))


@broken("light below saturation", "100% of the pixels saturated")
def all_saturated(folder, raw):
    data = raw.copy()
    data[:, :N_SPATIAL] = 65535
    return put(folder, data)


@broken("light below saturation", "60% of the pixels saturated")
def mostly_saturated(folder, raw):
    data = raw.copy()
    data[:72, :N_SPATIAL] = 65535
    return put(folder, data)


@broken("a bias level above zero in the overscan of amplifier 0", "0 ADU")
def empty_overscan(folder, raw):
    data = raw.copy()
    data[:, N_SPATIAL:] = 0
    return put(folder, data)


@broken("a bias level above zero in the overscan of amplifier 1", "0 ADU")
def empty_overscan_of_one_amplifier(folder, raw):
    data = raw.copy()
    data[:, N_SPATIAL + 16 :] = 0
    return put(folder, data)


@broken("an overscan of noise below 45 ADU (amplifier 0)", "light, as in the image area")
def mirrored(folder, raw):
    bright = draw(np.random.default_rng(1), level=3000).counts
    return put(folder, bright[:, ::-1].copy())


@broken("an overscan of noise below 45 ADU (amplifier 0)", "light, as in the image area")
def overscan_replaced_by_data(folder, raw):
    data = draw(np.random.default_rng(1), level=3000).counts
    data[:, N_SPATIAL:] = data[:, :32]
    return put(folder, data)


# --- its name


@broken("a raw file name of tiny", "'image.fit'")
def a_name_that_says_nothing(folder, raw):
    return put(folder, raw, "image.fit")


@broken("a raw file name of tiny", "'sdR-b1-00123456.fit', a name of boss")
def a_name_of_another_instrument(folder, raw):
    return put(folder, raw, "sdR-b1-00123456.fit")


@broken("a raw frame", "a product (first letter 'p')")
def a_product(folder, raw):
    return put(folder, raw, "p" + OBJECT[1:])


@broken("the spid of the file's name (16) in its header", "SPID = 4")
def header_of_another_spectrograph(folder, raw):
    return put(folder, raw, cards=[("SPID", 4)])


@broken("the arm of the file's name (blue) in its header", "CCDARM = 'red'")
def header_of_the_other_arm(folder, raw):
    return put(folder, raw, cards=[("CCDARM", "red")])


@broken("the lmjm of the file's name (82496145) in its header", "LMJM = 82496175")
def header_of_another_exposure(folder, raw):
    return put(folder, raw, cards=[("LMJM", 82496175)])


@broken("the kind of the file's name (object) in its header", "OBS_TYPE = 'FLAT'")
def flat_called_object(folder, raw):
    return put(folder, raw, cards=[("OBS_TYPE", "FLAT")])
