"""`python -m service.gateway` serves with the settings of the environment."""

from service.gateway.server import serve
from service.gateway.settings import Settings

if __name__ == "__main__":
    serve(Settings())
