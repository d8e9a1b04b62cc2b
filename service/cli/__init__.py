"""The command line `resnest-service`: one module per command."""
