"""The application -> its published contract, `openapi.json` beside this file.

`python -m service.api.openapi` writes the file. A test checks that it is current, so that a change
of the contract is seen in review.
"""

import json
import sys
from pathlib import Path

from service.api.app import describe_api

CONTRACT = Path(__file__).with_name("openapi.json")


def contract_text() -> str:
    """Return the contract as text."""
    return json.dumps(describe_api(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    CONTRACT.write_text(contract_text(), encoding="utf-8")
    sys.stdout.write(f"wrote {CONTRACT.name}\n")
