"""The reverse proxies' configurations, run in front of a real gateway: TLS, a path prefix, limits and errors."""

import os
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urljoin

import httpx
import pytest

from service.config.settings import Settings
from service.errors import BackendUnavailable, BodyTooLarge
from service.gateway.app import create_app
from service.host.processes import free_ports
from tests.deploy.live import Model, served, until
from tests.deploy.programs import TOP, program
from tests.deploy.test_queries import png
from tests.stores import write_store

FOLDER: Final = TOP / "deploy/proxies"
GATEWAY, SITE = "127.0.0.1:8000", "vision.example"
OPERATORS = ("/metrics", "/v1/traffic", "/vision/metrics", "/vision/v1/traffic")
MEBIBYTE = 1 << 20


def replaced(text: str, old: str, new: str) -> str:
    """Return the text with that part replaced, which it must have."""
    assert old in text, old
    return text.replace(old, new)


def nginx(folder: Path, gateway: str, port: int) -> list[str]:
    """Write the configuration of nginx for that gateway and port, and return the command."""
    site = replaced((FOLDER / "nginx.conf").read_text(encoding="utf-8"), GATEWAY, gateway)
    site = replaced(site, "listen 443 ssl", f"listen 127.0.0.1:{port} ssl")
    site = replaced(site, f"/etc/nginx/tls/{SITE}", str(folder / "site"))
    temporary = "".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(
        f"{user} daemon off; pid {folder}/pid; error_log stderr; events {{ }}\n"
        f"http {{ access_log off; {temporary}\n{site}\n}}\n",
        encoding="utf-8",
    )
    return [program("nginx"), "-p", str(folder), "-e", "stderr", "-c", str(folder / "nginx.conf")]


def caddy(folder: Path, gateway: str, port: int) -> list[str]:
    """Write the configuration of Caddy for that gateway and port, and return the command."""
    site = replaced((FOLDER / "Caddyfile").read_text(encoding="utf-8"), GATEWAY, gateway)
    tls = f"tls {folder}/site.crt {folder}/site.key"
    site = replaced(site, f"{SITE} {{", f"https://127.0.0.1:{port} {{\n\tbind 127.0.0.1\n\t{tls}")
    options = "{\n\tadmin off\n\tauto_https off\n}\n"
    (folder / "Caddyfile").write_text(options + site, encoding="utf-8")
    return [program("caddy"), "run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"]


PROXIES: dict[str, Callable[[Path, str, int], list[str]]] = {"nginx": nginx, "caddy": caddy}


@contextmanager
def proxied(kind: str, folder: Path, gateway: str) -> Iterator[str]:
    """Run the proxy in front of that gateway, and yield its address."""
    folder.mkdir()
    names = ["-keyout", f"{folder}/site.key", "-out", f"{folder}/site.crt", "-subj", "/CN=127.0.0.1"]
    made = [program("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", *names]
    subprocess.run([*made, "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True, timeout=30)
    (port,) = free_ports(1)
    command = PROXIES[kind](folder, gateway, port)
    environment = {**os.environ, "HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(command, env=environment, stderr=log, stdout=log) as child,
    ):
        try:
            with httpx.Client(verify=trusting(folder)) as client:
                until(lambda: answers(client, f"https://127.0.0.1:{port}/livez") or child.poll(), "the proxy starts")
            assert child.poll() is None, (folder / "log").read_text(encoding="utf-8")
            yield f"https://127.0.0.1:{port}"
        finally:
            child.terminate()
            child.wait(30)


def trusting(folder: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(folder / "site.crt"))


def answers(client: httpx.Client, url: str) -> bool:
    """Return whether something listens there, whatever it says."""
    try:
        return bool(client.get(url).status_code)
    except httpx.TransportError:
        return False


Open = Callable[..., httpx.Client]


@pytest.fixture(scope="module", params=PROXIES)
def connect(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Open]:
    """Return a function that opens a client of the proxied gateway, from that address of loopback."""
    program(request.param)
    folder = tmp_path_factory.mktemp(request.param)
    store = write_store(folder / "store", "tiny-classifier", weights=False)
    settings = Settings(model_store=store, trusted_proxies="127.0.0.1", caller_rate=0.01, caller_burst=8)  # type: ignore[arg-type]
    with ExitStack() as stack:
        gateway = stack.enter_context(served(create_app(settings, Model())))
        address = stack.enter_context(proxied(request.param, folder / "proxy", gateway))

        def client(source: str) -> httpx.Client:
            transport = httpx.HTTPTransport(verify=trusting(folder / "proxy"), local_address=source)
            return stack.enter_context(httpx.Client(base_url=address, transport=transport, timeout=30))

        yield client


@pytest.mark.parametrize("path", ["/v1/classify", "/vision/v1/classify"])
def test_an_image_is_answered_over_tls_at_the_root_and_below_the_prefix(connect: Open, path: str) -> None:
    response = connect("127.0.0.2").post(path, files={"file": png("red")})
    assert (response.status_code, len(response.json()["results"])) == (200, 1)
    assert response.headers["strict-transport-security"] == "max-age=31536000"


def test_the_pages_and_the_description_work_below_the_prefix(connect: Open) -> None:
    client = connect("127.0.0.3")
    assert client.get("/vision").headers["location"].endswith("/vision/")
    for page in ("/vision/docs", "/vision/problems"):
        assert client.get(page).status_code == 200
    described = client.get("/vision/openapi.json")
    (server,) = described.json()["servers"]
    base = urljoin(f"{described.url}", server["url"]).rstrip("/")
    assert client.get(f"{base}/v1/models").status_code == 200


def test_a_body_over_the_limit_is_refused_in_the_words_of_a_problem(connect: Open) -> None:
    client = connect("127.0.0.4")
    just_over = client.post("/v1/classify", content=bytes(21 * MEBIBYTE), headers={"Content-Type": "image/png"})
    assert (just_over.status_code, just_over.json()["code"]) == (413, BodyTooLarge.code())
    assert just_over.json()["limit"] == 20 * MEBIBYTE
    far_over = client.post("/v1/classify", content=bytes(30 * MEBIBYTE), headers={"Content-Type": "image/png"})
    assert (far_over.status_code, far_over.json()["code"]) == (413, BodyTooLarge.code())
    assert far_over.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("path", OPERATORS)
def test_the_routes_of_operators_are_closed(connect: Open, path: str) -> None:
    assert connect("127.0.0.5").get(path).status_code == 404


def test_each_caller_behind_the_proxy_has_limits_of_its_own(connect: Open) -> None:
    first, second = connect("127.0.0.6"), connect("127.0.0.7")
    forged = {"X-Forwarded-For": "127.0.0.7"}
    codes = [first.post("/v1/classify", files={"file": png("red")}, headers=forged).status_code for _ in range(9)]
    assert codes == [200] * 8 + [429]
    assert second.post("/v1/classify", files={"file": png("red")}).status_code == 200


@pytest.mark.parametrize("kind", PROXIES)
def test_without_a_gateway_the_proxy_answers_a_problem(kind: str, tmp_path: Path) -> None:
    program(kind)
    (nobody,) = free_ports(1)
    folder = tmp_path / "proxy"
    with proxied(kind, folder, f"127.0.0.1:{nobody}") as address, httpx.Client(verify=trusting(folder)) as client:
        response = client.post(f"{address}/v1/classify", content=b"image")
    assert (response.status_code, response.json()["code"]) == (503, BackendUnavailable.code())
    assert response.json()["title"] == BackendUnavailable.title
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["retry-after"] == "5"
