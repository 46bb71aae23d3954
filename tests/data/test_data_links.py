"""A folder of images with links in it: what is one folder or one file on the disk counts once, and reading ends."""

from __future__ import annotations

import logging
import os
import shutil
import socket
from pathlib import Path

import pytest
from made_images import paint

from genlab.data import SPLITS, ImageSet, load
from genlab.errors import DataError


def values(image_set: ImageSet) -> list[int]:
    return image_set.images[:, 0, 4, 4].tolist()


def everything(root: Path) -> list[int]:
    """The values of all images of all splits, each set's labels being looked at on the way."""
    sets = [load(f"image_folder:{root}", split, image_size=10) for split in SPLITS]
    for each in sets:
        if each.labels is not None:
            assert [each.classes[label] for label in each.labels] == ["cat" if v < 100 else "dog" for v in values(each)]
    return sorted(value for each in sets for value in values(each))


ALL = [*range(12), *range(100, 112)]


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """Twelve images of `cat`, with values from 0 on, and twelve of `dog`, from 100 on, some in a folder `deep`."""
    for i in range(12):
        paint(tmp_path / "pets" / "cat" / f"{i}.png", i)
        paint(tmp_path / "pets" / "dog" / ("deep" if i % 2 else "") / f"{i}.png", 100 + i)
    return tmp_path / "pets"


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, "genlab")
    return caplog


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "links",
    [
        {"cat/up": ".."},
        {"cat/up": "..", "dog/up": ".."},
        {"cat/up": "..", "cat/up2": "..", "dog/deep/up": "../.."},
        {"cat/self": "."},
        {"dog/deep/above": "../../.."},
        {"cat/whole": "/"},
        {"again": "."},
        {"cat/elsewhere": "../../other", "dog/more": "../../other2"},  # which lead back
    ],
)
def test_a_link_that_leads_up_is_left_out_and_named(
    links: dict[str, str], pets: Path, said: pytest.LogCaptureFixture
) -> None:
    for name, folder in (("other", "pets"), ("other2", "pets/dog")):
        (pets.parent / name).mkdir()
        (pets.parent / name / "back").symlink_to(pets.parent / folder)
    for name, target in links.items():
        (pets / name).symlink_to(target)
    assert everything(pets) == ALL
    led_up = [name if "other" not in target else f"{name}/back" for name, target in links.items()]
    (line,) = [each for each in said.messages if "left out" in each]
    assert all(f"{pets / name} (a link to a folder that it lies in)" in line for name in led_up)
    assert f"{len(links)} left out" in line


def test_folders_and_files_elsewhere_are_followed(pets: Path, tmp_path: Path) -> None:
    """A usual way to put a data set together."""
    elsewhere = tmp_path / "elsewhere"
    shutil.move(pets / "cat", elsewhere / "cats")
    (pets / "cat").symlink_to(elsewhere / "cats")
    for i in range(12, 15):
        paint(elsewhere / "more" / f"{i}.png", i)
        (pets / "cat" / f"{i}.png").symlink_to(elsewhere / "more" / f"{i}.png")
    paint(elsewhere / "blob.png", 15).rename(elsewhere / "blob")  # as content stores name them
    (pets / "cat" / "15.png").symlink_to("../blob")
    assert everything(pets) == sorted([*ALL, 12, 13, 14, 15])


def test_what_two_links_lead_to_in_one_class_counts_once(pets: Path, said: pytest.LogCaptureFixture) -> None:
    (pets / "dog" / "a").symlink_to("deep")
    (pets / "cat" / "twin.png").symlink_to("3.png")
    paint(pets.parent / "15.png", 15)
    for name in ("15.png", "x.png"):
        (pets / "cat" / name).symlink_to(pets.parent / "15.png")
    assert everything(pets) == sorted([*ALL, 15])
    (line,) = [each for each in said.messages if "left out" in each]
    assert "3 left out" in line
    for name, known, kind in (("dog/a", "dog/deep", "folder"), ("cat/twin.png", "cat/3.png", "file")):
        assert f"{pets / name} (the same {kind} as {pets / known})" in line
    assert f"{pets / 'cat/x.png'} (the same file as {pets / 'cat/15.png'})" in line


