"""Detect the container of a file from its first bytes, and name the library that reads it.

File names and MIME types may be wrong, so they are not used. Each container is detected by its
own mark, and only the matching demuxer is started: FFmpeg's own detection would also accept
playlists (HLS, ffconcat), which name other files to open. Marks without a source are those of the
container's specification, as collected in libsndfile `sndfile.c` (``guess_file_type``) and
FFmpeg's ``*_probe`` functions.
"""

import dataclasses

from mt3_model.audio.file_views import FileWindow
from mt3_model.audio.structure.adts_frames import find_adts_frame
from mt3_model.audio.structure.mpeg_parts import SEARCHED_BYTES, find_first_frame
from mt3_model.audio.structure.tags import after_id3
from mt3_model.errors import AudioFormatError


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Container:
    """A file format for sound."""

    name: str
    ffmpeg_format: str
    """Name of FFmpeg's demuxer."""
    is_libsndfile: bool = False
    """Whether libsndfile is tried before FFmpeg."""
    knows_duration: bool = True
    """Whether the header states the duration; FFmpeg otherwise estimates it from the bit rate."""
    states_times: bool = True
    """Whether frames have timestamps, and not only an order."""
    clock_wraps: bool = False
    """Whether the clock wraps around every day or so, so that times below 0 have no meaning. In
    other containers, sound before 0 is not played."""


WAV = Container(name="wav", ffmpeg_format="wav", is_libsndfile=True)
W64 = Container(name="w64", ffmpeg_format="w64", is_libsndfile=True)
AIFF = Container(name="aiff", ffmpeg_format="aiff", is_libsndfile=True)
AU = Container(name="au", ffmpeg_format="au", is_libsndfile=True)
CAF = Container(name="caf", ffmpeg_format="caf", is_libsndfile=True)
FLAC = Container(name="flac", ffmpeg_format="flac", is_libsndfile=True)
OGG = Container(name="ogg", ffmpeg_format="ogg", is_libsndfile=True)
MP3 = Container(name="mp3", ffmpeg_format="mp3", is_libsndfile=True, knows_duration=False)
MP4 = Container(name="mp4", ffmpeg_format="mov")
MATROSKA = Container(name="matroska", ffmpeg_format="matroska")
AAC = Container(name="aac", ffmpeg_format="aac", knows_duration=False)
ASF = Container(name="asf", ffmpeg_format="asf")
AVI = Container(name="avi", ffmpeg_format="avi", knows_duration=False, states_times=False)
FLV = Container(name="flv", ffmpeg_format="flv", knows_duration=False)
MPEG_TS = Container(name="mpegts", ffmpeg_format="mpegts", knows_duration=False, clock_wraps=True)
MPEG_PS = Container(name="mpegps", ffmpeg_format="mpeg", knows_duration=False, clock_wraps=True)
AC3 = Container(name="ac3", ffmpeg_format="ac3", knows_duration=False)
AMR = Container(name="amr", ffmpeg_format="amr", knows_duration=False)
APE = Container(name="ape", ffmpeg_format="ape")
WAVPACK = Container(name="wavpack", ffmpeg_format="wv")
TTA = Container(name="tta", ffmpeg_format="tta")

