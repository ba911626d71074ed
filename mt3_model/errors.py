"""Everything the library raises on purpose.

    MT3Error
    ├── AudioError               the recording cannot be used
    │   ├── AudioFormatError     not audio we can read: unknown, corrupt, or no sound in it
    │   ├── AudioEmptyError      audio, but without one sample (in the range asked for)
    │   ├── AudioLimitError      longer or wider than the limit that the message names
    │   └── AudioTrackError      it has no such audio track; the message says how many it has
    ├── DecoderKilledError       the decoding process was killed from outside; try again
    ├── CheckpointError          parameters cannot be had
    │   ├── CheckpointNotFoundError   nowhere we looked; the message lists the places
    │   ├── CheckpointContentError    missing, unknown or misshapen arrays, by name
    │   └── DownloadError        not to be had whole and unaltered; what is whole stays
    │       └── DownloadInterruptedError   the network or the source failed: trying again may help
    ├── RecordError              bytes that are no (readable) record of a transcription
    ├── CodecError               an event index or an event outside the codec's ranges
    └── OptionError              an option's value is not among those allowed

Messages say what was found, what was expected and what to do.
"""


class MT3Error(Exception):
    """Anything this library raises on purpose."""


class AudioError(MT3Error):
    """The recording cannot be used."""


class AudioFormatError(AudioError):
    """Not audio that can be read: unknown, corrupt, or without an audio stream."""


class AudioEmptyError(AudioError):
    """Readable audio that holds no sample, or none in the range asked for."""


class AudioLimitError(AudioError):
    """The recording exceeds a limit of seconds, channels or rate; the message names it."""


class AudioTrackError(AudioError):
    """The recording has no such audio track; the message says how many it has."""


class DecoderKilledError(MT3Error):
    """The decoding process was killed from outside, as the system does when memory runs out.

    Nothing is said of the recording by that: trying again may help.
    """


class CheckpointError(MT3Error):
    """Parameters cannot be had."""


class CheckpointNotFoundError(CheckpointError):
    """No checkpoint at any of the places tried; the message lists them and says what to do."""


class CheckpointContentError(CheckpointError):
    """The checkpoint's arrays are not those of the model: missing, unknown or misshapen."""


class DownloadError(CheckpointError):
    """A checkpoint could not be downloaded whole and unaltered."""


class DownloadInterruptedError(DownloadError):
    """The network or the source failed while downloading; trying again may help."""


class RecordError(MT3Error):
    """The bytes are no record of a transcription, or of a later format than this code reads."""


class CodecError(MT3Error):
    """An event or event index outside the codec's ranges."""


class OptionError(MT3Error):
    """An option's value is not among those allowed; ``parameter`` names the option."""

    def __init__(self, parameter: str, message: str) -> None:
        super().__init__(message)
        self.parameter = parameter
