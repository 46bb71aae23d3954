"""The list of kept bugs fits the code, and stays short."""

from __future__ import annotations

import ast

import mutants
import pytest

MOST = 150  # bugs: each pins a line, which whoever changes it must change in the list as well

pytestmark = pytest.mark.slow  # it says nothing of genlab


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


def test_it_is_short() -> None:
    assert len(mutants.kept()) <= MOST
