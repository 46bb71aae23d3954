"""What a download leaves behind, says of itself, and waits for. Torchvision is stood in for; no network is used."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torchvision.datasets

from genlab.data.sources import download
from genlab.errors import DataError

PART = "MNIST/raw/part"


def fake(monkeypatch: pytest.MonkeyPatch, write: Callable[[Path], None]) -> list[str]:
    """Torchvision's MNIST calls `write(folder)` instead; the list grows with every download."""
    calls: list[str] = []

    def mnist(root: str, download: bool) -> None:
        assert download
        calls.append(root)
        write(Path(root) / PART)

    monkeypatch.setattr(torchvision.datasets, "MNIST", mnist)
    return calls


def find(root: Path) -> Path:
    def look(folder: Path) -> Path | None:
        return folder / PART if (folder / PART).is_file() else None

    return download.find_or_download("mnist", "MNIST", root, look, [PART], [PART])


def small(file: Path) -> None:
    file.parent.mkdir(parents=True)
    file.write_bytes(b"pixels")


def dead(file: Path) -> None:
    small(file)
    raise ConnectionResetError("the line went dead")


def test_a_failed_download_leaves_a_folder_that_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake(monkeypatch, dead)
    (tmp_path / "mine").mkdir()
    with pytest.raises(DataError, match=f"put {PART} into the folder {tmp_path / 'mine'} .*the line went dead"):
        find(tmp_path / "mine")
    assert list((tmp_path / "mine").iterdir()) == []
    with pytest.raises(DataError):
        find(tmp_path / "mistyped")
    assert not (tmp_path / "mistyped").exists()


def test_a_line_that_says_nothing_ends_the_download_and_only_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[float | None] = []
    monkeypatch.setattr(download, "_SECONDS_WITHOUT_A_BYTE", 7.5)
    before = socket.getdefaulttimeout()
    for write in (small, dead):
        fake(monkeypatch, lambda file, write=write: seen.append(socket.getdefaulttimeout()) or write(file))
        with contextlib.suppress(DataError):
            find(tmp_path / write.__name__)
        assert socket.getdefaulttimeout() == before
    assert seen == [7.5, 7.5]


def test_a_long_download_tells_how_much_has_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(download, "_SECONDS_BETWEEN_NEWS", 0.01)
    told = "downloading MNIST: 3 MB so far"

    def write(file: Path) -> None:
        file.parent.mkdir(parents=True)
        file.write_bytes(bytes(3_000_000))
        until = time.monotonic() + 60
        while told not in caplog.messages and time.monotonic() < until:
            time.sleep(0.01)

    fake(monkeypatch, write)
    with caplog.at_level("INFO", "genlab"):
        assert find(tmp_path).stat().st_size == 3_000_000
    assert caplog.messages[0] == f"downloading MNIST into {tmp_path}" and told in caplog.messages
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".download")]


def test_what_another_process_downloaded_meanwhile_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It had the lock, and this one waited for it."""
    calls = fake(monkeypatch, small)

    @contextlib.contextmanager
    def late(path: Path) -> Iterator[None]:
        small(tmp_path / PART)
        yield

    monkeypatch.setattr(download, "locked", late)
    assert find(tmp_path) == tmp_path / PART and not calls


def test_a_download_without_the_files_wanted_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake(monkeypatch, lambda file: small(file.with_name("other")))
    with pytest.raises(DataError, match=f"mnist .*{PART}"):
        find(tmp_path)
