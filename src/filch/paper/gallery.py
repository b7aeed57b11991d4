"""Pictures of a reproduction on one page: what was recovered, beside what it was recovered from.

The page is one HTML file that needs nothing else, not even a network; every image is a PNG inside it.
"""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from jinja2 import Environment, PackageLoader, StrictUndefined

from filch.errors import DataError, UsageError

Picture = tuple[str, npt.NDArray[np.float64]]
"""A caption, which also is read out where the image is not seen, and the image: (h, w), 0 black to 1 white."""
_LEAST = 72  # screen pixels of an image's longer side; smaller images are enlarged, each pixel a square


@dataclass(frozen=True, eq=False)
class Section:
    """A heading, a few sentences, and images in reading order.

    Parameters
    ----------
    heading, text : str
    images : sequence of (caption, array of shape (h, w) in 0 … 1)
        Values beyond 0 and 1 are shown as 0 and 1.
    group : int, default 1
        So many images at a time belong together and stay side by side.
    table : sequence of rows of text, optional
        The first row is the heading; shown below the images.
    charts : sequence of str
        SVG text, as `filch.paper.curves.draw` makes it, put on the page as it is; shown above the images.
    """

    heading: str
    text: str
    images: Sequence[Picture] = ()
    group: int = 1
    table: Sequence[Sequence[str]] = ()
    charts: Sequence[str] = ()


@dataclass(frozen=True, eq=False)
class Gallery:
    """A page of pictures.

    Parameters
    ----------
    title, intro : str
        Plain text; the intro says in a sentence or two what there is to see.
    sections : sequence of Section

    Examples
    --------
    >>> grey = np.full((8, 8), 0.5)
    >>> page = Gallery("Digits", "Two halves.", [Section("All", "", [("left", grey), ("right", grey)])])
    >>> page.html().count("<img")
    2
    """

    title: str
    intro: str
    sections: Sequence[Section] = field(default_factory=tuple)

    def html(self) -> str:
        """The page's text."""
        environment = Environment(
            loader=PackageLoader("filch", "report"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        return environment.get_template("gallery.html.jinja").render(page=self, image=_image, groups=_groups)

    def save(self, path: str | Path) -> Path:
        """Write the page.

        Raises
        ------
        DataError
            The file cannot be written.
        """
        path = Path(path)
        try:
            path.write_text(self.html(), encoding="utf-8")
        except OSError as error:
            raise DataError(f"cannot write {path}: {error.strerror}; choose another place") from error
        return path


def _groups(section: Section) -> list[Sequence[Picture]]:
    size = max(1, section.group)
    return [section.images[start : start + size] for start in range(0, len(section.images), size)]


def _image(array: npt.ArrayLike) -> dict[str, object]:
    """What the template needs of an image: its data, its size on the screen, and whether it is enlarged."""
    grey = np.asarray(array, dtype=np.float64)
    if grey.ndim != 2 or not grey.size or not np.isfinite(grey).all():
        raise UsageError(f"an image is a matrix of finite numbers, (h, w), got shape {grey.shape}")
    scale = max(1, round(_LEAST / max(grey.shape)))
    height, width = (scale * side for side in grey.shape)
    data = base64.b64encode(png(grey)).decode()
    return {"data": data, "width": width, "height": height, "enlarged": scale > 1}


def png(grey: npt.NDArray[np.float64]) -> bytes:
    """A grey image of shape (h, w), 0 black to 1 white, as a PNG file of 8 bits a pixel."""
    levels = np.round(np.clip(grey, 0.0, 1.0) * 255).astype(np.uint8)
    height, width = levels.shape
    lines = np.column_stack([np.zeros(height, dtype=np.uint8), levels])  # each line begins with its filter: none
    parts = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(lines.tobytes(), 9)),
        (b"IEND", b""),
    )
    chunks = (
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)
