"""The calculations of the benchmark of a whole service on an accelerator."""

import json

from service.observability.metrics import Metrics
from tests.benchmarks.service.accelerator import (
    Answer,
    differences,
    digest_notes,
    read_figures,
    summarize_answers,
    summarize_figures,
)


def transcription(*pitches):
    notes = [{"pitch": pitch} for pitch in pitches]
    return json.dumps({"id": f"tr_{len(pitches)}", "notes": notes}).encode()


def test_the_figures_that_a_summary_needs_are_among_the_servers_metrics():
    metrics = Metrics()
    figures = read_figures(metrics.write()[0].decode())
    summarize_figures(figures | {"cpu_server": 0.0, "cpu_children": 0.0}, songs=1, wall=1.0)
    assert figures["mt3_tokens_total"] == 0.0


def test_differences_count_a_new_thread_from_its_start():
    assert differences({1: 2.0, 2: 1.0}, {1: 2.5, 3: 0.25}) == {1: 0.5, 3: 0.25}


def test_the_digest_is_of_the_notes_alone():
    other = json.dumps({"id": "tr_other", "notes": [{"pitch": 60}]}).encode()
    assert digest_notes(transcription(60)) == digest_notes(other)
    assert digest_notes(transcription(60))[0] == 1
    assert digest_notes(transcription(60)) != digest_notes(transcription(61))


def test_answers_are_summarized_without_those_refused():
    answers = [
        Answer(200, transcription(60), 1.0),
        Answer(200, transcription(60), 3.0),
        Answer(200, transcription(60, 64), 2.0),
        Answer(429, b"{}", 0.1),
    ]
    summary = summarize_answers(answers, seconds=10.0, wall=4.0)
    assert summary["statuses"] == {200: 3, 429: 1}
    assert summary["times_real_time"] == 7.5  # three songs of 10 s in 4 s
    assert summary["latency_median_max"] == [2.0, 3.0]
    assert [times for _, times in summary["distinct_notes"]] == [2, 1]


def test_no_answer_is_summarized_too():
    summary = summarize_answers([Answer(503, b"", 0.1)], seconds=10.0, wall=0.1)
    assert summary["times_real_time"] == 0.0
    assert summary["latency_median_max"] == [0.0, 0.0]


def test_figures_are_summarized_per_iteration_song_and_second():
    spent = {
        "mt3_visit_seconds_sum": 2.0, "mt3_visit_seconds_count": 100.0,
        "mt3_batch_fill_ratio_sum": 50.0, "mt3_device_busy_seconds_total": 3.0,
        "mt3_tokens_total": 700.0, "cpu_server": 6.0, "cpu_children": 2.0,
    }  # fmt: skip
    summary = summarize_figures(spent, songs=2, wall=4.0)
    assert summary["iteration_ms"] == 20.0
    assert summary["fill"] == 0.5
    assert summary["device_busy"] == 0.75
    assert summary["cpu_of_a_song"] == {"cpu_server": 3.0, "cpu_children": 1.0}
    assert summary["cores_used"] == 2.0
