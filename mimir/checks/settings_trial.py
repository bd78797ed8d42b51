"""The process of `settings_fit`: configurations in JSON on its standard input, the refusals out."""

import json
import sys
from typing import Any

from mimir.config import Config
from mimir.errors import BAD_CONFIG, DONE, BadInput
from mimir.text import one_line
from mimir.training.machine import Machine


def main() -> int:
    told = [_refusal(config) for config in json.load(sys.stdin)]
    print(json.dumps(told))
    return BAD_CONFIG if any(told) else DONE


def _refusal(config: dict[str, Any]) -> str:
    try:
        Machine.choose(Config.from_dict(config))
    except BadInput as error:
        return one_line(error)
    return ""


if __name__ == "__main__":
    sys.exit(main())
