"""Tests of `resnest-service train`: its parts, and the command on small folders."""
