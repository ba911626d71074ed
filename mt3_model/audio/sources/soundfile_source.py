"""Read recordings with libsndfile: wav, flac, mp3, ogg, opus, aiff and similar formats.

libsndfile comes first because librosa, and so the original, uses it first: the samples are the
same. It gets the file's descriptor and not its name, so the extension has no influence.
"""

import contextlib
import io
import os
from collections.abc import Generator, Iterator, Sequence
from typing import Any

import numpy as np
import soundfile

from mt3_model.audio.array_types import Float32
from mt3_model.audio.file_views import FileSlice, FileWindow
from mt3_model.audio.recording import RecordingInfo
from mt3_model.audio.sources.audio_source import DecoderStoppedError, block_samples
from mt3_model.audio.sources.parallel import pays_in_parallel
from mt3_model.audio.sources.parallel_flac import flac_blocks
from mt3_model.audio.sources.parallel_vorbis import vorbis_blocks
from mt3_model.audio.structure.flac_frames import ends_with_last_frame, samples_in_order
from mt3_model.errors import AudioFormatError

# Encodings without state from block to block, where a seek is exact. In the lossy formats it is
# not, so samples before the first one are decoded and dropped.
_EXACT_SUBTYPES = (
    "PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW",
)  # fmt: skip
_MAX_FRAMES = 1 << 62  # libsndfile's SF_COUNT_MAX stands for "unknown"
_NAMES = {"WAVEX": "wav", "RF64": "wav", "MPEG": "mp3", "MPEG_LAYER_III": "mp3"}


class _StreamedFile(soundfile.SoundFile):
    """A sound file that is read sequentially.

    `soundfile.SoundFile` seeks to its current position after each read. This resets the state that
    an mp3 decoder keeps from frame to frame, and every block then begins with a burst (measured: up
    to 0.37 of full scale on a sine of 0.375). It does not seek if the file reports that it cannot.
    """

    def seekable(self) -> bool:
        """Return False, although `seek` works."""
        return False

    def read_block(self, frames: int) -> Float32[np.ndarray, "_ C"]:
        """Return the next samples, fewer at the end."""
        return self.read(frames, dtype="float32", always_2d=True)


class SoundfileSource:
    """One recording, open in libsndfile."""

    def __init__(self, recording: int | FileSlice, copies: Sequence[int] = ()) -> None:
        """Open a file; the caller closes it.

        Args:
            recording: the descriptor of a whole file, or part of a file.
            copies: descriptors of the whole file with positions of their own.

        Raises:
            AudioFormatError: libsndfile cannot read it.
        """
        try:
            self._file = _open(recording)
        except (soundfile.SoundFileError, TypeError, ValueError) as error:
            raise AudioFormatError(f"libsndfile cannot read it: {_reason(error)}") from error
        file = self._file
        frames = file.frames
        is_known = 0 <= frames < _MAX_FRAMES and file.samplerate > 0
        self.info = RecordingInfo(
            sample_rate=file.samplerate,
            channels=file.channels,
            duration_seconds=frames / file.samplerate if is_known else None,
            container=_NAMES.get(str(file.format), str(file.format).lower()),
            codec=_NAMES.get(str(file.subtype), str(file.subtype).lower()),
        )
        self._recording = recording
        self._copies = copies
        self._is_passed = False
        self.position = 0
        self.is_truncated = False
        self.damaged_places = 0
        self.first_damage: float | None = None

    def blocks(self, first: int) -> Iterator[Float32[np.ndarray, "_ C"]]:
        """Yield from sample ``first`` on; see `AudioSource`."""
        size = block_samples(self.info)
        frames = self._file.frames
        if first and (self._file.subtype in _EXACT_SUBTYPES or self._file.format == "FLAC"):
            self.position = min(first, frames)
            self._seek(self.position)
        is_counted = self._file.format == "FLAC" and frames < _MAX_FRAMES
        begin = self.position
        with contextlib.closing(self._blocks_in_parallel(first, size)) as blocks:
            for block in blocks:
                yield block
                self.position += len(block)
        if begin < self.position == frames:
            self._is_passed = True
            return
        # Blocks that were decoded in parallel up to an irregularity are decoded again, to find it.
        decoded = begin
        while True:
            # Tags may follow the last sample of a flac, and its decoder treats them as damage.
            block = self._read(min(size, frames - decoded) if is_counted else size)
            if len(block) == 0:
                break
            decoded += len(block)
            if decoded <= self.position:
                yield block[:0]
                continue
            yield block[max(0, min(len(block), first - self.position)) :]
            self.position += len(block)
        self.is_truncated = is_counted and self.position < frames

    def _blocks_in_parallel(self, first: int, size: int) -> Generator[Float32[np.ndarray, "_ C"]]:
        """Yield blocks from the position on; none where one thread is better or safer."""
        frames, channels = self._file.frames, self.info.channels
        is_known = frames < _MAX_FRAMES
        is_long = is_known and pays_in_parallel((frames - self.position) * channels)
        if len(self._copies) < 2 or not is_long:  # noqa: PLR2004  # with one, nothing is parallel
            return
        if self._file.format == "FLAC":
            yield from self._flac_blocks(size)
        elif self._file.subtype == "VORBIS" and first == 0:
            yield from vorbis_blocks(
                self._copies[0],
                _open,
                past=frames,
                block_samples=size,
                channels=channels,
                threads=len(self._copies),
            )

    def _flac_blocks(self, size: int) -> Generator[Float32[np.ndarray, "_ C"]]:
        frames = self._file.frames
        window = FileWindow(self._copies[0])
        if not ends_with_last_frame(window, frames):
            return
        blocks = flac_blocks(
            self._copies,
            _open,
            first=self.position,
            past=frames,
            block_samples=size,
            channels=self.info.channels,
        )
        in_order = samples_in_order(
            window, first=self.position, past=frames, read=self.byte_position
        )
        end = reached = self.position
        with contextlib.closing(blocks):
            for block in blocks:
                end += len(block)
                if reached < end:
                    reached = next((sample for sample in in_order if sample >= end), 0)
                if reached < end:
                    return
                yield block

    @property
    def byte_position(self) -> int:
        """Offset up to which libsndfile has read the file; it reads ahead of decoding."""
        recording = self._recording
        if isinstance(recording, int):
            # Only a file that ends with its last frame is decoded in parallel.
            whence = os.SEEK_END if self._is_passed else os.SEEK_CUR
            return os.lseek(recording, 0, whence)
        return recording.tell()

    def close(self) -> None:
        """Free the state of libsndfile."""
        self._file.close()

    def _seek(self, sample: int) -> None:
        try:
            self._file.seek(sample)
        except soundfile.SoundFileError as error:
            raise DecoderStoppedError(sample, _reason(error)) from error

    def _read(self, count: int) -> Float32[np.ndarray, "_ C"]:
        try:
            return self._file.read_block(count)
        except soundfile.SoundFileError as error:
            raise DecoderStoppedError(self.position, _reason(error)) from error


def _open(recording: int | FileSlice | io.BytesIO) -> _StreamedFile:
    if isinstance(recording, int):
        os.lseek(recording, 0, os.SEEK_SET)
    opened: Any = recording  # soundfile accepts any object with its methods; its stubs do not
    return _StreamedFile(opened, closefd=False)


def _reason(error: Exception) -> str:
    if isinstance(error, soundfile.LibsndfileError):
        return str(error.error_string).rstrip(".") or f"error {error.code}"
    return str(error)
