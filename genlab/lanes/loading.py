"""A task on its way to the lanes: pickled by the driver, and loaded in a clean process before any lane starts."""

from __future__ import annotations

import ast
import importlib
import inspect
import io
import json
import os
import re
import subprocess
import sys
import types
from collections.abc import Iterator, Mapping
from typing import Any

from genlab.errors import GenlabError
from genlab.tasks import Config, Task, implementation

# what pickle says of a name that only the script has: there `__main__` is that process's own
MISSING = re.compile(r"Can't get attribute '([^']+)' on <module '(?:__main__|genlab\.lanes\.rehearsal)'")


def pickled(kind: type[Config], task: type[Task] | None) -> bytes:
    """A config's class and a task's as a lane gets them: by name, or whole where a script defines them.

    Raises:
        GenlabError: they refer to something that cannot be sent; the message names it and its line in the script.
    """
    try:
        return _dumped((kind, task))
    except Exception as error:  # whatever the objects raise
        culprit = _culprit(task or kind) or _culprit(kind)
        what = f"{culprit}, to which it refers," if culprit else "what it refers to"
        raise GenlabError(
            f"{(task or kind).__name__} cannot be sent to the lanes, since {what} cannot be pickled: {error}. Make "
            "that where it is used, or define it in a module that is installed"
        ) from error


def loaded(code: bytes) -> tuple[type[Config], type[Task]]:
    """The config's class and the task's that `pickled` sent. May raise whatever the author's code raises."""
    import ray.cloudpickle

    kind, task = ray.cloudpickle.loads(code)
    return kind, task or implementation(kind)


def _dumped(value: Any) -> bytes:
    import ray.cloudpickle

    cloudpickle: Any = ray.cloudpickle

    class Pickler(cloudpickle.CloudPickler):
        """A function that names `torch` and `classes` takes `torch.classes` along, which stands for a module but is
        of a class of its own: it goes by its name, too."""

        def reducer_override(self, obj: Any) -> Any:
            if isinstance(obj, types.ModuleType) and type(obj) is not types.ModuleType:
                for name, module in list(sys.modules.items()):
                    if module is obj:
                        return importlib.import_module, (name,)
            return super().reducer_override(obj)

    written = io.BytesIO()
    Pickler(written).dump(value)
    return written.getvalue()


def _culprit(owner: Any) -> str | None:
    """What in the script keeps a class or a function of it from being sent: its name, with the line that makes it."""
    seen: set[int] = set()

    def search(value: Any) -> str | None:
        if id(value) in seen:
            return None
        seen.add(id(value))
        for function in _functions(value):
            around = {**function.__globals__, **inspect.getclosurevars(function).nonlocals}
            names = {*_names(function.__code__), *function.__code__.co_freevars} & around.keys()
            for name in sorted(names):  # of several the same one each time
                other = around[name]
                if id(other) in seen:  # as `__class__` is, where a method says super()
                    continue
                try:
                    _dumped(other)
                except Exception:
                    return search(other) or place(name)
        return None

    return search(owner)


def _functions(value: Any) -> Iterator[types.FunctionType]:
    """A function itself; a class's own, and those of the classes below it that the script defines."""
    if isinstance(value, type):
        for one in value.__mro__:
            if one.__module__ == value.__module__:
                yield from (own for own in vars(one).values() if isinstance(own, types.FunctionType))
    elif isinstance(value, types.FunctionType):
        yield value


def _names(code: types.CodeType) -> set[str]:
    """Names that a function looks up, functions inside of it included."""
    inside = [constant for constant in code.co_consts if isinstance(constant, types.CodeType)]
    return {*code.co_names}.union(*map(_names, inside))


def place(name: str) -> str:
    """`name` and where the script that runs makes it, as in `cached (sweeps/vae.py:12)`; `name` alone elsewhere."""
    script = getattr(sys.modules["__main__"], "__file__", None)
    if script is None or not os.path.isfile(script):
        return name
    with open(script, encoding="utf-8") as file:
        tree = ast.parse(file.read())
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            made, line = {node.name}, min([node.lineno, *(each.lineno for each in node.decorator_list)])
        else:
            made, line = {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and _is_bound(n)}, node.lineno
        if name in made:
            return f"{name} ({os.path.relpath(script)}:{line})"
    return name


def _is_bound(name: ast.Name) -> bool:
    return isinstance(name.ctx, ast.Store)


class Elsewhere:
    """A process that begins as a lane's does: it knows of the script only what it is sent.

    It loads the task and, if it is told to, trains one step of a trial. It works while the driver does something else.
    """

    def __init__(self, code: bytes, order: Mapping[str, Any]) -> None:
        """
        Args:
            code: what `pickled` made.
            order: for `genlab.lanes.rehearsal`; JSON.
        """
        self.process = subprocess.Popen(
            [sys.executable, "-m", "genlab.lanes.rehearsal"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is the driver's
        )
        assert self.process.stdin is not None
        header = json.dumps({**order, "path": sys.path, "driver": os.getpid()}).encode()
        try:
            self.process.stdin.write(header + b"\n" + code)
            self.process.stdin.close()
        except BrokenPipeError:  # it has died: `answer` tells
            pass

    def answer(self) -> dict[str, Any]:
        """What it found; waits for it.

        Raises:
            GenlabError: the task cannot be loaded, or its first step failed.
        """
        assert self.process.stdout is not None
        try:
            said = self.process.stdout.read()
            code = self.process.wait()
        finally:
            self.stop()
        try:
            answer = json.loads(said.splitlines()[-1])
        except (IndexError, ValueError):
            raise GenlabError(
                f"the task could not be tried in a process of its own, which ended with code {code}: its last words "
                "are above"
            ) from None
        if "missing" in answer:
            raise GenlabError(
                f"a lane cannot load the task: {place(answer['missing'])} stands in the script alone, which lanes do "
                "not have, and goes to them by its name, as what a decorator such as lru_cache made does. Make it "
                "inside of the function that uses it, or move it to a module that is installed"
            )
        if "problem" in answer:
            raise GenlabError(answer["problem"])
        return answer

    def stop(self) -> None:
        """End it, whatever it does."""
        self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


def missing(error: BaseException) -> str | None:
    """The name of the script that loading the task failed to find, if that is why it failed."""
    found = MISSING.search(str(error))
    return found.group(1).partition(".")[0] if found and isinstance(error, AttributeError) else None
