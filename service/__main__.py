"""`python -m service` is the command `resnest-service`."""

from service.cli.main import main

if __name__ == "__main__":
    main(prog_name="resnest-service")
