"""PyTriton: NVIDIA's Triton with the model as a Python function behind its dynamic batcher."""

import json
import os
import sysconfig
from typing import Any

import numpy as np
import numpy.typing as npt
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

from benchmarks.contest import model
from service.host.processes import free_port

if __name__ == "__main__":
    # Triton's processes are linked with this interpreter's library, which may be outside the linker's search path.
    os.environ["LD_LIBRARY_PATH"] = f"{sysconfig.get_config_var('LIBDIR')}:{os.environ.get('LD_LIBRARY_PATH', '')}"
    loaded = model.load()

    @batch
    def predict(image: npt.NDArray[Any]) -> dict[str, npt.NDArray[Any]]:
        """Return the answers to one batch as strings of JSON."""
        answers = loaded.predict([loaded.decode(upload) for upload in image[:, 0]])
        return {"answer": np.array([[json.dumps(each).encode()] for each in answers], dtype=object)}

    config = TritonConfig(
        http_address="127.0.0.1",
        http_port=int(os.environ["PORT"]),
        grpc_port=free_port(),
        metrics_port=free_port(),
    )
    with Triton(config=config) as triton:
        triton.bind(
            model_name="images",
            infer_func=predict,
            inputs=[Tensor(name="image", dtype=bytes, shape=(1,))],
            outputs=[Tensor(name="answer", dtype=bytes, shape=(1,))],
            config=ModelConfig(
                max_batch_size=model.BATCH, batcher=DynamicBatcher(max_queue_delay_microseconds=model.WAIT_MS * 1000)
            ),
        )
        triton.serve()
