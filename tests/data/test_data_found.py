"""What is said of a folder of images: what was found, and what was passed over, by names that can be shown."""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path

import pytest
from made_images import noise

from genlab.data import SPLITS, ImageSet, load
from genlab.errors import DataError


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> pytest.LogCaptureFixture:
    """As in a process of its own."""
    monkeypatch.setattr("genlab.data.sources.image_folder._said", set())
    caplog.set_level(logging.INFO, "genlab")
    return caplog


def load_all(root: Path) -> list[ImageSet]:
    return [load(f"image_folder:{root}", split, image_size=8) for split in SPLITS]


def test_a_line_says_what_was_found(
    tmp_path: Path, said: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once in a process, and also where the set comes from the cache."""
    for i in range(12):
        noise(tmp_path / "pets" / ("cat" if i < 8 else "dog") / f"{i}.png", i)
    for file in ("a.heic", "b.heic", "c.HEIC", "d.txt", "e", "f", ".hidden.heic", ".DS_Store", "photo.png~"):
        (tmp_path / "pets" / "cat" / file).write_text("x")
    load_all(tmp_path / "pets")
    load_all(tmp_path / "pets")
    line = (
        f"{tmp_path}/pets: 12 images in 2 classes (cat 8, dog 4); passed over by ending: 3 .heic, 2 without an ending, "
        "1 .png~, 1 .txt"
    )
    assert said.messages == [line]
    said.clear()
    monkeypatch.setattr("genlab.data.sources.image_folder._said", set())
    monkeypatch.setattr("genlab.data.image_set._loaded", {})
    monkeypatch.setattr("genlab.data.sources.image_files._decode", lambda *_: pytest.fail("decoded again"))
    load_all(tmp_path / "pets")
    assert said.messages == [line]


def test_every_folder_of_a_split_has_its_line_and_what_lies_beside_is_named(
    tmp_path: Path, said: pytest.LogCaptureFixture
) -> None:
    for i in range(12):
        noise(tmp_path / "set" / "train" / f"{i}.png", i)
    for i in range(3):
        noise(tmp_path / "set" / "test" / f"{i}.png", i)
    noise(tmp_path / "set" / "valid" / "0.png", 3)  # not a name that is known
    (tmp_path / "set" / "labels.csv").touch()
    load_all(tmp_path / "set")
    assert said.messages == [
        f"{tmp_path}/set: only train, test are read; passed over: labels.csv, valid",
        f"{tmp_path}/set/train: 12 images without classes",
        f"{tmp_path}/set/test: 3 images without classes",
    ]


def test_of_many_classes_the_first_ten_are_listed(tmp_path: Path, said: pytest.LogCaptureFixture) -> None:
    for i in range(12):
        noise(tmp_path / f"class{i:02}" / "0.png", i)
    load("image_folder", "train", image_size=8, data_root=tmp_path)
    (line,) = said.messages
    assert "12 images in 12 classes (class00 1, class01 1" in line and line.endswith("class09 1, and 2 more)")


def test_classes_whose_names_differ_in_case_alone_are_warned_of(tmp_path: Path, said: pytest.LogCaptureFixture) -> None:
    for i in range(10):
        noise(tmp_path / "set" / ("Cat", "cat", "dog")[i % 3] / f"{i}.png", i)
    assert load_all(tmp_path / "set")[0].classes == ("Cat", "cat", "dog")
    (warning,) = [each.getMessage() for each in said.records if each.levelno == logging.WARNING]
    assert f"{tmp_path}/set: Cat, cat are different classes" in warning


def test_splits_under_other_names_are_not_taken_for_classes(tmp_path: Path) -> None:
    for i in range(10):
        noise(tmp_path / ("Training", "Testing")[i % 2] / "cat" / f"{i}.png", i)
    with pytest.raises(DataError, match="the folders Testing and Training, which would be classes: name those of the"):
        load("image_folder", "train", data_root=tmp_path)


def test_folders_without_images_say_what_is_there_instead(tmp_path: Path) -> None:
    for i in range(12):
        noise(tmp_path / "pets" / "cat" / f"{i}.png", i)
    (tmp_path / "pets" / "dog").mkdir()
    (tmp_path / "pets" / "dog" / "0.heic").touch()
    with pytest.raises(
        DataError, match=r"pets/dog has no images; passed over by ending: 1 \.heic: fill this class folder or remove it"
    ):
        load("image_folder:pets", "train", data_root=tmp_path)
    with pytest.raises(DataError, match=r"pets/dog has no images .*; passed over by ending: 1 \.heic$"):
        load("image_folder:pets/dog", "train", data_root=tmp_path)


# ---- names


def test_names_that_are_not_utf8_work_and_are_shown_escaped(tmp_path: Path, said: pytest.LogCaptureFixture) -> None:
    for i in range(6):
        for kind in (b"caf\xe9", b"th\xe9"):
            noise(tmp_path / "set" / os.fsdecode(kind) / os.fsdecode(b"%d\xff.png" % i), i)
    sets = load_all(tmp_path / "set")
    assert sum(map(len, sets)) == 12 and sets[0].classes == (r"caf\xe9", r"th\xe9")
    assert r"2 classes (caf\xe9 6, th\xe9 6)" in said.messages[0]
    sets[0].describe().name.encode()  # what goes into records
    "".join(sets[0].classes).encode()
    for i in range(6):
        (tmp_path / "set" / os.fsdecode(b"caf\xe9") / os.fsdecode(b"%d\xff.png" % i)).write_bytes(b"no image")
    with pytest.raises(DataError) as error:
        load_all(tmp_path / "set")
    str(error.value).encode()
    assert re.search(r"set/caf\\xe9/\d\\xff\.png is not an image", str(error.value))


def test_control_characters_in_names_are_shown_escaped(tmp_path: Path, said: pytest.LogCaptureFixture) -> None:
    for i in range(12):
        noise(tmp_path / "a\nb" / ("one\x1b[2J", "two\u202e")[i % 2] / f"{i}\r.png", i)
    (tmp_path / "a\nb" / "one\x1b[2J" / "notes.t\x07t").touch()
    (tmp_path / "a\nb" / "two\u202e" / "up\n").symlink_to("..")
    load_all(tmp_path / "a\nb")
    noise(tmp_path / "a\nb" / "one\x1b[2J" / "0\r.png").write_bytes(b"")
    with pytest.raises(DataError) as error:
        load_all(tmp_path / "a\nb")
    assert all(each.isprintable() for each in [*said.messages, str(error.value)])
    assert r"a\nb/one\x1b[2J/0\r.png is empty" in str(error.value)
    assert r"one\x1b[2J 6, two\u202e 6); passed over by ending: 1 .t\x07t" in said.messages[0]


def test_two_classes_that_are_shown_alike_are_refused(tmp_path: Path) -> None:
    for i in range(12):
        noise(tmp_path / "set" / ("a\n", r"a\n")[i % 2] / f"{i}.png", i)
    with pytest.raises(DataError, match="two class folders whose names are shown alike"):
        load_all(tmp_path / "set")
