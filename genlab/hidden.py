"""Whether a file beside the script that runs hides a package: Python looks there first. Imports nothing that could be
hidden itself."""

from __future__ import annotations

import os
import sys

# what genlab's dependencies import; a script that is called as any other package hides nothing that is needed
PACKAGES = frozenset(
    """aiohttp alembic annotated_doc annotated_types anyio attr attrs blinker cachetools certifi charset_normalizer
    click cloudpickle colorama colorful colorlog cryptography cuda cycler databricks dateutil docstring_parser
    fastapi filelock flask fontTools fsspec google graphene gunicorn huey idna importlib_metadata itsdangerous
    jinja2 joblib jsonschema jsonschema_specifications kiwisolver lightning_utilities mako markupsafe matplotlib
    mlflow mpl_toolkits mpmath msgpack msgspec narwhals networkx numpy opentelemetry optuna packaging pandas PIL plotly
    psutil pyarrow pydantic pydantic_core pygments pyparsing ray referencing requests rich rpds safetensors
    scipy setuptools sklearn sqlalchemy sqlparse starlette sympy threadpoolctl torch torchgen torchmetrics
    torchvision tqdm triton typing_extensions typing_inspection tyro urllib3 uvicorn wcwidth werkzeug yaml
    zipp""".split()  # noqa: SIM905
)
# of the standard library what none of them imports
UNUSED = frozenset(
    """antigravity cgi chunk crypt curses dbm doctest filecmp idlelib imp mailbox pipes pty sched shelve symtable syslog
    telnetlib this tkinter trace tty turtle turtledemo venv wave webbrowser xmlrpc""".split()  # noqa: SIM905
)


def check() -> None:
    """End a script that has such a file beside it, or is one, with a line that names it."""
    script = getattr(sys.modules["__main__"], "__file__", None)
    if script is None or not sys.path:
        return
    folder = os.path.dirname(os.path.realpath(script))
    if os.path.realpath(sys.path[0]) != folder:  # as in `python -m`: Python looks elsewhere first
        return
    if (found := first_hiding(folder)) is not None:
        path, name = found
        print(
            f"{path} hides the module {name}, which genlab needs: Python looks beside the script first. Give it "
            "another name",
            file=sys.stderr,
        )
        sys.exit(2)


def first_hiding(folder: str) -> tuple[str, str] | None:
    """A file in the folder, or a package, that hides one, by its path, and the name of what it hides; None if none
    does."""
    for entry in sorted(os.listdir(folder)):
        name, ending = os.path.splitext(entry)
        path = os.path.join(folder, entry)
        if not (name in PACKAGES or (name in sys.stdlib_module_names and name not in UNUSED)):
            continue
        if ending == ".py" or (not ending and os.path.isfile(os.path.join(path, "__init__.py"))):
            return path, name
    return None
