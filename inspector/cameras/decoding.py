"""From an image file's bytes to pixels: one function for calibration, folder camera and every other reader.

A threshold only holds if the line sees what the calibration saw, so nothing else decodes image files.
"""

from __future__ import annotations

import cv2
import numpy as np

from inspector.domain.errors import PartError
from inspector.domain.frame import Pixels
from inspector.domain.verdict import Cause

#: Suffixes of the image files that are read, lower case.
IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})

# The sensor's own grid: an orientation tag would turn the image but not its mask or its region of interest.
_FLAGS = cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION


def decode_image(data: bytes) -> Pixels:
    """The pixels of an encoded image.

    Grey stays grey, colour becomes RGB, transparency is dropped, an EXIF orientation is not applied.

    Args:
        data: The whole file: PNG, JPEG, BMP, TIFF or WebP with 8 bits a channel.

    Returns:
        uint8, (H, W) grey or (H, W, 3) RGB, C-contiguous.

    Raises:
        PartError: FRAME_CORRUPT if the bytes are no image, end too early, or have more than 8 bits a channel
            (where the 8 bits lie that matter is a property of the camera, so they are not guessed).

    >>> data = cv2.imencode(".png", np.full((2, 3), 7, np.uint8))[1].tobytes()
    >>> decode_image(data).shape
    (2, 3)
    """
    if not data:
        raise PartError(Cause.FRAME_CORRUPT, "the image is empty (0 bytes)")
    if _ends_early(data):
        raise PartError(Cause.FRAME_CORRUPT, f"the image ends too early, after {len(data)} bytes")
    try:
        decoded = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), _FLAGS)
    except cv2.error as error:
        raise PartError(Cause.FRAME_CORRUPT, f"the image can't be decoded: {error}") from error
    if decoded is None:
        raise PartError(Cause.FRAME_CORRUPT, f"the {len(data)} bytes can't be decoded as an image")
    if decoded.dtype != np.uint8:
        bits = decoded.dtype.itemsize * 8
        raise PartError(Cause.FRAME_CORRUPT, f"the image has {bits} bits a channel; convert it to 8")
    if decoded.ndim == 3 and decoded.shape[2] == 3:
        decoded = cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)
    return np.ascontiguousarray(decoded, dtype=np.uint8)


def _ends_early(data: bytes) -> bool:
    """True for a JPEG or PNG without its end mark.

    Some releases of OpenCV fill the missing rest with grey and only print a warning.
    """
    if data.startswith(b"\xff\xd8"):
        # 0xff in coded data is always stuffed; a thumbnail's marks all lie before the last start of scan.
        return data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda")
    if data.startswith(b"\x89PNG"):
        return b"IEND" not in data[-4096:]
    return False
