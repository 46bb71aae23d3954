"""A script that is called as a package that genlab needs, or that has such a file beside it, is told so in a line."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from genlab import hidden

SCRIPT = "from genlab.sweep import Sweep\nprint('it runs')\n"
LOADED = (
    "torch",
    "ray.tune",
    "ray.train.torch",
    "mlflow.server",
    "optuna",
    "sklearn.manifold",
    "matplotlib.pyplot",
    "pdb",
)
OWN = ("sweep.command", "sweep.tuning", "training", "lanes.worker", "tracking.mlflow_runs", "cli.show", "report.curves")
OTHERWISE = {"pillow": "PIL", "scikit-learn": "sklearn"}  # what a distribution is imported as


def run(script: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *words, str(script)], capture_output=True, text=True, cwd=script.parent)


@pytest.mark.parametrize(
    ("script", "beside"),
    [
        ("torch.py", None),
        ("mlflow.py", None),
        ("random.py", None),
        ("typing.py", None),
        ("sweep.py", "numpy.py"),
        ("sweep.py", "logging.py"),
        ("sweep.py", "ray/__init__.py"),
    ],
)
def test_it_is_told_in_a_line(script: str, beside: str | None, tmp_path: Path) -> None:
    (tmp_path / script).write_text(SCRIPT)
    if beside is not None:
        (tmp_path / beside).parent.mkdir(exist_ok=True)
        (tmp_path / beside).touch()
    hiding = tmp_path / (beside or script).removesuffix("/__init__.py")
    done = run(tmp_path / script)
    told = f"{hiding} hides the module {hiding.stem}, which genlab needs: Python looks beside the script first. "
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"{told}Give it another name\n")


def test_a_link_to_a_script_is_looked_at_where_the_script_lies(tmp_path: Path) -> None:
    """There Python looks, too."""
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "sweep.py").write_text(SCRIPT)
    (tmp_path / "torch.py").symlink_to(tmp_path / "own" / "sweep.py")
    assert run(tmp_path / "torch.py").stdout == "it runs\n"
    (tmp_path / "own" / "numpy.py").touch()
    assert f"{tmp_path}/own/numpy.py hides the module numpy" in run(tmp_path / "torch.py").stderr


def test_what_hides_nothing_that_is_needed_may_be_there(tmp_path: Path) -> None:
    (tmp_path / "sweep.py").write_text(SCRIPT)
    for name in ("test.py", "this.py", "vae.py", "utils.py", "turtle.py", "numpy.txt", "torch.pyi", "random"):
        (tmp_path / name).touch()
    (tmp_path / "mlflow").mkdir()
    assert run(tmp_path / "sweep.py").stdout == "it runs\n"


def test_a_working_folder_is_no_scripts_folder(tmp_path: Path) -> None:
    """As for what `python -m` and a console script start, and for a notebook."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "sweep.py").write_text(SCRIPT)
    (tmp_path / "torch.py").touch()
    done = subprocess.run(
        [sys.executable, "elsewhere/sweep.py"], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert done.stdout == "it runs\n"
    module = [sys.executable, "-c", SCRIPT]
    assert subprocess.run(module, capture_output=True, text=True, cwd=tmp_path, check=True).stdout == "it runs\n"


def test_each_dependency_is_known_and_what_is_said_to_be_unused_is() -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    names = [re.split(r"[\[<>=]", each)[0] for each in project["dependencies"]]
    assert {OTHERWISE.get(name, name) for name in names} <= hidden.PACKAGES
    code = f"import sys, {', '.join((*LOADED, *(f'genlab.{name}' for name in OWN)))}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    used = {name.partition(".")[0] for name in done.stdout.splitlines()[-1].split()}
    assert "torch" in used and not used & hidden.UNUSED


@pytest.mark.parametrize(
    "name", ["wave", "trace", "pipes", "crypt", "mailbox", "venv", "this", "tkinter", "turtle", "cgi"]
)
def test_a_script_may_be_called_as_a_part_of_python_that_nobody_needs(name: str, tmp_path: Path) -> None:
    (tmp_path / f"{name}.py").touch()
    assert hidden.first_hiding(str(tmp_path)) is None


def test_of_several_files_the_first_by_name_is_told(tmp_path: Path) -> None:
    for name in ("zipp.py", "ray.py", "numpy.py"):
        (tmp_path / name).touch()
    assert hidden.first_hiding(str(tmp_path)) == (str(tmp_path / "numpy.py"), "numpy")


def test_each_package_that_a_file_could_hide_is_looked_for(tmp_path: Path) -> None:
    """Those that are imported by names of their own, and those that come with another one."""
    names = """PIL aiohttp alembic anyio attr attrs blinker cachetools certifi charset_normalizer click cloudpickle
        colorlog cryptography cuda cycler databricks dateutil fastapi filelock flask fsspec google graphene
        gunicorn huey idna jinja2 joblib json jsonschema mako markupsafe msgpack narwhals networkx
        opentelemetry packaging pandas plotly psutil pyarrow pydantic pygments pyparsing referencing
        requests rich scipy setuptools sklearn sqlalchemy sqlparse starlette string sympy threadpoolctl
        torchvision tqdm triton typing_extensions tyro urllib3 uvicorn werkzeug yaml zipp"""
    for name in names.split():
        (tmp_path / f"{name}.py").touch()
        assert hidden.first_hiding(str(tmp_path)) == (str(tmp_path / f"{name}.py"), name)
        (tmp_path / f"{name}.py").unlink()


def test_without_a_folder_to_look_in_first_nothing_is_hidden(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    main = sys.modules["__main__"]
    (tmp_path / "numpy.py").touch()
    monkeypatch.setattr(main, "__file__", str(tmp_path / "sweep.py"), raising=False)
    monkeypatch.setattr(sys, "path", [])
    hidden.check()
    monkeypatch.setattr(sys, "path", [str(tmp_path.parent), str(tmp_path)])
    hidden.check()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    with pytest.raises(SystemExit, match="2"):
        hidden.check()
