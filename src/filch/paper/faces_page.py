"""The page of pictures of `filch.paper.faces`: what was inverted, beside what the target was trained on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from filch.core.features import Rows
from filch.paper.gallery import Gallery, Picture, Section

Grey = npt.NDArray[np.float64]


def page(
    training: Rows,
    sources: Mapping[str, Rows],
    picture: Callable[[Rows], Grey],
    table: Sequence[Sequence[str]],
    price: int,
) -> Gallery:
    """Lay the pictures out.

    Parameters
    ----------
    training : (people, d)
        A picture of each person that the target was trained on.
    sources : mapping of str to rows
        What was inverted, one row a person, by the name of its source: first the target, then the copy. Sources with
        fewer rows speak of the first people only.
    picture : callable
        Turns a row into an image in 0 … 1.
    table : sequence of rows of text
        Who was found; the first row is the heading.
    price : int
        Queries of the dearest source for each person.
    """
    d, everyone, some = training.shape[1], len(training), min(map(len, sources.values()))
    target, copy = list(sources.values())[:2]
    apart = float(np.abs(target - copy).max()) / 2

    def images(count: int, chosen: Sequence[str]) -> list[Picture]:
        shown: list[Picture] = []
        for person in range(count):
            shown.append((f"person {person}", picture(training[person])))
            shown += [(name, picture(sources[name][person])) for name in chosen]
        return shown

    names = list(sources)
    few = (
        "From left to right: a picture that the target was trained on; what is inverted from the target itself; from "
        f"filch's copy, of {d + 1:,} queries; from a copy by the paper's method, of as many; through the oracle, "
        f"without a copy, with as many for all {everyone} people together; and with {price:,} for each person. "
        "A person is found if the picture is nearest to the mean of this person's own training pictures; by "
        f"correlation, if it correlates most with it. The last method was run for these {some} people only."
    )
    intro = (
        "A classifier that names people was copied through its answers alone; the copy was then asked what they look "
        f"like. Pixels inverted from the target and from the copy differ by at most {apart:.0e} of the way from black "
        "to white."
    )
    return Gallery(
        "Faces from a copied model",
        intro,
        [
            Section(f"The first {some} people", few, images(some, names), len(names) + 1, table),
            Section(f"All {everyone} people", "", images(everyone, names[:2]), 3),
        ],
    )
