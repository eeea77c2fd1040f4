#!/usr/bin/env python3
"""Small image files of every kind that is read, with the pixels that Pillow reads from them, and hostile ones.

    python golden/data/make_images.py      writes crates/danlu-data/golden/images/

Expected pixels: `ImageOps.exif_transpose(image)`, then `convert("L")` where the file holds grey, else `convert("RGB")`. Where
Pillow cuts 16 bits to the high byte, the expectation is the rounded value (numpy, v / 257), as the module `decode` documents it.
"""
import io
import json
import pathlib
import struct
import zlib

import numpy as np
import PIL
from PIL import Image, ImageOps

target = pathlib.Path(__file__).resolve().parents[2] / "crates/danlu-data/golden/images"
H, W = 11, 17


def scene(channels, h=H, w=W):
    """Smooth with one edge, so that a JPEG keeps it nearly and any turn is seen."""
    y, x = np.mgrid[0:h, 0:w]
    planes = [x * 255 / (w - 1), y * 255 / (h - 1), (x + y) * 255 / (w + h - 2)]
    planes[0] = np.where((x < 5) & (y < 4), 20, planes[0])
    return np.stack(planes[:channels], -1).round().astype(np.uint8)


RGB = Image.fromarray(scene(3))
GRAY = Image.fromarray(scene(1)[:, :, 0])
cases = []


