"""What is on a contact sheet: every text with its box, colour and size, and every area and line that was drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pytest
from PIL import Image, ImageColor, ImageDraw


class Text(NamedTuple):
    """A text, its place, its box of pixels (left, top, right, bottom), colour, and the size of its letters."""

    text: str
    at: tuple[float, float]
    box: tuple[float, float, float, float]
    color: tuple[int, ...]
    size: float


class Area(NamedTuple):
    """A rectangle or a line: its corners or ends, and its colour."""

    box: tuple[float, float, float, float]
    color: tuple[int, ...]


@dataclass
class Drawn:
    """All that was drawn, in its order."""

    texts: list[Text] = field(default_factory=list)
    areas: list[Area] = field(default_factory=list)
    lines: list[Area] = field(default_factory=list)
    pasted: list[tuple[int, int, int, int]] = field(default_factory=list)

    def of(self, text: str) -> Text:
        """The only text of these words."""
        (found,) = [each for each in self.texts if each.text == text]
        return found

    def starting(self, words: str) -> list[Text]:
        return [each for each in self.texts if each.text.startswith(words)]


def rgb(color: Any) -> tuple[int, ...]:
    return ImageColor.getrgb(color) if isinstance(color, str) else tuple(color)


def record(monkeypatch: pytest.MonkeyPatch) -> Drawn:
    """Write down from now on what is drawn on pictures. Pictures of figures are one area each."""
    drawn = Drawn()
    pen: Any = ImageDraw.ImageDraw
    real = {name: getattr(pen, name) for name in ("text", "multiline_text", "rectangle", "line")}
    paste = Image.Image.paste

    inside: list[str] = []  # Pillow draws several lines one by one

    def write(
        name: str, self: Any, at: Any, text: str, fill: Any = None, font: Any = None, *rest: Any, **more: Any
    ) -> None:
        if not inside:
            box = self.textbbox(at, text, font, *rest, **more)
            drawn.texts.append(Text(text, tuple(at), box, rgb(fill), font.size))
        inside.append(name)
        real[name](self, at, text, fill, font, *rest, **more)
        inside.pop()

    def area(name: str, kept: list[Area], self: Any, xy: Any, fill: Any = None, *rest: Any) -> None:
        kept.append(Area((*xy[0], *xy[1]), rgb(fill)))
        real[name](self, xy, fill, *rest)

    def put(self: Any, image: Any, place: Any = None, *rest: Any) -> None:
        drawn.pasted.append((*place, image.width, image.height))
        paste(self, image, place, *rest)

    for name in ("text", "multiline_text"):
        monkeypatch.setattr(pen, name, lambda self, *words, name=name, **more: write(name, self, *words, **more))
    for name, kept in (("rectangle", drawn.areas), ("line", drawn.lines)):
        monkeypatch.setattr(pen, name, lambda self, *xy, name=name, kept=kept: area(name, kept, self, *xy))
    monkeypatch.setattr(Image.Image, "paste", put)
    return drawn


def assert_apart(texts: Sequence[Text], width: int, height: int) -> None:
    """No text lies upon another, or outside of the picture."""
    for i, one in enumerate(texts):
        left, top, right, bottom = one.box
        assert left >= 0 and top >= 0 and right <= width and bottom <= height, one
        for other in texts[:i]:
            beside = right <= other.box[0] or other.box[2] <= left or bottom <= other.box[1] or other.box[3] <= top
            assert beside, (one, other)
