"""A recording that the server cannot store: the caller learns why, and no file stays."""

import errno
import os

import pytest

from service.api.uploads.recording_file import RecordingFile
from service.api.uploads.upload_folder import UploadFolder
from service.errors import UploadStorageError
from service.observability.metrics import Metrics


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EMFILE])
def test_the_message_names_the_reason(tmp_path, number):
    class FailingFolder(UploadFolder):
        def new_file(self):
            raise OSError(number, os.strerror(number))

    with pytest.raises(UploadStorageError, match=os.strerror(number)):
        RecordingFile(FailingFolder(tmp_path), max_bytes=10, metrics=Metrics())
