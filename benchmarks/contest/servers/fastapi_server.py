"""FastAPI as most people write it: a function in the thread pool, one image at a time, no batching."""

import os
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI, UploadFile

from benchmarks.contest import model


@asynccontextmanager
async def lifespan(app: FastAPI) -> Any:
    """Load the model once."""
    app.state.model = model.load()
    yield


app = FastAPI(lifespan=lifespan)


@app.post("/predict")
def predict(file: UploadFile) -> model.Json:
    """Return the answer to one image."""
    loaded: model.Model = app.state.model
    return loaded.predict([loaded.decode(file.file.read())])[0]


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ["PORT"]), log_level="warning")
