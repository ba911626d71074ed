"""Write six tones with sharp onsets into containers that shift their times."""

import pathlib
import struct
from fractions import Fraction

import av
import numpy as np

from tests.unit.audio.ogg_files import SEQUENCE, join_pages, move_page, split_pages

ONSETS = (0.25, 0.75, 1.25, 1.75, 2.25, 2.75)
SECONDS = 3.5
_PITCHES = (60, 64, 67, 72, 76, 79)


def tones(rate: int, *, channels: int = 2) -> np.ndarray:
    """Return samples ``[N, C]`` of six decaying tones that begin at `ONSETS`."""
    samples = np.zeros(round(SECONDS * rate))
    for onset, pitch in zip(ONSETS, _PITCHES, strict=True):
        begin = round(onset * rate)
        time = np.arange(len(samples) - begin) / rate
        frequency = 440 * 2 ** ((pitch - 69) / 12)
        partials = sum(np.sin(2 * np.pi * frequency * k * time) / k for k in (1, 2, 3, 4))
        samples[begin:] += 0.2 * partials * np.exp(-6 * time)
    return np.stack([samples] * channels, axis=1).astype(np.float32)


def lag_seconds(found: np.ndarray, expected: np.ndarray, rate: int) -> float:
    """Return the seconds by which ``found`` is late: the maximum of their correlation."""
    size = 1 << (len(found) + len(expected)).bit_length()
    spectrum = np.fft.rfft(found, size) * np.conj(np.fft.rfft(expected, size))
    best = int(np.argmax(np.fft.irfft(spectrum, size)))
    return (best if best < size // 2 else best - size) / rate


def write_timed(
    path: pathlib.Path,
    *,
    muxer: str,
    codec: str,
    rate: int = 48_000,
    delay: float = 0.0,
    video: str | None = None,
    tracks: tuple[float, ...] = (1.0,),
    options: dict[str, str] | None = None,
) -> pathlib.Path:
    """Write `tones` with FFmpeg's libraries.

    Args:
        path: the file to write.
        muxer: FFmpeg's name of the container.
        codec: FFmpeg's encoder of the sound.
        rate: sample rate in Hz.
        delay: seconds from the beginning of the pictures to that of the sound.
        video: FFmpeg's encoder of pictures; None for sound alone.
        tracks: one audio track for each factor, which multiplies its samples.
        options: options of the muxer.
    """
    with av.open(str(path), "w", format=muxer, options=options or {}) as container:
        pictures = None if video is None else _add_pictures(container, video)
        sounds = [container.add_stream(codec, rate=rate, layout="stereo") for _ in tracks]
        packets = [] if pictures is None else list(_encode_pictures(pictures))
        for sound, factor in zip(sounds, tracks, strict=True):
            packets += _encode_sound(sound, tones(rate) * np.float32(factor), rate, delay)
        for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
            container.mux(packet)
    return path


def write_caf(path: pathlib.Path, packets: list[bytes], *, priming: int) -> pathlib.Path:
    """Write packets of Opus, 20 ms each, into a Core Audio Format file."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return name + len(content).to_bytes(8, "big") + content

    description = struct.pack(">d4sIIIII", 48_000, b"opus", 0, 0, 960, 2, 0)
    # Sizes in groups of seven bits, all but a packet's last with the high bit set.
    sizes = b"".join(bytes([0x80 | len(each) >> 7, len(each) & 127]) for each in packets)
    table = struct.pack(">qqii", len(packets), 960 * len(packets) - priming, priming, 0) + sizes
    path.write_bytes(
        b"caff\x00\x01\x00\x00"
        + chunk(b"desc", description)
        + chunk(b"pakt", table)
        + chunk(b"data", bytes(4) + b"".join(packets))
    )
    return path


def opus_packets(path: pathlib.Path) -> list[bytes]:
    """Return the packets of a recording that `write_timed` wrote."""
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


def shift_pages(
    content: bytes, *, samples: int, skipped_pages: int = 0, header_pages: int = 2
) -> bytes:
    """Return an Ogg stream with other positions and new checksums.

    Args:
        content: one stream.
        samples: added to the position of each page with sound.
        skipped_pages: added to the numbers of these pages.
        header_pages: the number of pages before them, which stay unchanged.
    """
    pages = split_pages(content)
    for page in pages[header_pages:]:
        move_page(page, samples)
        sequence = int.from_bytes(page[SEQUENCE], "little") + skipped_pages
        page[SEQUENCE] = sequence.to_bytes(4, "little")
    return join_pages(pages)


def _add_pictures(container, codec: str):
    stream = container.add_stream(codec, rate=25)
    stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
    return stream


def _encode_pictures(stream):
    for index in range(round((SECONDS + 1) * 25)):
        picture = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
        picture.pts, picture.time_base = index, Fraction(1, 25)
        yield from stream.encode(picture)
    yield from stream.encode(None)


def _encode_sound(stream, samples: np.ndarray, rate: int, delay: float):
    layout = "stereo"
    converter = av.AudioResampler(
        format=stream.codec_context.format, layout=layout, rate=rate, frame_size=1_024
    )
    frame = av.AudioFrame.from_ndarray(
        np.ascontiguousarray(samples.T), format="fltp", layout=layout
    )
    frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), round(delay * rate)
    packets = []
    for piece in [*converter.resample(frame), *converter.resample(None)]:
        packets += stream.encode(piece)
    return packets + stream.encode(None)
