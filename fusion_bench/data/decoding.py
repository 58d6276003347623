"""The one decoder of image files, to 8-bit RGB: training, `data verify`, figures and published pictures use it.

Pillow's ``convert("RGB")`` gives wrong pixels for several kinds of file without an error. They are decoded as
follows, or refused with a sentence that names the reason:

- 16 bits per channel: the high byte of each channel, as in Pillow's own reader of 16-bit colour and in libpng. Pillow
  clips 16-bit grey to 255 instead.
- 32-bit integers and floats: refused, because no range of values is defined for them.
- Transparency: drawn on white. Pillow shows the hidden colours of transparent pixels, which are usually black.
- EXIF orientation: applied. People described and annotated the image that a viewer shows; OpenCV, detectron2 and YOLO
  apply it too. COCO's files carry none.
- CMYK: converted without a colour profile. In a JPEG the inks are inverted if it has Adobe's marker, which also says
  so; a JPEG without the marker is refused.
- Several frames (animated GIF, PNG or WebP; pages of a TIFF): refused. Of an MPO, the format of some cameras, the
  first frame is the photograph.
- Colour profiles and gamma are ignored, as in all published loaders.
"""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from fusion_bench.errors import DataError

DECODING = 2
"""The version of the rules above; a change of pixels needs a new number, which is part of the keys of caches."""
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""The formats that are read; some other readers of Pillow start programs or leave the range of values undefined."""

_PNG_START, _PNG_BIT_DEPTH = b"\x89PNG\r\n\x1a\n", 24
_TIFF_BITS, _TIFF_PHOTOMETRIC, _TIFF_BLACK_IS_ZERO = 258, 262, 1
_EXIF_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""The operation that turns an image upright, by its EXIF orientation; 1 is upright."""
_DAMAGE_ERRORS = (OSError, SyntaxError, ValueError, OverflowError, MemoryError, struct.error, zlib.error)
"""The exceptions of Pillow for a file that is not a complete image; they depend on format and damage."""
_TOO_LARGE = (Image.DecompressionBombError, Image.DecompressionBombWarning)


def read_image(path: Path) -> npt.NDArray[np.uint8]:
    """Return an image as ``[H, W, 3]`` uint8, upright, at the size of its file.

    Raises:
        DataError: as for `open_image`.
    """
    return np.asarray(open_image(path))


def open_image(path: Path) -> Image.Image:
    """Return an image in mode RGB, upright, at the size of its file; the module's docstring gives the rules.

    Measured on one core, in images per second: Pillow 13 decodes 595 CLEVR-like PNGs of 240x160, 98 PNGs of 480x320
    with alpha, and 172 JPEGs of 640x512; torchvision 0.29 decodes 629, 128 and 261; simplejpeg 268 of the JPEGs. All
    give the same pixels. Including resizing, torchvision would save a fifth of work that is done once per data set;
    but it does not report what is wrong with a damaged file, and its decoders are deprecated.

    Raises:
        DataError: the file is missing, damaged, not an image, or of a kind whose pixels are not defined; the message
            names the file.
    """
    data = read_bytes(path)
    try:
        if data.startswith(_PNG_START):
            _require_png_end(data)
        with Image.open(BytesIO(data), formats=FORMATS) as image:
            reason = refusal(image, data)
            if not reason:
                image.load()
                return _turned(to_rgb(image), image)
    except _TOO_LARGE as error:
        raise DataError(f"{path} is refused: {error}; reduce the image") from error
    except _DAMAGE_ERRORS as error:
        unknown = isinstance(error, UnidentifiedImageError)
        problem = f"none of the formats {', '.join(FORMATS)}" if unknown else error
        raise DataError(
            f"{path} is damaged or not an image ({problem}); download or generate it again"
        ) from error
    raise DataError(f"{path} is refused: {reason}")


def read_bytes(path: Path) -> bytes:
    """Return the content of an image file.

    Raises:
        DataError: the file cannot be read; the message names it.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read the image {path}: {error.strerror}") from error


def refusal(image: Image.Image, data: bytes) -> str:
    """Return why the pixels of an opened image are not defined; empty if they are.

    Args:
        image: the image, opened from ``data`` and not yet loaded.
        data: the content of its file.
    """
    if image.mode in {"I", "F"}:
        kind = "32-bit integers" if image.mode == "I" else "floats"
        return f"its pixels are {kind} (mode {image.mode}), which define no black and no white; save it with 8 bits"
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":
        return f"it has {frames} frames; keep the one that is meant"
    if image.mode == "CMYK" and image.format in {"JPEG", "MPO"} and "adobe" not in image.info:
        return "it is a CMYK JPEG that does not say whether its inks are inverted (no Adobe marker); save it as RGB"
    if image.format == "PNG" and image.mode != "P" and "transparency" in image.info:
        depth = data[_PNG_BIT_DEPTH]
        if depth != 8:  # Pillow compares the colour with pixels of 8 bits
            return f"it has {depth} bits per channel and one transparent colour; save it with 8 bits"
    if image.mode.startswith("I;16") and image.format == "TIFF":
        tags = image.tag_v2  # type: ignore[attr-defined]
        if tags.get(_TIFF_BITS) != (16,) or tags.get(_TIFF_PHOTOMETRIC) != _TIFF_BLACK_IS_ZERO:
            return "its greys do not go from black at 0 to white at 65535; save it with 8 bits"
    return ""


def to_rgb(image: Image.Image) -> Image.Image:
    """Return an image of any mode but I and F in mode RGB, transparency drawn on white."""
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode == "La":  # grey multiplied by alpha
        image = image.convert("LA")
    if not image.has_transparency_data:
        return image.convert("RGB")
    image = image.convert("RGBA")
    if image.getchannel("A").getextrema() == (255, 255):
        return image.convert("RGB")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


def _turned(rgb: Image.Image, image: Image.Image) -> Image.Image:
    """Return ``rgb`` turned by the EXIF orientation of the ``image`` that it was made from."""
    try:
        orientation = image.getexif().get(_EXIF_ORIENTATION)
    except _DAMAGE_ERRORS:  # the pixels are whole, and viewers ignore unreadable EXIF
        return rgb
    turn = _UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    return rgb if turn is None else rgb.transpose(turn)


def _require_png_end(data: bytes) -> None:
    """Check that a PNG has its last chunk; bytes after it are allowed.

    Pillow accepts a PNG that is truncated after its last pixel, but such a file is not the published one.

    Raises:
        OSError: the file ends before the chunk IEND.
    """
    position = len(_PNG_START)
    while position + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        position += 12 + length  # length, kind, content, checksum
        if kind == b"IEND" and position <= len(data):
            return
    raise OSError("the end of the file is missing")
