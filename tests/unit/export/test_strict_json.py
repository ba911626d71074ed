"""`write_json` writes what Python's `json` reads back, and refuses what JSON has not."""

import json

import pytest

from mt3_model.export.strict_json import write_json


def test_a_document_is_read_back_as_it_was():
    document = {
        "times": [0.1 + 0.2, 1e-5, 1e22, 0.0, -0.0, 178.0],
        "numbers": [1, 10**30, True, None],
        "text": 'é "NaN" and Infinity \u2028\x01',
    }
    text = write_json(document)
    assert json.loads(text) == document
    assert "\n" not in text


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_a_number_that_json_has_not_is_refused(number):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json({"notes": [{"start_time": number}]})


def test_a_deep_document_is_written():
    deep = []
    for _ in range(500):
        deep = [deep]
    assert write_json(deep) == "[" * 501 + "]" * 501


def test_unpaired_surrogates_are_refused_where_they_are_encoded():
    with pytest.raises(UnicodeEncodeError):
        write_json({"name": "\ud800"}).encode()
