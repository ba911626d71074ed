"""The benchmark against peers, without peers: order, ratios, protocol, failures, conversion."""

import argparse
import sys
import textwrap
from pathlib import Path

import numpy as np
import pretty_midi
import pytest

from mt3_model.network.params import parameter_shapes
from mt3_model.spec import MT3
from tests.benchmarks.peers import setup
from tests.benchmarks.peers.__main__ import environment_python, shown_command, system_names
from tests.benchmarks.peers.mt3_infer_layout import CONFIGURATION, lay_out, names_of
from tests.benchmarks.peers.quality import find_reference, judge, read_reference
from tests.benchmarks.peers.recordings import fit_recording, seconds_of
from tests.benchmarks.peers.report import Measurement, rows_of, to_table
from tests.benchmarks.peers.rounds import Timings, interleave, ratios, time_rounds
from tests.benchmarks.peers.runner_process import TAIL_LINES, Command, Runner, RunnerError
from tests.benchmarks.peers.systems import (
    SYSTEMS,
    Choices,
    convert_for_mt3_infer,
    make_command,
)

ROOT = Path(__file__).parents[3]
DEMO = ROOT / "tests" / "demo" / "demo.ogg"


class Scripted:
    """A system whose times are known; None in their place is a failure."""

    def __init__(self, seconds, journal=None, name=""):
        self.seconds, self.journal, self.name = iter(seconds), journal, name

    def transcribe(self, _recording, _midi):
        if self.journal is not None:
            self.journal.append(self.name)
        seconds = next(self.seconds)
        if seconds is None:
            raise RunnerError(f"{self.name} ended")
        return seconds


def start(tmp_path, load, *, timeout_seconds=30.0, transcribe="midi.write_text(recording.name)"):
    """A real process that speaks the protocol, with the system's two parts given as code."""
    script = tmp_path / "runner.py"
    script.write_text(
        textwrap.dedent(
            """
            import os, sys, time
            from tests.benchmarks.peers.protocol import Loaded, serve

            def transcribe(recording, midi):
                {transcribe}

            def load():
                {load}
                return Loaded(transcribe=transcribe, versions={{"fake": "1.0"}}, details={{"a": 1}})

            serve(load)
            """
        ).format(load=load, transcribe=transcribe)
    )
    command = Command(
        arguments=[sys.executable, script], folder=ROOT, environment={"PYTHONPATH": str(ROOT)}
    )
    return Runner("fake", command, timeout_seconds=timeout_seconds)


def test_every_system_has_its_turn_in_each_round():
    assert list(interleave(["ours", "a", "b"], 2)) == [
        (0, "ours"), (0, "a"), (0, "b"), (1, "ours"), (1, "a"), (1, "b")
    ]  # fmt: skip


def test_systems_work_in_that_order(tmp_path):
    journal = []
    runners = {name: Scripted([1.0] * 3, journal, name) for name in ("ours", "a", "b")}
    time_rounds(runners, tmp_path / "song.wav", 3, lambda name: tmp_path / name)
    assert journal == ["ours", "a", "b"] * 3


def test_ratios_are_of_times_of_the_same_round():
    ours = Timings(seconds={0: 2.0, 1: 4.0, 2: 1.0})
    theirs = Timings(seconds={0: 6.0, 2: 5.0})
    assert ratios(ours, theirs) == [3.0, 5.0]


def test_a_system_that_fails_leaves_the_others_their_rounds(tmp_path):
    runners = {"ours": Scripted([1.0, 1.0, 1.0]), "a": Scripted([2.0, None], name="a")}
    timings = time_rounds(runners, tmp_path / "song.wav", 3, lambda name: tmp_path / name)
    assert timings["ours"].seconds == {0: 1.0, 1: 1.0, 2: 1.0}
    assert timings["a"].seconds == {0: 2.0}
    assert timings["a"].failure == "a ended"


def test_the_table_gives_the_median_ratio_and_what_failed():
    def measurement(seconds, failure=None):
        timings = Timings(seconds=dict(enumerate(seconds)), failure=failure)
        return Measurement(
            timings=timings, quality=None, device=None, load_seconds=1.0, peak_megabytes=None
        )

    rows = rows_of(
        {
            "ours": measurement([1.0, 2.0, 3.0]),
            "a": measurement([4.0, 12.0, 6.0]),
            "b": measurement([], failure="b ended"),
        },
        audio_seconds=20.0,
    )
    # 4/1, 12/2, 6/3 and their median; the ratio of the medians, 6/2, would be another.
    assert rows["a"]["ours_times_faster_by_round"] == [4.0, 6.0, 2.0]
    assert rows["a"]["ours_times_faster"] == 4.0
    assert rows["ours"]["times_real_time"] == 10.0
    assert rows["ours"]["ours_times_faster"] is None
    table = to_table(rows)
    assert "4.00x" in table
    assert "FAILED b ended" in table