@pytest.mark.parametrize(
    ("name", "target", "kind"),
    [
        ("bird", "cat", "folder"),
        ("bird", "dog/deep", "folder"),
        ("cat/more", "../dog", "folder"),
        ("cat/more", "../dog/deep", "folder"),
        ("cat/more.png", "../dog/0.png", "file"),
    ],
)
def test_one_folder_or_file_in_two_classes_is_refused(name: str, target: str, kind: str, pets: Path) -> None:
    (pets / name).symlink_to(target)
    both = f"{pets / name} and {(pets / name).resolve()} are the same {kind}"
    with pytest.raises(DataError, match=f"{both}, whose images would count twice: remove one"):
        load(f"image_folder:{pets}", "train")


def test_what_two_classes_link_to_elsewhere_is_refused(pets: Path, tmp_path: Path) -> None:
    paint(tmp_path / "both" / "1.png", 50)
    for name in ("cat", "dog"):
        (pets / name / "x.png").symlink_to(tmp_path / "both" / "1.png")
        (pets / name / "y").symlink_to(tmp_path / "both")
    with pytest.raises(DataError) as error:
        load(f"image_folder:{pets}", "train")
    assert f"{pets}/dog/y and {pets}/cat/y are the same folder" in str(error.value)


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize(
    ("name", "target"),
    [("test", "train"), ("val", "test2"), ("test2/cat/x.png", "../../train/cat/3.png"), ("val", "train/dog")],
)
def test_one_folder_or_file_in_two_splits_is_refused(
    name: str, target: str, split: str, pets: Path, tmp_path: Path
) -> None:
    """Whichever split is asked for: what is trained on would be what is tested on."""
    root = tmp_path / "root"
    shutil.copytree(pets, root / "train")
    paint(root / "test2" / "cat" / "0.png", 12)
    (root / name).symlink_to(target)
    if name != "test":
        (root / "test").symlink_to("test2")
    with pytest.raises(DataError, match=r"are the same (folder|file), .* count twice"):
        load(f"image_folder:{root}", split)


@pytest.mark.parametrize(
    ("link", "target"),
    [
        ("cat/gone.png", "/no/such/file.png"),
        ("cat/gone", "/no/such/folder"),
        ("bird", "/no/such/folder"),  # a class on a disk that is not there
        ("cat/loop.png", "loop.png"),
        ("validation", "/no/such/folder"),
    ],
)
def test_a_link_that_leads_nowhere_is_named(link: str, target: str, pets: Path, tmp_path: Path) -> None:
    if link == "validation":
        shutil.move(pets, tmp_path / "train")
        pets.mkdir()
        shutil.move(tmp_path / "train", pets / "train")
    (pets / link).symlink_to(target)
    with pytest.raises(DataError, match=f"cannot (follow the link|read the folder) {pets / link}: (No such|Too many)"):
        load(f"image_folder:{pets}", "train")


def test_many_links_that_lead_nowhere_are_counted(pets: Path) -> None:
    for i in range(14):
        (pets / "cat" / f"gone{i:02}.png").symlink_to("/no/such/file.png")
    with pytest.raises(DataError, match=r"^14 problems: .*gone00\.png.*gone09\.png.*; and 4 more$") as error:
        load(f"image_folder:{pets}", "train")
    assert "gone10.png" not in str(error.value)


def test_a_folder_that_cannot_be_read_is_named(pets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And not passed over as if it were empty."""
    scandir = os.scandir

    def refuse(path: str) -> object:
        if Path(path).name == "deep":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match=f"cannot read the folder {pets}/dog/deep: Permission denied"):
        load(f"image_folder:{pets}", "train")


@pytest.mark.timeout(60)
def test_what_is_no_regular_file_is_left_out_and_named(
    pets: Path, said: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(pets / "cat" / "pipe.png")
    (pets / "cat" / "zero.png").symlink_to("/dev/zero")
    monkeypatch.chdir(pets / "dog")  # the path of a socket must be short
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("socket.png")
        (pets / "cat" / "folder.png").mkdir()
        paint(pets / "cat" / "full.png" / "12.png", 12)
        assert everything(pets) == sorted([*ALL, 12])
    (line,) = [each for each in said.messages if "left out" in each]
    for name in ("cat/pipe.png", "cat/zero.png", "dog/socket.png"):
        assert f"{pets / name} (no regular file)" in line
    assert "3 left out" in line
