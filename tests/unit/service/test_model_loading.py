"""The loader waits for the early loading, and raises its error."""

import threading

import pytest

from mt3_model.errors import OptionError
from mt3_model.spec import MT3
from service.model_loading import begin_loading
from service.settings import Settings


def test_a_model_begun_early_is_what_the_loader_gives():
    load = begin_loading(Settings(backend="fake", slots=3))
    loaded = load(Settings())
    assert (loaded.spec, loaded.backend.slots) == (MT3, 3)
    assert load(Settings()) is loaded


def test_an_error_of_loading_is_raised_where_the_model_is_asked_for():
    load = begin_loading(Settings(model="mt4"))
    for _ in range(2):
        with pytest.raises(OptionError, match=r"^--model \(or MT3_MODEL\) is 'mt4'"):
            load(Settings())


def test_loading_does_not_hold_a_process_that_ends():
    begin_loading(Settings(backend="fake"))
    assert all(thread.daemon for thread in threading.enumerate() if thread.name == "early-loading")
