"""Ray Serve: a deployment of one replica with `serve.batch`, without the dashboard."""

import os
import tempfile
from typing import Any

import ray
from ray import serve
from starlette.requests import Request

from benchmarks.contest import model

MAX_ONGOING = 512  # requests at the replica: Ray's default of 5 could not fill a batch
STORE_BYTES = 100 << 20


class ImageDeployment:
    """The model behind one route."""

    def __init__(self) -> None:
        self.model = model.load()

    @serve.batch(max_batch_size=model.BATCH, batch_wait_timeout_s=model.WAIT_MS / 1000)
    async def predict(self, uploads: list[bytes]) -> list[Any]:
        """Return the answers to one batch."""
        return self.model.predict([self.model.decode(upload) for upload in uploads])

    async def __call__(self, request: Request) -> Any:
        """Return the answer to one image."""
        return await self.predict(await request.body())


if __name__ == "__main__":
    # Otherwise Ray writes a token to the home folder and sends usage statistics.
    os.environ |= {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
    variables = {name: value for name, value in os.environ.items() if name.startswith(("BENCH_", "OMP_", "PYTHONPATH"))}
    ray.init(
        num_cpus=max(2, os.cpu_count() or 1),
        include_dashboard=False,
        object_store_memory=STORE_BYTES,
        runtime_env={"env_vars": variables},
        log_to_driver=False,
        _temp_dir=tempfile.gettempdir(),
    )
    serve.start(http_options={"host": "127.0.0.1", "port": int(os.environ["PORT"])})
    deployment = serve.deployment(ImageDeployment, max_ongoing_requests=MAX_ONGOING, ray_actor_options={"num_cpus": 1})
    serve.run(deployment.bind(), blocking=True)
