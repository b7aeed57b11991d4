"""The page of pictures: self-contained, escaped, every image described and intact."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from filch.errors import DataError, UsageError
from filch.paper import Gallery, Row, Section, Spread, Table
from filch.paper.gallery import png
from tests.report.test_page import Page


def page() -> Gallery:
    rng = np.random.default_rng(0)
    images = [(f"digit <{i}>", rng.random((8, 8))) for i in range(5)]
    faces = [("a face", rng.random((112, 92)))]
    numbers = [("method", "queries"), ("filch", "449")]
    return Gallery(
        "Title & more", "What there is.", [Section("Digits", "Text.", images, 2, numbers), Section("Faces", "", faces)]
    )


def test_a_page_is_well_formed_escaped_and_needs_no_network() -> None:
    text = page().html()
    read = Page(text)
    assert "<0>" not in text and "Title &amp; more" in text
    assert len(read.all("li")) == 3 + 1  # five images by twos, and a face
    for image in read.all("img"):
        assert image["alt"] and str(image["src"]).startswith("data:image/png;base64,")
    assert not re.search(r'(src|href)="(?!data:|#|https://arxiv\.org)', text)
    assert {"449", "filch", "queries"} <= {part.strip() for part in read.text}


def test_small_images_are_enlarged_and_large_ones_are_not() -> None:
    digit, *_, face = Page(page().html()).all("img")
    assert (digit["width"], digit["height"], digit.get("class")) == ("72", "72", "enlarged")
    assert (face["width"], face["height"], face.get("class")) == ("92", "112", None)


def test_images_come_through_as_they_are() -> None:
    grey = np.linspace(-0.5, 1.5, 35).reshape(5, 7)
    read = matplotlib.image.imread(io.BytesIO(png(grey)))
    np.testing.assert_allclose(read, np.clip(grey, 0, 1), atol=0.5 / 255 + 1e-6)
    (data,) = re.findall(r"base64,([^\"]+)", Gallery("t", "", [Section("s", "", [("c", grey)])]).html())
    assert base64.b64decode(data) == png(grey)


@pytest.mark.parametrize("wrong", [np.zeros(3), np.zeros((0, 2)), np.array([[np.nan]])])
def test_what_is_no_image_is_told(wrong: np.ndarray) -> None:
    with pytest.raises(UsageError, match="an image is a matrix"):
        Gallery("t", "", [Section("s", "", [("c", wrong)])]).html()


def test_saving(tmp_path: Path) -> None:
    assert page().save(tmp_path / "page.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    with pytest.raises(DataError, match="choose another place"):
        page().save(tmp_path / "absent" / "page.html")


def test_a_table_with_pictures_and_measures_of_its_own() -> None:
    row = Row("digits", "kernel", "filch", "one-hot", 1, Spread(5, 6), extra={"image error": Spread(1e-9, 2e-9)})
    table = Table("figure2", "Title", (row, Row("digits", "kernel", "other", "one-hot", 1, Spread(1, 1))), page())
    assert "gallery" not in table.as_dict()
    assert '"image error"' in table.as_json()
