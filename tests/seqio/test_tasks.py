"""A registered SeqIO task has features of the model's shapes and scores predictions."""

import numpy as np
import pytest
import seqio
import tensorflow as tf

from mt3_model import spec
from mt3_model.notes.trimming import trim_overlapping_notes
from mt3_model.seqio_tasks.tasks import add_transcription_task, sequence_length
from tests.seqio.recordings import piece, source

pytestmark = pytest.mark.seqio


@pytest.fixture(scope="module")
def task() -> seqio.Task:
    return add_transcription_task(
        "synthetic_notes_ties", source(trim_overlapping_notes(piece()), count=2), spec.MT3
    )


@pytest.fixture(scope="module")
def examples(task: seqio.Task) -> list[dict[str, np.ndarray]]:
    dataset = task.get_dataset(sequence_length(spec.MT3), split="eval", shuffle=False)
    return list(dataset.as_numpy_iterator())


def test_features_have_the_models_shapes(examples: list[dict[str, np.ndarray]]) -> None:
    # Two recordings of 626 frames: 256, 256 and 114 each.
    assert [example["inputs"].shape for example in examples] == [
        (256, 512),
        (256, 512),
        (114, 512),
    ] * 2
    assert {example["inputs"].dtype for example in examples} == {np.dtype(np.float32)}
    for example in examples:
        assert example["targets"].dtype == np.int32
        assert example["targets"][-1] == 1
        assert example["targets"][:-1].min() >= 3


def test_targets_are_tokens_with_a_tie_section(examples: list[dict[str, np.ndarray]]) -> None:
    tie = 1134
    assert all(np.count_nonzero(example["targets"] == tie) == 1 for example in examples)


def test_targets_as_predictions_score_one(
    task: seqio.Task, examples: list[dict[str, np.ndarray]]
) -> None:
    vocabulary = task.output_features["targets"].vocabulary
    targets = [task.postprocess_fn((), example=e, is_target=True) for e in examples]
    predictions = [
        task.postprocess_fn(vocabulary.decode(e["targets"].tolist()), example=e) for e in examples
    ]
    [metric] = task.metric_fns
    scores = metric(targets, predictions)
    # Steps of 10 ms lie within the metrics' 50 ms; the frame metric sees them at the edges.
    assert {scores[f"{name} F1"] for name in ("onset", "on+off", "full", "drum")} == {1.0}
    assert 0.95 < scores["frame F1"] <= 1.0
    assert scores["dropped events"] == 0


def test_target_longer_than_the_model_generates_is_rejected(task: seqio.Task) -> None:
    dataset = task.get_dataset({"inputs": 256, "targets": 20}, split="eval", shuffle=False)
    with pytest.raises(tf.errors.InvalidArgumentError, match="targets is longer than 19"):
        list(dataset.as_numpy_iterator())


def test_feature_converter_pads_to_fixed_lengths(task: seqio.Task) -> None:
    dataset = seqio.get_dataset(
        task.name,
        task_feature_lengths=sequence_length(spec.MT3),
        dataset_split="eval",
        shuffle=False,
        feature_converter=seqio.PassThroughFeatureConverter(),
    )
    padded = seqio.trim_and_pad_dataset(dataset, sequence_length(spec.MT3))
    for example in padded.as_numpy_iterator():
        assert example["inputs"].shape == (256, 512)
        assert example["targets"].shape == (1024,)
