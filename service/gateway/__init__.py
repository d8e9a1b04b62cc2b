"""The HTTP gateway: it reads and decodes uploads, sends images to the model server, and returns the results."""
