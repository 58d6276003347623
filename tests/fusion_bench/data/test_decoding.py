"""Every kind of image file is decoded to the right pixels or refused by name."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from fusion_bench.data.decoding import read_image, to_rgb
from fusion_bench.data.images import decoded_images, image_damage
from fusion_bench.errors import DataError

GREYS = np.arange(0, 256, 17, dtype=np.uint8).reshape(4, 4)
WIDE = np.array([[0, 255, 256, 257, 32768, 65535]], dtype=np.uint16)
COLOURS = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
ALPHA = np.array([[0, 255, 128, 51, 255, 0]] * 4, dtype=np.uint8)

Pixels = npt.NDArray[Any]


def saved(folder: Path, image: Image.Image, name: str = "x.png", **settings: Any) -> Path:
    path = folder / name
    image.save(path, **settings)
    return path


def grey(values: Pixels) -> Pixels:
    return np.repeat(values[..., None], 3, axis=2)


def on_white(colours: Pixels, alpha: Pixels) -> Pixels:
    share = alpha[..., None] / 255
    return colours * share + 255 * (1 - share)


def palette_image() -> Image.Image:
    """Return an image of the colours 0 to 3 (black, red, green, blue) in its rows."""
    image = Image.new("P", (2, 4))
    image.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255])
    image.putdata([0, 0, 1, 1, 2, 2, 3, 3])
    return image


def hues() -> tuple[Image.Image, Pixels]:
    image = Image.new("HSV", (3, 1))
    image.putdata([(0, 255, 255), (85, 255, 255), (170, 255, 255)])
    return image, np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]])


def lab() -> tuple[Image.Image, Pixels]:
    """Return white, grey L* = 50.2 and the red of sRGB in CIELAB (a and b are stored plus 128)."""
    image = Image.new("LAB", (3, 1))
    image.putdata([(255, 128, 128), (128, 128, 128), (138, 209, 198)])
    return image, np.array([[[255, 255, 255], [119, 119, 119], [255, 0, 0]]])


def premultiplied(mode: str) -> tuple[Image.Image, Pixels]:
    """Return one pixel of alpha 51 (a fifth), whose stored values are a fifth of its colour, on white."""
    values, colour = ((20, 51), [100] * 3) if mode == "La" else ((20, 0, 51, 51), [100, 0, 255])
    image = Image.new(mode, (1, 1), values)
    return image, on_white(np.array([[colour]]), np.array([[51]]))


def modes() -> dict[str, tuple[Image.Image, Pixels]]:
    """Return an image of every mode of Pillow but I and F, and its right pixels."""
    palette = palette_image()
    in_palette = np.array([[[0, 0, 0]] * 2, [[255, 0, 0]] * 2, [[0, 255, 0]] * 2, [[0, 0, 255]] * 2])
    half = np.full((4, 2), 51, dtype=np.uint8)
    with_alpha = palette.convert("PA")
    with_alpha.putalpha(Image.fromarray(half))
    ink = np.dstack([255 - COLOURS, np.zeros((4, 6), np.uint8)])
    wide = grey(WIDE >> 8)
    made = {
        "1": (Image.fromarray(GREYS > 100), grey(np.where(GREYS > 100, 255, 0))),
        "L": (Image.fromarray(GREYS), grey(GREYS)),
        "LA": (
            Image.fromarray(np.dstack([GREYS, GREYS[::-1]])),
            on_white(grey(GREYS), GREYS[::-1]),
        ),
        "P": (palette, in_palette),
        "PA": (with_alpha, on_white(in_palette, half)),
        "RGB": (Image.fromarray(COLOURS), COLOURS),
        "RGBA": (Image.fromarray(np.dstack([COLOURS, ALPHA])), on_white(COLOURS, ALPHA)),
        "RGBX": (Image.fromarray(COLOURS).convert("RGBX"), COLOURS),
        "CMYK": (Image.frombytes("CMYK", (6, 4), ink.tobytes()), COLOURS),
        "YCbCr": (Image.fromarray(COLOURS).convert("YCbCr"), COLOURS),
        "HSV": hues(),
        "LAB": lab(),
        "La": premultiplied("La"),
        "RGBa": premultiplied("RGBa"),
        "I;16": (Image.fromarray(WIDE), wide),
    }
    for mode, kind in (("I;16B", ">u2"), ("I;16L", "<u2"), ("I;16N", "=u2")):
        made[mode] = Image.frombytes(mode, WIDE.shape[::-1], WIDE.astype(kind).tobytes()), wide
    return made


@pytest.mark.parametrize("mode", sorted({*Image.MODES} - {"I", "F"}))
def test_every_mode_gives_its_colours(mode: str) -> None:
    image, expected = modes()[mode]
    assert image.mode == mode
    found = np.asarray(to_rgb(image)).astype(float)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= {"LAB": 6, "YCbCr": 3}.get(mode, 1)


def png(depth: int, colour: int, rows: Pixels, *chunks: tuple[bytes, bytes], width: int = 0) -> bytes:
    """Return a PNG written by hand: ``rows`` are the bytes of each row; ``width`` may be wrong."""
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    width = width or rows.shape[1] * 8 // (depth * channels)
    head = struct.pack(">IIBBBBB", width, len(rows), depth, colour, 0, 0, 0)
    data = b"".join(b"\0" + row.tobytes() for row in rows)
    listed = [(b"IHDR", head), *chunks, (b"IDAT", zlib.compress(data)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in listed
    )


@pytest.mark.parametrize(
    ("depth", "colour", "samples", "expected"),
    [
        (1, 0, [0b01000000], [0, 255, 0, 0, 0, 0, 0, 0]),
        (2, 0, [0b00011011], [0, 85, 170, 255]),
        (4, 0, [0x0F, 0x81], [0, 255, 136, 17]),
        (8, 0, [0, 7, 255], [0, 7, 255]),
        (16, 0, [0, 0, 1, 0, 128, 0, 255, 255], [0, 1, 128, 255]),
        (16, 2, [0, 0, 128, 0, 255, 255], [[0, 128, 255]]),
        (16, 4, [128, 0, 255, 255], [128]),
        (16, 4, [0, 0, 0, 0], [255]),
        (16, 6, [1, 0, 128, 0, 255, 255, 255, 255], [[1, 128, 255]]),
    ],
)
def test_png_of_every_bit_depth(
    tmp_path: Path, depth: int, colour: int, samples: list[int], expected: list[Any]
) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(png(depth, colour, np.array([samples], dtype=np.uint8)))
    wanted = np.array([expected])
    np.testing.assert_array_equal(read_image(path), wanted if wanted.ndim == 3 else grey(wanted))


def test_the_same_greys_of_16_bits_are_the_same_picture_in_grey_and_in_colour(tmp_path: Path) -> None:
    big = WIDE.astype(">u2")
    one, other = tmp_path / "grey.png", tmp_path / "colour.png"
    one.write_bytes(png(16, 0, big.view(np.uint8)))
    other.write_bytes(png(16, 2, np.repeat(big, 3, axis=1).view(np.uint8)))
    np.testing.assert_array_equal(read_image(one), read_image(other))


@pytest.mark.parametrize("name", ["x.jpg", "x.png", "x.webp", "x.gif", "x.bmp", "x.ppm", "x.tif"])
def test_a_file_of_every_format_is_read(tmp_path: Path, name: str) -> None:
    flat = Image.new("RGB", (16, 8), (200, 100, 50))
    found = read_image(saved(tmp_path, flat, name)).astype(int)
    assert found.shape == (8, 16, 3)
    assert np.abs(found - [200, 100, 50]).max() <= 4


def test_transparent_colours_of_palettes_greys_and_gifs_are_white(tmp_path: Path) -> None:
    for name in ("palette.png", "palette.gif"):
        path = saved(tmp_path, palette_image(), name, transparency=1)
        assert read_image(path)[:, 0].tolist() == [[0, 0, 0], [255] * 3, [0, 255, 0], [0, 0, 255]]
    path = saved(tmp_path, Image.fromarray(GREYS), "grey.png", transparency=17)
    assert read_image(path)[0, :3, 0].tolist() == [0, 255, 34]
    path = saved(tmp_path, Image.fromarray(COLOURS), "rgb.png", transparency=tuple(COLOURS[0, 0].tolist()))
    assert read_image(path)[0, :2].tolist() == [[255] * 3, COLOURS[0, 1].tolist()]


def test_a_cmyk_jpeg_of_adobe_keeps_its_colours_and_one_without_the_marker_is_refused(tmp_path: Path) -> None:
    red = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    path = saved(tmp_path, red, "x.jpg", quality=100)
    assert np.abs(read_image(path).astype(int) - [255, 0, 0]).max() <= 3
    content = path.read_bytes()
    start = content.index(b"\xff\xee")
    (length,) = struct.unpack_from(">H", content, start + 2)
    path.write_bytes(content[:start] + content[start + 2 + length :])
    with pytest.raises(DataError, match=r"x\.jpg is refused: it is a CMYK JPEG that does not say"):
        read_image(path)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["x.png", "x.tif", "x.webp"])
def test_exif_orientation_is_applied(tmp_path: Path, name: str, orientation: int) -> None:
    """The EXIF standard: 6 says that the first row of the file is the right side of the upright image, and so on."""
    upright = COLOURS
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    lossless = {"lossless": True} if name == "x.webp" else {}
    path = saved(tmp_path, Image.fromarray(np.ascontiguousarray(stored)), name, exif=exif, **lossless)
    np.testing.assert_array_equal(read_image(path), upright)


def test_unreadable_exif_and_unknown_orientations_leave_the_image_as_it_is(tmp_path: Path) -> None:
    image = Image.fromarray(COLOURS)
    exif = Image.Exif()
    exif[0x0112] = 77
    for number, content in enumerate((exif.tobytes(), b"Exif\0\0nothing of the kind")):
        path = saved(tmp_path, image, f"{number}.png", exif=content)
        np.testing.assert_array_equal(read_image(path), COLOURS)


@pytest.mark.parametrize(
    ("image", "name", "reason"),
    [
        (Image.new("I", (2, 2)), "x.tif", r"32-bit integers \(mode I\)"),
        (Image.fromarray(WIDE), "x.ppm", r"32-bit integers \(mode I\)"),
        (Image.new("F", (2, 2)), "x.tif", r"floats \(mode F\)"),
    ],
)
def test_numbers_without_black_and_white_are_refused(
    tmp_path: Path, image: Image.Image, name: str, reason: str
) -> None:
    path = saved(tmp_path, image, name)
    with pytest.raises(
        DataError, match=rf"{name} is refused: its pixels are {reason}.*; save it with 8 bits"
    ):
        read_image(path)
    assert image_damage(path).startswith(f"{path} is refused")
    with pytest.raises(DataError, match="is refused"):
        decoded_images([path], (2, 2), tmp_path / "cache", 1)


@pytest.mark.parametrize("name", ["x.gif", "x.png", "x.webp", "x.tif"])
def test_several_frames_are_refused(tmp_path: Path, name: str) -> None:
    first, second = Image.new("RGB", (4, 4), "red"), Image.new("RGB", (4, 4), "blue")
    path = saved(tmp_path, first, name, save_all=True, append_images=[second])
    with pytest.raises(DataError, match="it has 2 frames; keep the one that is meant"):
        read_image(path)


def test_a_photograph_with_a_preview_is_its_first_frame(tmp_path: Path) -> None:
    first, second = Image.new("RGB", (8, 8), "red"), Image.new("RGB", (8, 8), "blue")
    path = saved(tmp_path, first, "x.jpg", format="MPO", save_all=True, append_images=[second])
    assert np.abs(read_image(path).astype(int) - [254, 0, 0]).max() <= 2


@pytest.mark.parametrize(
    ("depth", "colour", "key", "row"),
    [
        (4, 0, [15], [0xF0]),
        (16, 0, [1], [0, 1, 0, 2]),
        (16, 2, [1, 1, 1], [0, 1, 0, 1, 0, 1]),
    ],
)
def test_a_transparent_colour_that_pillow_confuses_is_refused(
    tmp_path: Path, depth: int, colour: int, key: list[int], row: list[int]
) -> None:
    path = tmp_path / "x.png"
    chunk = (b"tRNS", b"".join(struct.pack(">H", value) for value in key))
    path.write_bytes(png(depth, colour, np.array([row], dtype=np.uint8), chunk))
    with pytest.raises(DataError, match=rf"it has {depth} bits per channel and one transparent colour"):
        read_image(path)


@pytest.mark.parametrize(("tag", "value"), [(262, 0), (258, 12)])
def test_greys_of_a_tiff_that_are_inverted_or_of_12_bits_are_refused(
    tmp_path: Path, tag: int, value: int
) -> None:
    path = saved(tmp_path, Image.fromarray(np.zeros((2, 2), np.uint16)), "x.tif")
    assert not read_image(path).any()
    content = bytearray(path.read_bytes())
    with Image.open(io.BytesIO(bytes(content))) as opened:
        directory = struct.unpack_from("<I", content, 4)[0]
        entries = len(opened.tag_v2)  # type: ignore[attr-defined]
    for entry in range(directory + 2, directory + 2 + 12 * entries, 12):
        if struct.unpack_from("<H", content, entry)[0] == tag:
            struct.pack_into("<H", content, entry + 8, value)
    path.write_bytes(content)
    with pytest.raises(DataError, match="its greys do not go from black at 0"):
        read_image(path)


@pytest.mark.parametrize("extra", [b"\0", b"x" * 1000, b"IEND\xaeB\x60\x82", b"\n"])
def test_bytes_after_the_end_of_a_png_are_no_damage_and_a_missing_end_is(
    tmp_path: Path, extra: bytes
) -> None:
    path = saved(tmp_path, Image.fromarray(COLOURS))
    whole = path.read_bytes()
    path.write_bytes(whole + extra)
    np.testing.assert_array_equal(read_image(path), COLOURS)
    for missing in (1, 4, 12):
        path.write_bytes(whole[:-missing])
        assert image_damage(path) == (
            f"{path} is damaged or not an image (the end of the file is missing); download or generate it again"
        )


def test_a_text_that_looks_like_the_end_does_not_hide_that_a_png_is_cut_off(tmp_path: Path) -> None:
    content = png(8, 0, GREYS, (b"tEXt", b"a\0IEND\xaeB\x60\x82"))
    path = tmp_path / "x.png"
    path.write_bytes(content[:-12])
    assert "the end of the file is missing" in image_damage(path)


def test_an_enormous_image_and_a_foreign_format_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(png(8, 0, GREYS, width=900_000_000))
    with pytest.raises(DataError, match=r"is refused: Image size \(3600000000 pixels\).*; reduce the image"):
        read_image(path)
    path = saved(tmp_path, Image.fromarray(COLOURS), "x.eps")
    with pytest.raises(DataError, match=r"x\.eps is damaged or not an image .none of the formats BMP, GIF"):
        read_image(path)


def test_boxes_on_an_image_of_another_size_are_refused(tmp_path: Path) -> None:
    """A photograph that was annotated lying: its boxes do not fit the upright image."""
    exif = Image.Exif()
    exif[0x0112] = 6
    path = saved(tmp_path, Image.fromarray(COLOURS), "x.png", exif=exif)
    cache, size = tmp_path / "cache", (6, 4)
    upright, lying = np.array([[6, 4]]), np.array([[4, 6]])
    assert decoded_images([path], size, cache, 1, annotated=upright).shape == (1, 6, 4, 3)
    assert not image_damage(path, upright[0])
    message = r"has 4 x 6 pixels \(width x height, upright\), but its annotations are made on 6 x 4"
    with pytest.raises(DataError, match=message):
        decoded_images([path], size, cache, 1, annotated=lying)
    assert "its annotations are made on 6 x 4" in image_damage(path, lying[0])
