"""What every command says, and how: lines, complaints, a download's bar, exit codes.

Standard output is for results, standard error for everything else; bars are drawn on a terminal
only, so that a pipe or a log sees lines.
"""

import contextlib
import sys
from collections.abc import Callable, Generator
from typing import Any

EXIT_DONE, EXIT_FAILED, EXIT_USAGE, EXIT_LEFT_OUT, EXIT_INTERRUPTED = 0, 1, 2, 3, 130
"""`EXIT_LEFT_OUT`: submitted, but without some of the inputs. The last is the shells' 128 + SIGINT.
"""


def say(line: str) -> None:
    """Writes a line of the result."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def complain(message: str) -> None:
    """Writes a line about what went wrong, or might have."""
    sys.stderr.write(f"mt3: {message}\n")


@contextlib.contextmanager
def download_bar(model: str) -> Generator[Callable[[int, int], None]]:
    """A progress bar, on a terminal, that appears with the first byte."""
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