# (offset, mark, container): the first match counts.
_MARKS: tuple[tuple[int, bytes, Container], ...] = (
    (8, b"AVI ", AVI),  # before WAV: both are RIFF
    (0, b"RF64", WAV),
    (0, b"BW64", WAV),
    (0, b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb", W64),
    (8, b"AIFF", AIFF),
    (8, b"AIFC", AIFF),
    (0, b".snd", AU),
    (0, b"dns.", AU),
    (0, b"caff", CAF),
    (0, b"fLaC", FLAC),
    (0, b"OggS", OGG),
    (4, b"ftyp", MP4),
    (4, b"moov", MP4),
    (4, b"mdat", MP4),
    (4, b"wide", MP4),
    (4, b"free", MP4),
    (4, b"skip", MP4),
    (0, b"\x1a\x45\xdf\xa3", MATROSKA),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", ASF),
    (0, b"FLV\x01", FLV),
    (0, b"\x00\x00\x01\xba", MPEG_PS),
    (0, b"\x0b\x77", AC3),
    (0, b"#!AMR", AMR),
    (0, b"MAC ", APE),
    (0, b"wvpk", WAVPACK),
    (0, b"TTA1", TTA),
)

# Other kinds of files by their marks: the error message names the kind.
_NOT_AUDIO: tuple[tuple[bytes, str], ...] = (
    (b"MThd", "a MIDI file, which contains notes but no sound"),
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"GIF8", "a GIF picture"),
    (b"PK\x03\x04", "a ZIP archive (or a document that is one)"),
    (b"\x1f\x8b\x08", "a gzip archive"),
    (b"Rar!", "a RAR archive"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"%PDF", "a PDF document"),
    (b"#EXTM3U", "a playlist, which holds names and no sound"),
    (b"ffconcat", "a playlist, which holds names and no sound"),
    (b"[playlist]", "a playlist, which holds names and no sound"),
)
_TS_PACKET = 188
_TS_SYNC = 0x47


def sniff_container(window: FileWindow) -> Container:
    """Detect the container of a file.

    Raises:
        AudioFormatError: it is not a supported container; the message says what it looks like.
    """
    if window.size == 0:
        raise AudioFormatError("the file is empty (0 bytes); send the recording itself")
    start = after_id3(window)
    head = window.at(start, 16)
    found = _by_mark(head) or _by_sync_words(window, start, head)
    if found is None:
        raise AudioFormatError(
            f"not audio that can be read: found {_describe(head, window)}; expected a recording "
            "such as wav, flac, mp3, ogg, opus, aiff, m4a, aac, webm or mp4"
        )
    return found


def container_at(window: FileWindow, offset: int) -> Container | None:
    """Return the container whose mark is at ``offset``; None where there is none."""
    return _by_mark(window.at(offset, 16))


def _by_mark(head: bytes) -> Container | None:
    if head[:4] in {b"RIFF", b"RIFX"} and head[8:12] == b"WAVE":
        return WAV
    for offset, mark, container in _MARKS:
        if head[offset : offset + len(mark)] == mark:
            return container
    return None


def _by_sync_words(window: FileWindow, start: int, head: bytes) -> Container | None:
    """Detect streams without a header by frames that follow each other.

    Any bytes may precede the first frame, except the mark of another kind of file: an archive that
    holds an mp3 is an archive.
    """
    packets = [window.at(start + index * _TS_PACKET, 1) for index in range(4)]
    if all(packet and packet[0] == _TS_SYNC for packet in packets):
        return MPEG_TS
    if any(head.startswith(mark) for mark, _ in _NOT_AUDIO):
        return None
    mpeg = find_first_frame(window)
    adts = find_adts_frame(window, searched_bytes=SEARCHED_BYTES if mpeg is None else mpeg)
    if adts is not None and (mpeg is None or adts < mpeg):
        return AAC
    return None if mpeg is None else MP3


def _describe(head: bytes, window: FileWindow) -> str:
    for mark, name in _NOT_AUDIO:
        if head.startswith(mark):
            return name
    if _is_text(window.at(0, 512)):
        return "text"
    return f"an unknown kind of file that begins with the bytes {window.at(0, 4).hex(' ')}"


def is_recording(window: FileWindow) -> bool:
    """Whether a file's first bytes are those of a recording, for searching folders.

    Pictures, documents and MIDI files are excluded by their marks. Text may begin with the letters
    of an audio mark (``free`` at 4 is one of mp4's), so text counts only if MPEG frames follow.
    """
    head = window.at(0, 512)
    if not head or any(head.startswith(mark) for mark, _ in _NOT_AUDIO):
        return False
    if _is_text(head):
        return _by_sync_words(window, 0, head) is MP3
    try:
        sniff_container(window)
    except AudioFormatError:
        return False
    return True


def _is_text(head: bytes) -> bool:
    return head.isascii() and all(byte in b"\t\n\r\f" or byte >= ord(" ") for byte in head)