def test_without_ours_there_are_times_and_no_ratio():
    timings = Timings(seconds={0: 5.0})
    measurement = Measurement(
        timings=timings, quality=None, device="a GPU", load_seconds=1.0, peak_megabytes=1
    )
    rows = rows_of({"a": measurement}, 10.0)
    assert rows["a"]["ours_times_faster"] is None
    assert rows["a"]["times_real_time"] == 2.0
    assert to_table(rows).endswith("  a GPU")


def test_a_runner_loads_once_and_answers_each_request(tmp_path):
    runner = start(tmp_path, 'print("chatter of a library"); os.system("echo more of it")')
    try:
        assert runner.load_seconds > 0
        assert (runner.versions, runner.details) == ({"fake": "1.0"}, {"a": 1})
        for name in ("one.wav", "zwei äöü.wav"):
            assert runner.transcribe(Path(name), tmp_path / "out.mid") > 0
            assert (tmp_path / "out.mid").read_text() == name
        if sys.platform == "linux":
            assert 1 < runner.peak_megabytes() < 1_000
    finally:
        runner.close()


def test_a_runner_that_cannot_load_tells_why(tmp_path):
    with pytest.raises(RunnerError, match=r"(?s)fake ended with exit status 1.*no weights here"):
        start(tmp_path, 'raise ValueError("no weights here")')


def test_a_runner_that_dies_at_work_tells_its_status_and_the_end_of_its_stderr(tmp_path):
    dying = 'print(*range(100), sep="\\n", file=sys.stderr, flush=True); os._exit(7)'
    runner = start(tmp_path, "pass", transcribe=dying)
    with pytest.raises(RunnerError, match="fake ended with exit status 7") as caught:
        runner.transcribe(Path("a.wav"), tmp_path / "a.mid")
    lines = str(caught.value).splitlines()
    assert [int(line) for line in lines[1:]] == list(range(100 - TAIL_LINES, 100))
    runner.close()


def test_a_recording_that_a_system_cannot_do_is_its_failure(tmp_path):
    runner = start(tmp_path, "pass", transcribe='raise RuntimeError("too loud")')
    with pytest.raises(RunnerError, match=r"(?s)failed: RuntimeError: too loud.*Traceback"):
        runner.transcribe(Path("a.wav"), tmp_path / "a.mid")


def test_a_runner_that_hangs_is_stopped(tmp_path):
    with pytest.raises(RunnerError, match=r"did not answer within 0\.5 s"):
        start(tmp_path, "time.sleep(60)", timeout_seconds=0.5)


def test_every_parameter_has_its_place_in_mt3_infer():
    shapes = parameter_shapes(MT3.network)
    state = lay_out({path: np.empty(shape, np.float32) for path, shape in shapes.items()})
    # 189 parameters, of which two are named twice.
    assert sum(len(names_of(path)) for path in shapes) == len(state) == len(shapes) + 2
    assert state["proj.weight"].shape == (512, 512)
    assert state["lm_head.weight"].shape == (1_536, 512)  # [output, input]
    assert state["decoder.embed_tokens.weight"].shape == (1_536, 512)  # as it is
    assert state["encoder.block.7.layer.1.DenseReluDense.wo.weight"].shape == (512, 1_024)
    assert state["decoder.block.0.layer.1.EncDecAttention.q.weight"].shape == (384, 512)


def test_kernels_are_transposed():
    path = "decoder/layers_3/self_attention/out/kernel"
    kernel = np.arange(6, dtype=np.float32).reshape(2, 3)
    (array,) = lay_out({path: kernel}).values()
    assert array.tolist() == [[0, 3], [1, 4], [2, 5]]
    assert names_of(path) == ("decoder.block.3.layer.0.SelfAttention.o.weight",)


def test_an_unknown_parameter_is_refused():
    with pytest.raises(ValueError, match="decoder/layers_0/adapter/kernel"):
        names_of("decoder/layers_0/adapter/kernel")


def test_the_configuration_is_the_specs():
    network = MT3.network
    assert (
        CONFIGURATION["d_model"], CONFIGURATION["num_heads"], CONFIGURATION["d_kv"],
        CONFIGURATION["d_ff"], CONFIGURATION["num_layers"], CONFIGURATION["num_decoder_layers"],
        CONFIGURATION["vocab_size"], CONFIGURATION["layer_norm_epsilon"],
    ) == (
        network.width, network.heads, network.head_width,
        network.mlp_width, network.encoder_layers, network.decoder_layers,
        network.vocabulary_size, network.norm_epsilon,
    )  # fmt: skip


def write_midi(path, notes):
    midi = pretty_midi.PrettyMIDI()
    midi.instruments.append(pretty_midi.Instrument(program=0))
    for pitch, start_time, end_time in notes:
        note = pretty_midi.Note(velocity=80, pitch=pitch, start=start_time, end=end_time)
        midi.instruments[0].notes.append(note)
    midi.write(str(path))
    return path


def test_the_reference_is_cut_with_the_recording(tmp_path):
    midi = write_midi(tmp_path / "a.mid", [(60, 0.0, 1.0), (62, 1.0, 3.0), (64, 2.5, 3.0)])
    notes = read_reference(midi, 4.0, 2.0).pitched
    assert notes.pitches.tolist() == [60, 62]
    np.testing.assert_allclose(notes.end_times, [1.0, 2.0], atol=2.3e-3)  # a tick


