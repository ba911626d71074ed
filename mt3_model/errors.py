"""The exceptions that the library raises.

    MT3Error
    ├── AudioError               the recording cannot be used
    │   ├── AudioFormatError     the format is unknown or damaged, or there is no audio stream
    │   ├── AudioEmptyError      there is no sample (in the requested range)
    │   ├── AudioLimitError      the recording exceeds a limit; the message names it
    │   └── AudioTrackError      the requested audio track does not exist
    ├── DecoderStartError        the machine could not open the recording; a retry may help
    ├── DecoderKilledError       the decoding process was killed; a retry may help
    ├── CheckpointError          the parameters cannot be loaded
    │   ├── CheckpointNotFoundError   no checkpoint at the paths that the message lists
    │   ├── CheckpointContentError    arrays are missing, unknown, misshapen or damaged
    │   └── DownloadError        the download failed; complete files are kept
    │       └── DownloadInterruptedError   the network or the source failed; a retry may help
    ├── RecordError              the bytes are not a readable record of a transcription
    ├── ScorePagesError          the pages of a score could not be drawn
    ├── CodecError               an event is outside the codec's ranges
    └── OptionError              the value of an option is not allowed

Messages say what was found, what was expected and what to do.
"""

import errno

SHORTAGES = frozenset({errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOMEM})
"""The ``errno`` of a machine that is short of processes, descriptors or memory for the moment."""


class MT3Error(Exception):
    """The base class of the library's exceptions."""


class AudioError(MT3Error):
    """The recording cannot be used."""


class AudioFormatError(AudioError):
    """The recording cannot be read: its format is unknown or damaged, or it has no audio stream."""


class AudioEmptyError(AudioError):
    """The recording has no sample, or none in the requested range."""


class AudioLimitError(AudioError):
    """The recording exceeds a limit of seconds, channels or rate; the message names it."""


class AudioTrackError(AudioError):
    """The recording has no such audio track; the message says how many it has."""


class DecoderStartError(MT3Error):
    """The machine lacked file descriptors, processes or memory to open the recording.

    The recording may be fine, so a retry may help.
    """


class DecoderKilledError(MT3Error):
    """The decoding process was killed, for example by the system when memory ran out.

    The recording may be fine, so a retry may help.
    """


class CheckpointError(MT3Error):
    """A model's parameters cannot be found, downloaded or read."""


class CheckpointNotFoundError(CheckpointError):
    """No checkpoint was found; the message lists the paths tried and says what to do."""


class CheckpointContentError(CheckpointError):
    """The checkpoint is damaged, or its arrays are missing, unknown or misshapen."""


class DownloadError(CheckpointError):
    """A checkpoint could not be downloaded completely and correctly."""


class DownloadInterruptedError(DownloadError):
    """The network or the source failed during a download; a retry may help."""


class RecordError(MT3Error):
    """The bytes are not a record of a transcription, or have a newer format."""


class ScorePagesError(MT3Error):
    """The pages of a score could not be drawn: the drawing process failed. A retry may help."""


class CodecError(MT3Error):
    """An event or event index is outside the codec's ranges."""


class OptionError(MT3Error):
    """The value of an option is not allowed; ``parameter`` is the option's name."""

    def __init__(self, parameter: str, message: str) -> None:
        super().__init__(message)
        self.parameter = parameter

    def __reduce__(self) -> tuple[type["OptionError"], tuple[str, str]]:
        """Return what pickle needs; the default for exceptions would drop the parameter."""
        return type(self), (self.parameter, str(self))
