"""States and their transitions."""

import pytest

from service.jobs.job import (
    ITEM_TRANSITIONS,
    JOB_TRANSITIONS,
    JobState,
    input_key,
    job_prefix,
    new_job_id,
    predecessors,
    result_key,
)


@pytest.mark.parametrize("transitions", [ITEM_TRANSITIONS, JOB_TRANSITIONS])
def test_every_state_has_its_changes_and_every_unfinished_one_can_end(transitions):
    assert set(transitions) == set(JobState)
    for state, after in transitions.items():
        assert state not in after
        if not state.is_final:
            assert JobState.CANCELED in after
    assert not transitions[JobState.CANCELED], "canceled is for good"


def test_finished_work_is_never_undone():
    assert not ITEM_TRANSITIONS[JobState.SUCCEEDED]
    assert predecessors(ITEM_TRANSITIONS, JobState.SUCCEEDED) == ("processing",)
    assert set(predecessors(JOB_TRANSITIONS, JobState.CANCELED)) == {"queued", "processing"}


def test_ids_cannot_be_guessed_and_keys_lie_under_their_job():
    ids = {new_job_id() for _ in range(100)}
    assert len(ids) == 100
    job_id = ids.pop()
    for key in (input_key(job_id, 12), result_key(job_id, 12)):
        assert key.startswith(f"{job_prefix(job_id)}/")
        assert key.endswith("/000012")
