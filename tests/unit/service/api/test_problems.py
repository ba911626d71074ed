"""The table of errors is complete."""

import re

import pytest

import mt3_model.errors
import service.errors
from service.api.problems import PROBLEMS

RAISED_BEFORE_ANY_REQUEST = {
    mt3_model.errors.CheckpointError,  # while loading: the state `failed`, never a response
    service.errors.DatabaseInUseError,  # at the start
    service.errors.StorageMismatchError,  # at the start, and in the sweep
    service.errors.ItemError,  # stored with the item, never a response
    mt3_model.errors.RecordError,  # a stored result that cannot be read is a bug
    mt3_model.errors.CodecError,  # a bug, because callers send no events
}


def leaves(root):
    children = root.__subclasses__()
    return [leaf for child in children for leaf in leaves(child)] if children else [root]


@pytest.mark.parametrize("root", [mt3_model.errors.MT3Error, service.errors.ServiceError])
def test_every_error_that_a_request_can_meet_has_a_problem(root):
    for leaf in leaves(root):
        if not leaf.__module__.startswith(("mt3_model.errors", "service.errors")):
            continue
        if not any(issubclass(leaf, kind) for kind in RAISED_BEFORE_ANY_REQUEST):
            assert leaf in PROBLEMS, leaf


def test_codes_are_distinct_slugs():
    codes = [problem.code for problem in PROBLEMS.values()]
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch("[a-z_]+", code) for code in codes)


def test_nothing_that_a_caller_sends_is_a_fault_of_ours():
    assert not [p for p in PROBLEMS.values() if p.status == 500]
