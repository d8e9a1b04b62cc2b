"""What FastAPI runs: it reads uploads, decodes them, asks the model server and tells the answers."""
