"""The first bytes -> which container it is, and which library reads it.

A name or a MIME type is a claim; the bytes are the fact. Every container that we read is known by
its own mark, and only the matching demuxer is ever started on it: FFmpeg left to guess would also
guess playlists (HLS, ffconcat), which name other files to open. Marks without a source are those
of the container's own specification, as collected in libsndfile `sndfile.c` (``guess_file_type``)
and FFmpeg's ``*_probe`` functions.
"""

import dataclasses

from mt3_model.audio.file_views import FileWindow, after_id3
from mt3_model.audio.structure.adts_frames import find_adts_frame
from mt3_model.audio.structure.mpeg_parts import SEARCHED_BYTES, find_first_frame
from mt3_model.errors import AudioFormatError


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Container:
    """A kind of file that holds sound."""

    name: str
    ffmpeg_format: str
    """FFmpeg's demuxer for it."""
    is_libsndfile: bool = False
    """Whether libsndfile is tried first."""
    knows_duration: bool = True
    """Whether its header tells the duration; FFmpeg otherwise guesses it from the bit rate."""
    states_times: bool = True
    """Whether it says when each frame is to be heard, rather than in which order."""
    clock_wraps: bool = False
    """Whether its clock comes back to its beginning every day or so, so that times below 0 mean
    nothing; elsewhere what lies before 0 is not to be heard."""


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

# (offset, mark, container): the first whose bytes match.
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

# What people send by mistake, by its mark: named so that they see which file it was.
_NOT_AUDIO: tuple[tuple[bytes, str], ...] = (
    (b"MThd", "a MIDI file, which holds notes and no sound"),
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
    """Says which container a file is, by its bytes alone.

    Raises:
        AudioFormatError: none of those that can be read; the message names what it looks like.
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
    """Says which container begins at ``offset`` by its mark; None where none does."""
    return _by_mark(window.at(offset, 16))


def _by_mark(head: bytes) -> Container | None:
    if head[:4] in {b"RIFF", b"RIFX"} and head[8:12] == b"WAVE":
        return WAV
    for offset, mark, container in _MARKS:
        if head[offset : offset + len(mark)] == mark:
            return container
    return None


def _by_sync_words(window: FileWindow, start: int, head: bytes) -> Container | None:
    """Knows streams without a header by frames that follow each other.

    What lies in front of the first frame may be anything but a file of another known kind: an
    archive that holds an mp3 is an archive.
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
    """Whether a file's first bytes are those of a recording; for searching folders.

    The files that lie beside recordings (pictures, documents, MIDI) are known by their head. Text
    may begin with the letters of a mark (``free`` at 4 is one of MP4's), so that only MPEG frames
    behind it count.
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
