#!/usr/bin/env python3
"""Small archives of images, good and hostile.

    python golden/data/make_archives.py      writes crates/danlu-data/golden/archives/
"""
import io
import pathlib
import struct
import tarfile
import zipfile

import numpy as np
from PIL import Image

target = pathlib.Path(__file__).resolve().parents[2] / "crates/danlu-data/golden/archives"


def png(value):
    out = io.BytesIO()
    Image.fromarray(np.full((4, 4), value, np.uint8)).save(out, "PNG")
    return out.getvalue()


def tar(files, **options):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", **options) as archive:
        for name, data in files:
            info = tarfile.TarInfo(name)
            if data is None:
                info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
                archive.addfile(info)
            else:
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    return out.getvalue().rstrip(b"\0") + b"\0" * 1024


def zipped(files, method=zipfile.ZIP_DEFLATED):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in files:
            info = zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0))
            info.compress_type = method
            archive.writestr(info, data)
    return out.getvalue()


def write(name, data):
    (target / name).write_bytes(data)


def main():
    target.mkdir(parents=True, exist_ok=True)
    for path in target.iterdir():
        path.unlink()
    images = [(f"photos/{c}/{i}.png", png(10 * i + 100 * n)) for n, c in enumerate(("cat", "dog")) for i in range(6)]
    litter = [("photos/.DS_Store", b"x"), ("__MACOSX/photos/cat/._0.png", b"x"), ("photos/readme.txt", b"x")]
    write("classes.zip", zipped(images + litter))
    write("stored.zip", zipped(images, zipfile.ZIP_STORED))
    long = [(name.replace("photos/", "photos/" + "d" * 120 + "/"), data) for name, data in images]
    write("long_names.tar", tar(long, format=tarfile.GNU_FORMAT))
    write("pax_names.tar", tar([(n.replace("cat", "chat é"), d) for n, d in images], format=tarfile.PAX_FORMAT))
    parts = [(n.replace("photos", "train" if i % 3 else "test"), d) for i, (n, d) in enumerate(images)]
    write("parts.tar", tar(parts + [("train/cat/link.png", None), ("extra/x.png", png(1))]))
    for split, start in (("train", 0), ("val", 8)):
        shard = []
        for i in range(start, start + (8 if split == "train" else 4)):
            shard += [(f"{i:05}.png", png(i)), (f"{i:05}.cls", b"%d" % (i % 2 + 9)), (f"{i:05}.json", b"{}")]
        write(f"{split}-000000.tar", tar(shard + [(f"{split}99.png", png(0))]))

    good = tar(images)
    write("bad_cut.tar", good[: len(good) - 1024 - 40])
    liar = bytearray(good)
    liar[124:136] = b"77777777777\0"
    liar[148:156] = b"        "
    liar[148:156] = b"%06o\0 " % sum(liar[:512])
    write("bad_size.tar", bytes(liar))
    sums = bytearray(good)
    sums[0:6] = b"PHOTOS"
    write("bad_checksum.tar", bytes(sums))
    write("bad_empty.tar", b"\0" * 1024)
    write("bad_text.tar", b"this is no tar archive\n" * 40)
    write("bad_text.zip", b"this is no zip archive\n" * 40)
    whole = zipped(images)
    write("bad_cut.zip", whole[: len(whole) // 2])
    encrypted = bytearray(whole)
    for at in range(len(whole)):
        if whole[at : at + 4] == b"PK\3\4":
            encrypted[at + 6] |= 1
        if whole[at : at + 4] == b"PK\1\2":
            encrypted[at + 8] |= 1
    write("bad_encrypted.zip", bytes(encrypted))
    # 64 MiB of zeros behind a few kilobytes, one of them in each class; readable images beside it.
    bombs = [(f"photos/{c}/bomb.png", b"\0" * (64 << 20)) for c in ("cat",)]
    write("bomb.zip", zipped(images + bombs))
    inside = bytearray(whole)
    at = whole.index(b"PK\3\4", 10)
    start = at + 30 + struct.unpack_from("<H", whole, at + 26)[0]
    inside[start : start + 8] = b"\xff" * 8
    write("damaged_inside.zip", bytes(inside))
    write("flat.zip", zipped([(f"{i}.png", png(i)) for i in range(4)]))
    write("outside.zip", zipped([(n.replace("photos", "../../photos"), d) for n, d in images]))
    print(len(list(target.iterdir())), "archives")


main()
