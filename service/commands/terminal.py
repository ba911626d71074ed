"""Output of the commands: lines, messages, progress bars, exit codes.

Results go to standard output, everything else to standard error. Bars are drawn only on a terminal.
"""

import contextlib
import sys
from collections.abc import Callable, Generator
from typing import Any

EXIT_DONE, EXIT_FAILED, EXIT_USAGE, EXIT_LEFT_OUT, EXIT_INTERRUPTED = 0, 1, 2, 3, 130
"""`EXIT_LEFT_OUT`: submitted without some of the inputs. `EXIT_INTERRUPTED`: 128 + SIGINT."""


def say(line: str) -> None:
    """Write a line to standard output."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def complain(message: str) -> None:
    """Write a message to standard error."""
    sys.stderr.write(f"mt3: {message}\n")


@contextlib.contextmanager
def download_bar(model: str) -> Generator[Callable[[int, int], None]]:
    """Yield a callback (bytes done, total bytes) that draws a bar from the first byte on."""
    from tqdm import tqdm  # noqa: PLC0415

    with contextlib.ExitStack() as stack:
        bar: tqdm[Any] | None = None

        def show(done: int, total: int) -> None:
            nonlocal bar
            if bar is None:
                hidden = not sys.stderr.isatty()
                bar = tqdm(desc=model, unit="B", unit_scale=True, total=total, disable=hidden)
                stack.callback(bar.close)
            bar.update(done - bar.n)

        yield show
