"""The process of `settings_fit`: a configuration in JSON on its standard input, the refusal out."""

import json
import sys

from mimir.config import Config
from mimir.errors import BAD_CONFIG, DONE, BadInput
from mimir.text import one_line
from mimir.training.machine import Machine


def main() -> int:
    try:
        Machine.choose(Config.from_dict(json.load(sys.stdin)))
    except BadInput as error:
        print(one_line(error))
        return BAD_CONFIG
    return DONE


if __name__ == "__main__":
    sys.exit(main())
