"""Examples for `--help` (a test parses each of them), and `--version`."""

import argparse
from collections.abc import Sequence
from typing import Any

from service.commands.terminal import say

EXAMPLES = {
    "": ("mt3 transcribe song.mp3 -o song.mid", "mt3 serve", "mt3 COMMAND --help"),
    "transcribe": (
        "mt3 transcribe song.mp3 -o song.mid",
        "mt3 transcribe album/ interview.m4a -o out/ --format midi,png",
        "mt3 transcribe song.wav -o song.json --start 1:30 --end 2:00",
        "mt3 transcribe album/ -o out/ --server http://localhost:8000",
        "curl -s https://example.com/a.mp3 | mt3 transcribe - -o - > a.mid",
    ),
    "serve": (
        "mt3 serve",
        "mt3 serve --port 8080 --data-dir /var/lib/mt3",
        "MT3_API_KEYS_FILE=keys.toml mt3 serve --host 0.0.0.0",
    ),
    "worker": ("mt3 worker --database postgresql://mt3@db/mt3 --storage s3://bucket/mt3",),
    "jobs": (
        "JOB=$(mt3 jobs submit album/)",
        "mt3 jobs wait $JOB",
        "mt3 jobs fetch $JOB -o out/",
    ),
    "jobs submit": (
        "mt3 jobs submit album/ --wait",
        "mt3 jobs submit --url https://example.com/a.mp3 --metadata album=first",
    ),
    "jobs status": ("mt3 jobs status job_123",),
    "jobs wait": ("mt3 jobs wait job_123 --timeout 600",),
    "jobs fetch": ("mt3 jobs fetch job_123 -o out/ --format json",),
    "jobs cancel": ("mt3 jobs cancel job_123",),
    "jobs retry": ("mt3 jobs retry job_123",),
    "jobs delete": ("mt3 jobs delete job_123",),
    "jobs list": ("mt3 jobs list --status failed", "mt3 jobs list --limit 0 --json"),
    "keys": ("mt3 keys new --name alice --file keys.toml",),
    "keys new": ("mt3 keys new --name alice --scope jobs --expires 2030-12-31 --file keys.toml",),
    "keys list": ("mt3 keys list --file keys.toml",),
    "keys revoke": ("mt3 keys revoke --name alice --file keys.toml",),
    "bulk": (
        "mt3 bulk s3://bucket/audio s3://bucket/notes --format json",
        "mt3 bulk s3://bucket/audio s3://bucket/notes --format json --status",
    ),
    "download": ("mt3 download", "mt3 download ismir2021"),
    "convert": ("mt3 convert mt3.safetensors", "mt3 convert new.safetensors --checkpoint t5x/"),
    "models": ("mt3 models", "MT3_CHECKPOINT=/models/mt3 mt3 models"),
    "evaluate": ("mt3 evaluate references/ estimates/ --json scores.json",),
    "benchmark": ("mt3 benchmark", "mt3 benchmark song.mp3 --json speed.json"),
}
"""Command (and action) -> examples."""


class VersionAction(argparse.Action):
    """Prints the version, which it looks up only when it is requested."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        """Print the version and exit."""
        del namespace, values, option_string
        from importlib import metadata  # noqa: PLC0415

        say(f"mt3 {metadata.version('mt3-service')}")
        parser.exit()


def add_examples(parser: argparse.ArgumentParser, command: str = "") -> None:
    """Add examples to the help of a parser and of its subcommands."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = "examples:\n" + "\n".join(f"  {line}" for line in EXAMPLES[command])
    for name, child in commands_of(parser).items():
        add_examples(child, f"{command} {name}".strip())


def commands_of(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Return a parser's subcommands by name."""
    for action in parser._actions:  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
            return dict(action.choices)
    return {}
