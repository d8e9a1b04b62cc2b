"""A reverse proxy that serves another server below a path prefix, as a site does that has more than one service."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx

PASSED_ON = {"accept", "authorization", "content-type", "if-none-match"}
OF_ONE_CONNECTION = {"connection", "content-length", "date", "server", "transfer-encoding"}


@contextmanager
def prefix_proxy(target: str, prefix: str) -> Iterator[str]:
    """Serve `target` on a free port of loopback below `prefix`; yield the address with the prefix."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if not self.path.startswith(prefix):
                self.send_error(404)
                return
            length = int(self.headers.get("Content-Length", 0))
            headers = {name: value for name, value in self.headers.items() if name.lower() in PASSED_ON}
            response = httpx.request(
                self.command,
                target + "/" + self.path.removeprefix(prefix),
                headers=headers,
                content=self.rfile.read(length),
                timeout=60,
            )
            self.send_response(response.status_code)
            for name, value in response.headers.items():
                if name.lower() not in OF_ONE_CONNECTION:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(response.content)))
            self.end_headers()
            self.wfile.write(response.content)

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}{prefix}"
        finally:
            server.shutdown()
            thread.join()
