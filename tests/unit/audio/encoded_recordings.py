"""Write small recordings of every kind, with the libraries that the package needs anyway.

The sound is a 440 Hz sine at half scale on the left and half of that on the right, unless a test
brings its own samples, so that a test can say where something was lost.
"""

import pathlib

import av
import numpy as np
import soundfile

RATE = 44_100
OPUS_RATE = 48_000
SONG_SECONDS = 15
# Name -> (suffix, libsndfile's format, subtype, rate).
SOUNDFILE_KINDS = {
    "wav": ("WAV", "PCM_16", RATE),
    "wav_u8": ("WAV", "PCM_U8", RATE),
    "wav_24": ("WAV", "PCM_24", RATE),
    "wav_32": ("WAV", "PCM_32", RATE),
    "wav_float": ("WAV", "FLOAT", RATE),
    "wav_double": ("WAV", "DOUBLE", RATE),
    "wav_adpcm": ("WAV", "MS_ADPCM", RATE),
    "wavex": ("WAVEX", "PCM_24", RATE),
    "rf64": ("RF64", "PCM_16", RATE),
    "w64": ("W64", "PCM_16", RATE),
    "aiff": ("AIFF", "PCM_16", RATE),
    "au": ("AU", "PCM_16", RATE),
    "caf": ("CAF", "PCM_16", RATE),
    "flac": ("FLAC", "PCM_16", RATE),
    "ogg": ("OGG", "VORBIS", RATE),
    "opus": ("OGG", "OPUS", OPUS_RATE),
    "mp3": ("MP3", "MPEG_LAYER_III", RATE),
}
# Name -> (FFmpeg's muxer, encoder, rate, options).
FFMPEG_KINDS = {
    "m4a": ("ipod", "aac", RATE, {}),
    "m4a_faststart": ("ipod", "aac", RATE, {"movflags": "faststart"}),
    "m4a_alac": ("ipod", "alac", RATE, {}),
    "mp4": ("mp4", "aac", RATE, {}),
    "aac": ("adts", "aac", RATE, {}),
    "webm": ("webm", "libopus", OPUS_RATE, {}),
    "mkv": ("matroska", "aac", RATE, {}),
    "mp2_ts": ("mpegts", "mp2", RATE, {}),
    "avi": ("avi", "mp2", RATE, {}),
}
KINDS = (*SOUNDFILE_KINDS, *FFMPEG_KINDS)


def sine(seconds: float, rate: int = RATE, channels: int = 2) -> np.ndarray:
    """Return samples ``[N, C]`` of a 440 Hz sine; channel c at 1/2^(c+1) of full scale."""
    time = np.arange(round(seconds * rate)) / rate
    wave = np.sin(2 * np.pi * 440 * time)
    return np.stack([wave / 2 ** (c + 1) for c in range(channels)], axis=1).astype(np.float32)


def write_sound(
    path: pathlib.Path,
    samples: np.ndarray,
    *,
    rate: int = RATE,
    kind: str = "WAV",
    subtype: str | None = None,
    level: float | None = None,
) -> pathlib.Path:
    """Write samples ``[N, C]`` or ``[N]``; ``level`` is libsndfile's level of compression."""
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    with soundfile.SoundFile(
        path, "w", rate, channels, subtype, format=kind, compression_level=level
    ) as file:
        for begin in range(0, len(samples), rate):  # its encoders overflow on a whole song
            file.write(samples[begin : begin + rate])
    return path


def write_song(path: pathlib.Path, kind: str) -> pathlib.Path:
    """Write 15 s of stereo, just enough for threads, as "FLAC" or "OGG".

    The sound is a sine and noise, with silence from 2 to 5 s, and clicks from 9 s on.
    """
    samples = sine(SONG_SECONDS)
    samples += np.random.default_rng(0).normal(0, 0.05, samples.shape).astype(np.float32)
    samples[2 * RATE : 5 * RATE] = 0  # the second stretch ends at 3 s, in frame 32 of a flac
    samples[9 * RATE :: 7_000] = 0.9  # short blocks in Vorbis
    is_vorbis = kind == "OGG"
    return write_sound(
        path, samples, kind=kind, subtype="VORBIS" if is_vorbis else None,
        level=0.0 if is_vorbis else None,
    )  # fmt: skip


def write_kind(
    path: pathlib.Path, kind: str, seconds: float = 1.0, *, noise: float = 0.0
) -> pathlib.Path:
    """Write a recording of one of `KINDS`, with the same sine in each.

    Noise makes lossy codecs spend their bytes evenly, so that half the bytes are half the time.
    """
    is_plain = kind in SOUNDFILE_KINDS
    rate = SOUNDFILE_KINDS[kind][2] if is_plain else FFMPEG_KINDS[kind][2]
    samples = sine(seconds, rate)
    samples += noise * np.random.default_rng(0).standard_normal(samples.shape).astype(np.float32)
    if is_plain:
        container, subtype, _ = SOUNDFILE_KINDS[kind]
        return write_sound(path, samples, rate=rate, kind=container, subtype=subtype)
    muxer, codec, _, options = FFMPEG_KINDS[kind]
    return encode(path, samples, muxer=muxer, codec=codec, rate=rate, options=options)


def encode(
    path: pathlib.Path, samples: np.ndarray, *, muxer: str, codec: str, rate: int, options: dict
) -> pathlib.Path:
    """Write samples ``[N, C]`` with FFmpeg's libraries."""
    layout = {1: "mono", 2: "stereo"}[samples.shape[1]]
    with av.open(str(path), "w", format=muxer, options=options) as container:
        stream = container.add_stream(codec, rate=rate, layout=layout)
        converter = av.AudioResampler(
            format=stream.codec_context.format, layout=layout, rate=rate, frame_size=1_024
        )
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(samples.T), format="fltp", layout=layout
        )
        frame.sample_rate, frame.pts = rate, 0
        for piece in [*converter.resample(frame), *converter.resample(None)]:
            container.mux(stream.encode(piece))
        container.mux(stream.encode(None))
    return path


def write_film(path: pathlib.Path, *, muxer: str = "mp4", codec: str = "mpeg4") -> pathlib.Path:
    """Write two pictures and no sound."""
    with av.open(str(path), "w", format=muxer) as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for _ in range(2):
            picture = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return path


def id3_tag(payload: bytes) -> bytes:
    """Return an ID3v2.3 tag with a cover picture of ``payload``."""
    body = b"\x00image/png\x00\x03\x00" + payload
    frame = b"APIC" + len(body).to_bytes(4, "big") + bytes(2) + body
    size = len(frame)
    seven_bits = bytes(size >> shift & 127 for shift in (21, 14, 7, 0))
    return b"ID3\x03\x00\x00" + seven_bits + frame
