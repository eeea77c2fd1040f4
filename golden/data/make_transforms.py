#!/usr/bin/env python3
"""Golden values of transforms with a closed form: torchvision v2 on u8 tensors, Pillow for the resize.

    python golden/data/make_transforms.py      writes crates/danlu-data/golden/transforms.json
"""
import json
import pathlib

import PIL
import torch
import torchvision
import torchvision.transforms.v2 as v2
import torchvision.transforms.v2.functional as F
from PIL import Image
from torchvision.transforms import InterpolationMode

target = pathlib.Path(__file__).resolve().parents[2] / "crates/danlu-data/golden/transforms.json"


def flat(image):
    """[C, H, W] as [H, W, C], flat."""
    return image.permute(1, 2, 0).reshape(-1).tolist()


def main():
    generator = torch.Generator().manual_seed(1)
    color = torch.randint(0, 256, (3, 9, 13), generator=generator, dtype=torch.uint8)
    gray = torch.randint(0, 256, (1, 9, 13), generator=generator, dtype=torch.uint8)
    cases = []
    for image in (color, gray):
        c, h, w = image.shape
        out = {"channels": c, "height": h, "width": w, "image": flat(image), "ops": []}

        def case(op, value, result):
            shape = [result.shape[1], result.shape[2]]
            out["ops"].append({"op": op, "value": value, "shape": shape, "data": flat(result)})

        case("horizontal_flip", [], F.horizontal_flip(image))
        case("vertical_flip", [], F.vertical_flip(image))
        for k in (1, 2, 3):
            case("rot90", [k], torch.rot90(image, k, (1, 2)))
        padded = F.pad(image, [4, 4, 4, 4])
        for top, left in ((0, 0), (3, 8), (8, 1)):
            case("crop", [top - 4, left - 4], F.crop(padded, top, left, h, w))
        for factor in (0.0, 0.6, 1.0, 1.4):
            case("brightness", [factor], F.adjust_brightness(image, factor))
            case("contrast", [factor], F.adjust_contrast(image, factor))
            case("saturation", [factor], F.adjust_saturation(image, factor))
        for turn in (-0.25, -0.04, 0.1, 0.5):
            case("hue", [turn], F.adjust_hue(image, turn))
        for kernel, sigma in ((3, 0.4), (5, 1.3), (9, 2.0)):
            case("blur", [kernel, sigma], F.gaussian_blur(image, [kernel, kernel], [sigma, sigma]))
        for angle, shift, scale, shear in ((13, [0, 0], 1.0, [0, 0]), (-31, [2, -1], 0.8, [7, 0]), (5, [0, 0], 1.3, [-4, 11])):
            for mode in (InterpolationMode.NEAREST, InterpolationMode.BILINEAR):
                moved = F.affine(image, angle, shift, scale, shear, interpolation=mode)
                case(f"affine_{mode.value}", [angle, *shift, scale, *shear], moved)
        case("rotate", [17], F.rotate(image, 17, interpolation=InterpolationMode.BILINEAR))
        start, end = [[0, 0], [w - 1, 0], [w - 1, h - 1], [0, h - 1]], [[1, 2], [w - 2, 1], [w - 3, h - 2], [2, h - 1]]
        case("perspective", [v for point in start + end for v in point], F.perspective(image, start, end))
        if c == 3:
            case("grayscale", [], F.rgb_to_grayscale(image, num_output_channels=3))
        for factor in (0.0, 0.4, 1.7):
            case("sharpness", [factor], F.adjust_sharpness(image, factor))
        for bits in (1, 4, 7):
            case("posterize", [bits], F.posterize(image, bits))
        for threshold in (0.0, 100.3, 255.0):
            case("solarize", [threshold], F.solarize(image, threshold))
        case("autocontrast", [], F.autocontrast(image // 2 + 20))
        tiled = (image // 3).repeat(1, 8, 8)  # more than 255 pixels beside the most frequent, or nothing is done
        out["tiled"] = flat(tiled)
        case("equalize", [], F.equalize(tiled))
        # The lists of the automatic augmentations, as torchvision applies them.
        for name, auto in (("rand", v2.RandAugment()), ("trivial", v2.TrivialAugmentWide()), ("augmix", v2.AugMix())):
            space = auto._AUGMENTATION_SPACE
            for op in space:
                bins = 10 if name == "augmix" else 31
                make, _ = space[op]
                table = make(bins, h, w)
                # Not the last: a turn by 30 degrees puts pixels exactly between two.
                for step in (0, bins // 3, bins - 2):
                    magnitude = 0.0 if table is None else float(table[step])
                    moved = auto._apply_image_or_video_transform(
                        image, op, magnitude, interpolation=InterpolationMode.NEAREST, fill=auto._fill)
                    case(f"{name}:{op}", [step, magnitude], moved)
        array = image.permute(1, 2, 0).squeeze(-1).numpy()
        for name, method in (("bilinear", Image.BILINEAR), ("bicubic", Image.BICUBIC), ("lanczos", Image.LANCZOS)):
            for rows, columns in ((5, 6), (20, 30), (9, 4)):
                resized = torch.tensor(list(Image.fromarray(array).resize((columns, rows), method).tobytes()))
                case(name, [], resized.reshape(rows, columns, c).permute(2, 0, 1))
        cases.append(out)
    versions = {"torch": torch.__version__, "torchvision": torchvision.__version__, "pillow": PIL.__version__}
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps({"versions": versions, "cases": cases}, separators=(",", ":")) + "\n")
    print(target, target.stat().st_size, "bytes", versions)


if __name__ == "__main__":
    main()
