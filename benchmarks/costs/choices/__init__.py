"""The ways between the processes that were compared."""
