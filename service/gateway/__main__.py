"""Run the gateway with the settings of the environment: `python -m service.gateway`."""

import os
import sys

from pydantic import ValidationError

from service.config import service_links
from service.config.api_keys import KeysError
from service.config.environment import SettingsError
from service.config.settings import Settings
from service.gateway.server.uvicorn_server import serve
from service.models.cards import CardError

if __name__ == "__main__":
    if warning := service_links.remove(os.environ):
        sys.stderr.write(f"Warning: {warning}\n")
    try:
        serve(Settings())
    except (CardError, KeysError, SettingsError, ValidationError) as error:
        sys.exit(f"The gateway cannot start: {error}")