def test_the_reference_is_repeated_with_the_recording(tmp_path):
    midi = write_midi(tmp_path / "a.mid", [(60, 0.5, 1.0), (62, 1.5, 2.0)])
    notes = read_reference(midi, 2.0, 5.0).pitched
    assert notes.pitches.tolist() == [60, 62, 60, 62, 60]
    np.testing.assert_allclose(notes.start_times, [0.5, 1.5, 2.5, 3.5, 4.5], atol=2.3e-3)


def test_a_midi_file_is_judged_by_its_reference(tmp_path):
    reference = write_midi(tmp_path / "song.mid", [(60, 0.0, 1.0), (62, 1.0, 2.0)])
    found = write_midi(tmp_path / "found.mid", [(60, 0.01, 1.0), (70, 1.0, 2.0)])
    quality = judge(found, read_reference(reference, 2.0, 2.0))
    assert (quality.notes, quality.onset_f1, quality.full_f1) == (2, 0.5, 0.5)
    assert judge(found, None).onset_f1 is None


def test_the_reference_lies_beside_the_recording_or_in_the_folder_named(tmp_path):
    beside = write_midi(tmp_path / "song.mid", [(60, 0.0, 1.0)])
    other = tmp_path / "other"
    other.mkdir()
    assert find_reference(tmp_path / "song.ogg", None) == beside
    assert find_reference(tmp_path / "song.ogg", other) is None


@pytest.mark.parametrize("seconds", [2.5, 31.0])
def test_a_recording_is_cut_or_repeated_to_the_length_asked_for(tmp_path, seconds):
    fitted = fit_recording(DEMO, seconds, tmp_path / "fitted.flac")
    assert seconds_of(fitted) == pytest.approx(seconds, abs=1e-4)  # one sample at 16 kHz: 6e-5 s


def test_the_order_of_systems_is_not_the_command_lines():
    assert system_names("basic-pitch,ours") == ["ours", "basic-pitch"]
    assert next(iter(SYSTEMS)) == "ours"


def choose(tmp_path, **chosen):
    checkpoint = tmp_path / "mt3.safetensors"
    checkpoint.touch()
    return Choices(checkpoint=checkpoint, precision="auto", threads=1, **chosen)


def test_on_the_cpu_no_system_sees_an_accelerator(tmp_path):
    environment = make_command("ours", choose(tmp_path)).environment
    assert environment["JAX_PLATFORMS"] == "cpu"
    assert environment["CUDA_VISIBLE_DEVICES"] == ""


def test_on_a_gpu_only_basic_pitch_stays_on_the_cpu(tmp_path):
    choices = choose(tmp_path, device="cuda")
    ours = make_command("ours", choices).environment
    assert ours["JAX_PLATFORMS"] == "cuda,cpu"
    assert "CUDA_VISIBLE_DEVICES" not in ours
    assert make_command("basic-pitch", choices).environment["CUDA_VISIBLE_DEVICES"] == ""


def test_a_named_interpreter_takes_the_place_of_the_built_one(tmp_path):
    choices = choose(tmp_path, pythons=dict([environment_python(f"basic-pitch={sys.executable}")]))
    assert make_command("basic-pitch", choices).arguments[0] == Path(sys.executable)
    assert choices.python_of("mt3-infer") == setup.python_of("mt3-infer")


@pytest.mark.parametrize("text", ["ours=python", "mt3-infer", "mt3-infer=/no/such/python"])
def test_an_interpreter_that_cannot_be_used_is_refused(text):
    with pytest.raises(argparse.ArgumentTypeError, match="is no"):
        environment_python(text)


def test_the_shown_command_has_names_instead_of_paths():
    words = ["--python", f"mt3-infer={sys.executable}", str(DEMO), "--device=cpu"]
    assert shown_command(words) == (
        "python -m tests.benchmarks.peers "
        f"--python mt3-infer={Path(sys.executable).name} demo.ogg --device=cpu"
    )


def test_a_checkpoint_that_is_not_converted_fails_its_system_alone(tmp_path):
    with pytest.raises(RunnerError, match=r"(?s)was not converted:.*Error"):
        convert_for_mt3_infer(Path(sys.executable), tmp_path / "none.safetensors", tmp_path / "out")


@pytest.mark.parametrize("name", setup.ENVIRONMENTS)
def test_peers_are_pinned_exactly_and_without_addresses(name):
    lines = setup.requirements_file(name).read_text().splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert f"{name}==" in "\n".join(pins)
    assert all(line.count("==") == 1 and " " not in line and "/" not in line for line in pins)


def test_every_system_has_an_environment_that_can_be_built():
    assert {system.environment for system in SYSTEMS.values()} == {None, *setup.ENVIRONMENTS}
    assert all((ROOT / f"{s.module.replace('.', '/')}.py").is_file() for s in SYSTEMS.values())
