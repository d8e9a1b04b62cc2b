"""The package of the module beside."""
