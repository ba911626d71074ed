"""The application -> its published contract, `openapi.json` beside this file.

`python -m service.api.openapi` writes it; a test holds that it is current, so that a change of the
contract is seen in review.
"""

import json
import sys
from pathlib import Path
from typing import Any

from service.api.app import create_app
from service.settings import Settings

CONTRACT = Path(__file__).with_name("openapi.json")


def contract_text() -> str:
    """Writes the contract as text; it does not depend on the environment's settings."""
    contract: dict[str, Any] = create_app(Settings.model_construct()).openapi()
    return json.dumps(contract, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    CONTRACT.write_text(contract_text(), encoding="utf-8")
    sys.stdout.write(f"wrote {CONTRACT.name}\n")
