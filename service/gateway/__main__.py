"""`python -m service.gateway` serves with the settings of the environment."""

import sys

from pydantic import ValidationError

from service.cards import CardError
from service.gateway.server import serve
from service.gateway.settings import Settings
from service.keys import KeysError

if __name__ == "__main__":
    try:
        serve(Settings())
    except (CardError, KeysError, ValidationError) as error:
        sys.exit(f"The gateway cannot start: {error}")
