"""What is particular to one file format: optional packages, variants that are not read, ends, parts without pixels."""
