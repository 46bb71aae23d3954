from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import genlab.data
from genlab.data import NAMES, check_name
from genlab.data.paths import data_roots, download_root
from genlab.errors import GenlabError


@pytest.mark.parametrize("name", [*NAMES, "image_folder:faces", "image_folder:/a/b", "image_folder:a:b"])
def test_valid_names_pass(name: str) -> None:
    check_name(name)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("mnits", "did you mean mnist"),
        ("cifar", "did you mean cifar10"),
        ("fashion-mnist", "did you mean fashion_mnist"),
        ("imagenet22k!", "valid names|did you mean"),
        ("", "valid names: celeba, cifar10, digits"),
        ("image_folder:", "names no folder"),
        ("mnist:sub", "did you mean mnist"),
    ],
)
def test_wrong_names_are_refused_with_the_nearest(name: str, hint: str) -> None:
    with pytest.raises(GenlabError, match=hint):
        check_name(name)


def test_names_need_no_torch() -> None:
    code = "import sys, genlab.data; genlab.data.check_name('digits'); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=100)


def test_loading_a_cached_set_imports_nothing_heavy_but_torch() -> None:
    for file in Path(genlab.data.__path__[0]).rglob("*.py"):
        for node in ast.parse(file.read_text()).body:  # the module's own level: functions may import
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            heavy = {"torchvision", "sklearn", "ray", "mlflow"} & {module.split(".")[0] for module in modules}
            assert not heavy, f"{file.name} imports {heavy}"


def test_every_public_name_is_there() -> None:
    for name in genlab.data.__all__:
        assert getattr(genlab.data, name) is not None
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = genlab.data.no_such_name


def test_roots_in_order(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENLAB_DATA", str(tmp_path / "shared"))
    assert data_roots(tmp_path / "mine") == [tmp_path / "mine", tmp_path / "shared", cache / "data"]
    assert data_roots(None) == [tmp_path / "shared", cache / "data"]
    monkeypatch.delenv("GENLAB_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    assert data_roots(None)[-1] == tmp_path / "user" / "genlab" / "data"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert data_roots(None)[-1] == Path.home() / ".cache" / "genlab" / "data"


def test_downloads_go_to_a_given_root_that_can_be_written(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GENLAB_DATA", str(tmp_path))
    assert download_root(None) == cache / "data"
    assert download_root(tmp_path / "new" / "folder") == tmp_path / "new" / "folder"
    (tmp_path / "file").touch()
    assert download_root(tmp_path / "file") == cache / "data"
    monkeypatch.setattr("os.access", lambda *_: False)
    assert download_root(tmp_path) == cache / "data"
