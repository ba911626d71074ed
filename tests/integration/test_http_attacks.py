"""Malicious recordings: each is refused, and the next request is served."""

import asyncio
import io
import os
import signal
import struct

import numpy as np
import pytest
import soundfile

from mt3_model.audio.recording import ReadingLimits
from service import assembly
from tests.integration.decoders import decoders
from tests.integration.listening import Held
from tests.integration.serving import loader, recording, serving
from tests.waiting import until


def silence(*, hours, container, subtype, rate=8_000):
    """Return hours of silence, which compress to a few bytes."""
    buffer = io.BytesIO()
    minute = np.zeros(60 * rate, np.int16)
    with soundfile.SoundFile(buffer, "w", rate, 1, format=container, subtype=subtype) as file:
        for _ in range(round(60 * hours)):
            file.write(minute)
    return buffer.getvalue()


def wav_head(*, channels=1, rate=16_000, size=0xFFFFFFFF, bits=16):
    """Return a WAV with an arbitrary header and a second of sound."""
    form = struct.pack(
        "<HHIIHH", 1, channels, rate, rate * channels * bits // 8 & 0xFFFFFFFF,
        channels * bits // 8 & 0xFFFF, bits,
    )  # fmt: skip
    head = b"RIFF" + struct.pack("<I", size) + b"WAVEfmt " + struct.pack("<I", len(form)) + form
    return head + b"data" + struct.pack("<I", size) + b"\1\0" * 16_000


def caf_head(*, channels, rate=16_000.0):
    """Return a CAF, whose number of channels has 32 bits."""
    describe = struct.pack(">d4sIIIII", rate, b"lpcm", 0, 2, 1, channels, 16)
    return (
        b"caff\0\1\0\0desc" + struct.pack(">q", len(describe)) + describe
        + b"data" + struct.pack(">q", -1) + b"\0" * 32_000
    )  # fmt: skip


def flac_head(*, samples):
    """Return a FLAC that declares up to 2^36 samples and has none."""
    # Source: RFC 9639, 8.2: block sizes, frame sizes, then 20 bits of rate, 3 of channels, 5 of
    # bits per sample and 36 of samples.
    packed = 16_000 << 44 | 0 << 41 | 15 << 36 | samples
    return b"fLaC\x80\0\0\x22" + struct.pack(">HH6s", 4096, 4096, b"\0" * 6) + struct.pack(
        ">Q", packed
    ) + b"\0" * 16  # fmt: skip


BOMBS = {
    # Half an hour, longer than the ten minutes allowed here, in some kilobytes.
    "flac_of_silence": (lambda: silence(hours=0.5, container="FLAC", subtype="PCM_16"), 413),
    "ogg_of_silence": (lambda: silence(hours=0.5, container="OGG", subtype="VORBIS"), 413),
    # The file is too short for its declared length, so the missing sound decides.
    "flac_of_2^36_samples": (lambda: flac_head(samples=2**36 - 1), 400),
    "wav_of_65535_channels": (lambda: wav_head(channels=65_535), 413),
    "wav_of_no_channels": (lambda: wav_head(channels=0), 400),
    "wav_of_4_gigahertz": (lambda: wav_head(rate=0xFFFFFFFF), 413),
    "wav_of_1_hertz": (lambda: wav_head(rate=1), 413),
    "caf_of_10^9_channels": (lambda: caf_head(channels=10**9), 413),
    "caf_of_2^32-1_channels": (lambda: caf_head(channels=2**32 - 1), 413),
}


@pytest.mark.parametrize("name", BOMBS)
async def test_a_bomb_costs_one_refusal(tmp_path, name):
    make, expected = BOMBS[name]
    content = make()
    assert len(content) < 1_000_000
    async with serving(tmp_path, max_audio_seconds=600) as client:
        answer = await client.post("/v1/transcriptions", content=content)
        # Decoders may accept such a header or not.
        assert answer.status_code in {400, 413}, answer.text
        assert answer.status_code == expected or name.startswith(("caf", "wav"))
        assert answer.json()["code"] in {"audio_too_long", "audio_undecodable", "audio_empty"}
        assert (await client.post("/v1/transcriptions", content=recording())).status_code == 200
    assert list(tmp_path.iterdir()) == []
    assert decoders() == []


@pytest.mark.parametrize(
    ("number", "refusal", "said"),
    [
        (signal.SIGSEGV, (400, "audio_undecodable"), "crashed (signal SIGSEGV)"),
        (signal.SIGXCPU, (400, "audio_undecodable"), "its processor time"),
        (signal.SIGSTOP, (400, "audio_undecodable"), "sent nothing for 1 s"),
        (signal.SIGKILL, (503, "decoder_killed"), "killed from outside"),
    ],
)
async def test_a_decoder_that_dies_or_hangs_costs_one_refusal(
    tmp_path, monkeypatch, number, refusal, said
):
    monkeypatch.setattr(
        assembly, "ReadingLimits",
        lambda **given: ReadingLimits(**given, decode_timeout_seconds=1.0),
    )  # fmt: skip
    backend = Held()
    async with serving(tmp_path, load=loader(backend)) as client:
        # Long enough that the decoder still runs while the device is held.
        posting = asyncio.create_task(
            client.post("/v1/transcriptions", content=recording(600.0), timeout=400)
        )
        await until(lambda: backend.inserted)
        (decoder,) = decoders()
        os.kill(decoder, number)
        backend.go.set()
        answer = await posting
        assert (answer.status_code, answer.json()["code"]) == refusal
        assert said in answer.json()["detail"]
        assert ("Retry-After" in answer.headers) == (refusal[0] == 503)
        assert (await client.post("/v1/transcriptions", content=recording())).status_code == 200
    assert list(tmp_path.iterdir()) == []
    assert decoders() == []
