"""What is told of an error: all of it, and in one line the author's own part."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import ray.cloudpickle
import torch
from torch import nn

import genlab
from genlab.errors import GenlabError, last_line, nearest, place, told

SCRIPT = """
import json
from genlab.errors import GenlabError

def loss(values):
    return inner(values)

def inner(values):
    return values["logits"].sum()

def in_a_library(values):
    return json.loads(values)

def in_torch(layer, values):
    return layer(values)

def in_genlab(fails, values):
    return fails(values)

def lines(values):
    raise RuntimeError("\\n  two tensors\\n  do not fit")

def silent(values):
    assert len(values) > 3

def sentence(values):
    raise GenlabError("there is no image 'a'")

def caused(values):
    try:
        inner(values)
    except KeyError as error:
        raise ValueError("no logits") from error
"""


PACKAGE: dict[str, Any] = {}  # installed on another machine
exec(compile("def call(value): raise ValueError(value)", "/opt/python/site-packages/pack.py", "exec"), PACKAGE)


def script(folder: Path, name: str = "vae.py", text: str = SCRIPT) -> dict[str, Any]:
    """What a script of the author's defines."""
    file = folder / "sweeps" / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    made: dict[str, Any] = {"__name__": "__main__", "__file__": str(file)}
    exec(compile(text, str(file), "exec"), made)
    return made


def raised(function: Any, *arguments: Any) -> BaseException:
    """By a call; its traceback begins there."""
    with pytest.raises(BaseException) as caught:
        function(*arguments)
    trace = caught.value.__traceback__
    assert trace is not None
    return caught.value.with_traceback(trace.tb_next)  # without this file's frame


@pytest.mark.parametrize(
    ("function", "arguments", "short"),
    [
        ("loss", ({},), "sweeps/vae.py:9, in inner: KeyError: 'logits'"),
        ("in_a_library", ("{",), "sweeps/vae.py:12, in in_a_library: JSONDecodeError: Expecting property name "),
        ("in_genlab", (PACKAGE["call"], "logits"), "sweeps/vae.py:18, in in_genlab: ValueError: logits"),
        ("in_torch", (nn.Linear(2, 1), torch.ones(1, 3)), "sweeps/vae.py:15, in in_torch: RuntimeError: "),
        ("in_genlab", (genlab.load, "/nowhere/at.all"), "sweeps/vae.py:18, in in_genlab: GenlabError: there is no "),
        ("lines", (0,), "sweeps/vae.py:21, in lines: RuntimeError: two tensors"),
        ("silent", ([],), "sweeps/vae.py:24, in silent: AssertionError"),
        ("sentence", (0,), "sweeps/vae.py:27, in sentence: GenlabError: there is no image 'a'"),
        ("caused", ({},), "sweeps/vae.py:33, in caused: ValueError: no logits"),
    ],
)
def test_the_last_line_names_the_authors_own_last_frame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str, arguments: Any, short: str
) -> None:
    own = script(tmp_path)
    monkeypatch.chdir(tmp_path)
    text = told(raised(own[function], *arguments))
    assert text.startswith("Traceback (most recent call last):")
    assert last_line(text).startswith(short) and "\n" not in short
    if function == "caused":
        assert "KeyError: 'logits'" in text and "direct cause" in text
    assert place(text) == ": ".join(short.split(": ")[:2])


def test_a_function_that_was_sent_without_its_file_is_the_authors_all_the_same(tmp_path: Path) -> None:
    own = script(tmp_path)
    sent = ray.cloudpickle.loads(ray.cloudpickle.dumps(own["loss"]))
    (tmp_path / "sweeps" / "vae.py").unlink()
    text = told(raised(sent, {}), str(tmp_path))
    assert last_line(text) == "sweeps/vae.py:9, in inner: KeyError: 'logits'"
    far = told(raised(sent, {}), "/somewhere/on/another/machine/altogether")
    assert last_line(far) == f"{tmp_path}/sweeps/vae.py:9, in inner: KeyError: 'logits'"


def test_where_no_frame_is_the_authors_a_sentence_stands_alone_and_all_else_says_what_it_is() -> None:
    refused = raised(genlab.load, "/nowhere/at.all")
    assert told(refused) == str(refused) == place(told(refused))
    assert told(ValueError("alone")) == "ValueError: alone" and told(RuntimeError()) == "RuntimeError"
    assert place("RuntimeError: one") == "RuntimeError: one"  # nothing says that another one comes from the same place


def test_a_sentence_that_an_error_of_the_authors_led_to_names_their_line(tmp_path: Path) -> None:
    own = script(tmp_path)

    def wrapped() -> None:
        try:
            own["loss"]({})
        except KeyError as error:
            raise GenlabError("the loss cannot be called") from error

    error = raised(wrapped)
    error.__traceback__ = None  # as if only genlab's own frames were there
    text = told(error, str(tmp_path))
    assert last_line(text) == "sweeps/vae.py:9, in inner: GenlabError: the loss cannot be called"
    assert "KeyError: 'logits'" in text
    error.__cause__ = error
    assert told(error) == "the loss cannot be called"


def test_of_a_script_that_is_no_python_the_line_is_named(tmp_path: Path) -> None:
    text = told(raised(script, tmp_path, "x.py", "\n\nlr = = 3\n"), str(tmp_path))
    assert last_line(text) == "sweeps/x.py:3, in <module>: SyntaxError: invalid syntax (x.py, line 3)"


def test_errors_of_one_place_are_alike_whatever_their_message(tmp_path: Path) -> None:
    own = script(tmp_path)
    texts = [told(raised(own["in_torch"], nn.Linear(n, 1), torch.ones(1, 9))) for n in (2, 3)]
    assert last_line(texts[0]) != last_line(texts[1]) and place(texts[0]) == place(texts[1])
    others = [told(raised(own["loss"], {})), told(raised(own["in_torch"], None, None))]
    assert len({place(text) for text in (*texts, *others)}) == 3
    # of genlab's or a package's code the last frame says where
    trace = 'Traceback\n  File "/a/genlab/loop.py", line 7, in step\n  File "/b/torch/x.py", line {}, in backward\n'
    first, second, other = (
        f"{trace.format(line)}RuntimeError: {message}" for line, message in ((3, 1), (3, 2), (4, 1))
    )
    assert place(first) == place(second) == "/b/torch/x.py:3, in backward: RuntimeError" != place(other)


def test_where_there_is_no_valid_name_that_is_said() -> None:
    assert nearest("energy", []) == "there is none"
    assert nearest("energy", ["kl"]) == "valid names: kl"
