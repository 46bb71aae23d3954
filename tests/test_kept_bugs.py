"""The list of kept bugs fits the code: whoever changes a line that is in it changes its bug there, too."""

from __future__ import annotations

import ast

import mutants
import pytest


@pytest.mark.parametrize("file", sorted({mutant.file for mutant in mutants.kept()}))
def test_each_bugs_line_is_there_once_and_what_takes_its_place_is_python(file: str) -> None:
    without = ast.dump(ast.parse((mutants.ROOT / file).read_text()))
    for mutant in mutants.kept():
        if mutant.file == file:
            assert ast.dump(ast.parse(mutant.apply(mutants.ROOT))) != without, mutant


def test_the_tests_that_it_names_exist() -> None:
    for words in {mutant.tests for mutant in mutants.kept()}:
        for word in words:
            path, _, name = word.partition("::")
            source = mutants.ROOT / path
            assert source.exists(), word
            assert not name or f"def {name}(" in source.read_text(), word


def test_the_whole_of_genlab_has_some() -> None:
    """Each of its folders, and each module that lies in none."""
    parts = {path.parent if path.parent.name != "genlab" else path for path in (mutants.ROOT / "genlab").rglob("*.py")}
    parts -= {mutants.ROOT / "genlab" / name for name in ("__init__.py", "errors.py")}
    kept = {mutants.ROOT / mutant.file for mutant in mutants.kept()}
    assert {part.name for part in parts if not any(part in (file, file.parent) for file in kept)} == set()
