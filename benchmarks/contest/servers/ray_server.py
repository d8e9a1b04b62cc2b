"""Ray Serve: a deployment of one replica with `serve.batch`, without the dashboard."""

import os
import tempfile
from typing import Any

import ray
from ray import serve
from starlette.requests import Request

from benchmarks.contest import model

WAITING = 512  # requests at the replica; Ray's default of 5 could not fill a batch
STORE_BYTES = 100 << 20


class Pictures:
    """The model behind one route."""

    def __init__(self) -> None:
        self.model = model.load()

    @serve.batch(max_batch_size=model.BATCH, batch_wait_timeout_s=model.WAIT_MS / 1000)
    async def predict(self, uploads: list[bytes]) -> list[Any]:
        """One batch."""
        return self.model.predict([self.model.decode(upload) for upload in uploads])

    async def __call__(self, request: Request) -> Any:
        """One picture."""
        return await self.predict(await request.body())


if __name__ == "__main__":
    # Else it leaves a token in the home folder, and reports its use to its makers.
    os.environ |= {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
    told = {name: value for name, value in os.environ.items() if name.startswith(("BENCH_", "OMP_", "PYTHONPATH"))}
    ray.init(
        num_cpus=max(2, os.cpu_count() or 1),
        include_dashboard=False,
        object_store_memory=STORE_BYTES,
        runtime_env={"env_vars": told},
        log_to_driver=False,
        _temp_dir=tempfile.gettempdir(),
    )
    serve.start(http_options={"host": "127.0.0.1", "port": int(os.environ["PORT"])})
    deployment = serve.deployment(Pictures, max_ongoing_requests=WAITING, ray_actor_options={"num_cpus": 1})
    serve.run(deployment.bind(), blocking=True)
