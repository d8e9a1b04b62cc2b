"""The clients, and the code of the pages, in front of the whole service."""
