"""What is sealed stays JSON, and any altered character is noticed."""

from __future__ import annotations

import json

import pytest

from genlab.sealed import seal, unseal


@pytest.mark.parametrize("text", ['{"a": 1}', '{\n "a": {"b": [1, 2]},\n "c": "}"\n}', '{"ü": "\\u00fc", "x": NaN}'])
def test_what_is_sealed_is_found_again_and_stays_json(text: str) -> None:
    sealed = seal(text)
    assert json.loads(sealed).keys() == {*json.loads(text), "crc32"}
    assert str(unseal(sealed.encode())) == str(json.loads(text))  # NaN is not equal to itself
    for i in range(len(sealed)):
        for other in ("0", " ", "\n", '"'):
            altered = sealed[:i] + other + sealed[i + 1 :]
            if altered != sealed:
                with pytest.raises(ValueError):
                    unseal(altered.encode())


@pytest.mark.parametrize(
    "text", ['{"a": 1}', "[1]", "[" * 200_000 + "]" * 200_000, '{"a": ' * 50_000 + "1" + "}" * 50_000]
)
def test_what_was_not_sealed_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        unseal(text.encode())