def bytes_of(image, kind, **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def write(name, data, expected=None, note=""):
    (target / name).write_bytes(data)
    case = {"file": name, "note": note}
    if expected is None:
        image = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
        gray = image.mode in ("1", "L", "LA", "I;16", "I")
        expected = np.asarray(image.convert("L" if gray else "RGB"))
    case["shape"] = [*expected.shape[:2], 1 if expected.ndim == 2 else 3]
    case["data"] = expected.reshape(-1).tolist()
    cases.append(case)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png16(pixels, color):
    """Pillow cannot write 16-bit RGB."""
    h, w = pixels.shape[:2]
    rows = b"".join(b"\0" + pixels[y].astype(">u2").tobytes() for y in range(h))
    header = struct.pack(">IIBBBBB", w, h, 16, color, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def exif(orientation, thumbnail=None):
    data = Image.Exif()
    data[0x0112] = orientation
    raw = data.tobytes()
    if thumbnail:
        # The second IFD holds a whole JPEG, with an end mark of its own.
        tiff = bytearray(raw[6:])
        little = tiff[:2] == b"II"
        e = "<" if little else ">"
        first = struct.unpack(e + "I", tiff[4:8])[0]
        entries = struct.unpack(e + "H", tiff[first:first + 2])[0]
        struct.pack_into(e + "I", tiff, first + 2 + 12 * entries, len(tiff))
        at = len(tiff) + 2 + 3 * 12 + 4
        tiff += struct.pack(e + "H", 3)
        tiff += struct.pack(e + "HHIHH", 0x0103, 3, 1, 6, 0)
        tiff += struct.pack(e + "HHII", 0x0201, 4, 1, at)
        tiff += struct.pack(e + "HHII", 0x0202, 4, 1, len(thumbnail))
        tiff += struct.pack(e + "I", 0) + thumbnail
        raw = raw[:6] + bytes(tiff)
    return raw


def main():
    target.mkdir(parents=True, exist_ok=True)
    for name in target.iterdir():
        name.unlink()
    best = {"quality": 95, "subsampling": 0}
    write("baseline.jpg", bytes_of(RGB, "JPEG", **best))
    write("subsampled.jpg", bytes_of(RGB, "JPEG", quality=90, subsampling=2))
    write("progressive.jpg", bytes_of(RGB, "JPEG", progressive=True, **best))
    write("gray.jpg", bytes_of(GRAY, "JPEG", quality=95))
    write("cmyk.jpg", bytes_of(RGB.convert("CMYK"), "JPEG", **best), note="Adobe, inverted")
    for orientation in range(1, 9):
        write(f"exif{orientation}.jpg", bytes_of(RGB, "JPEG", exif=exif(orientation), **best))
    write("exif6.png", bytes_of(RGB, "PNG", exif=exif(6)))
    write("exif8.webp", bytes_of(RGB, "WEBP", lossless=True, exif=exif(8)))
    write("rgb.png", bytes_of(RGB, "PNG"))
    write("gray.png", bytes_of(GRAY, "PNG"))
    alpha = Image.fromarray(np.dstack([scene(3), scene(1)[:, ::-1, 0]]))
    write("rgba.png", bytes_of(alpha, "PNG"), note="alpha dropped, not composited")
    la = Image.merge("LA", [GRAY, ImageOps.mirror(GRAY)])
    write("gray_alpha.png", bytes_of(la, "PNG"))
    palette = RGB.quantize(16)
    write("palette.png", bytes_of(palette, "PNG"), np.asarray(palette.convert("RGB")))
    write("palette_transparent.png", bytes_of(palette, "PNG", transparency=3), np.asarray(palette.convert("RGB")))
    write("one_bit.png", bytes_of(GRAY.convert("1"), "PNG"))
    g16 = np.linspace(0, 65535, H * W).round().astype(np.uint16).reshape(H, W)
    rounded = lambda a: ((a.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)
    write("gray16.png", png16(g16, 0), rounded(g16), "16 bits rounded to 8")
    c16 = np.dstack([g16, g16[::-1], g16[:, ::-1]])
    write("rgb16.png", png16(c16, 2), rounded(c16), "16 bits rounded to 8")
    write("rgb.bmp", bytes_of(RGB, "BMP"))
    write("palette.bmp", bytes_of(palette, "BMP"), np.asarray(palette.convert("RGB")))
    frames = [palette, RGB.transpose(Image.ROTATE_180).quantize(16)]
    write("animated.gif", bytes_of(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=50))
    write("lossless.webp", bytes_of(RGB, "WEBP", lossless=True))
    write("lossy.webp", bytes_of(RGB, "WEBP", quality=95))
    write("alpha.webp", bytes_of(alpha, "WEBP", lossless=True, exact=True))
    write("rgb.tif", bytes_of(RGB, "TIFF"))
    write("lzw.tif", bytes_of(GRAY, "TIFF", compression="tiff_lzw"))

    # Hostile files: no pixels are expected of them.
    hostile = {}
    whole = bytes_of(Image.fromarray(scene(3, 96, 128)), "JPEG", quality=90)
    sof = whole.index(b"\xff\xc0")
    bomb = bytearray(whole)
    struct.pack_into(">HH", bomb, sof + 5, 65000, 65000)
    hostile["bomb.jpg"] = (bytes(bomb), "more than `data.max_pixels`")
    zero = bytearray(whole)
    struct.pack_into(">HH", zero, sof + 5, 0, 0)
    hostile["no_size.jpg"] = (bytes(zero), "")
    png = bytearray(bytes_of(RGB, "PNG"))
    png[16:33] = png16(np.zeros((1, 1), np.uint16), 0)[16:33]
    struct.pack_into(">II", png, 16, 65000, 65000)
    struct.pack_into(">I", png, 29, zlib.crc32(bytes(png[12:29])))
    hostile["bomb.png"] = (bytes(png), "more than `data.max_pixels`")
    hostile["truncated.jpg"] = (whole[: len(whole) // 2], "ends too early")
    thumbnail = bytes_of(RGB, "JPEG", quality=60)
    with_thumbnail = bytes_of(Image.fromarray(scene(3, 96, 128)), "JPEG", quality=90, exif=exif(1, thumbnail))
    assert thumbnail in with_thumbnail
    start = with_thumbnail.index(b"\xff\xda", with_thumbnail.index(thumbnail) + len(thumbnail))
    hostile["truncated_with_thumbnail.jpg"] = (with_thumbnail[: (start + len(with_thumbnail)) // 2], "ends too early")
    middle = bytearray(whole)
    scan = whole.index(b"\xff\xda") + 14
    middle[scan + 100 : scan + 104] = b"\xff\xc4\x00\x02"  # a table where pixels should be
    hostile["damaged.jpg"] = (bytes(middle), "")
    hostile["truncated.png"] = (bytes_of(Image.fromarray(scene(3, 96, 128)), "PNG")[:-40], "")
    broken_crc = bytearray(bytes_of(RGB, "PNG"))
    broken_crc[60] ^= 0x55
    hostile["flipped_bits.png"] = (bytes(broken_crc), "")
    hostile["truncated.webp"] = (bytes_of(RGB, "WEBP", lossless=True)[:-20], "")
    hostile["truncated.gif"] = (bytes_of(palette, "GIF")[:60], "")
    hostile["truncated.tif"] = (bytes_of(RGB, "TIFF")[:100], "")
    hostile["truncated.bmp"] = (bytes_of(RGB, "BMP")[:80], "")
    hostile["only_magic.jpg"] = (b"\xff\xd8\xff", "")
    hostile["text.jpg"] = (b"this is text, whatever its name says\n", "not an image")
    hostile["empty.png"] = (b"", "the file is empty")
    for name, (data, _) in hostile.items():
        (target / ("hostile_" + name)).write_bytes(data)
    out = {
        "pillow": PIL.__version__,
        "images": cases,
        "hostile": [{"file": "hostile_" + name, "reason": reason} for name, (_, reason) in hostile.items()],
    }
    text = json.dumps(out, separators=(",", ":")).replace('{"file"', '\n{"file"')
    (target / "images.json").write_text(text + "\n")
    print(f"{len(cases)} images, {len(hostile)} hostile files, Pillow {PIL.__version__}")


main()
