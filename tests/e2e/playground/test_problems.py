"""What the playground shows when the service refuses, needs a key, does not answer, or is behind a path prefix."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import BrowserContext, Page, Route, expect

from service.config.api_keys import digest
from service.host.processes import free_port
from tests.e2e.fleet import Server
from tests.e2e.playground.pages import Watched, await_answer, choose, choose_example, choose_files
from tests.e2e.playground.prefix_proxy import prefix_proxy
from tests.e2e.running import NO_HTTPS, START_S, Running, until
from tests.e2e.test_answers import upload

pytestmark = pytest.mark.e2e

KEY = "rsn_playground"


@contextmanager
def gateway(playground: Running, store: Path, folder: Path, **settings: str) -> Iterator[str]:
    """Run another gateway in front of the same TorchServe; yield its address when a model answers."""
    (socket,) = playground.temporary.glob("*/inference")
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    environment = {
        "RESNEST_MODEL_STORE": str(store),
        "RESNEST_PORT": str(port),
        "RESNEST_INFERENCE_URL": f"unix:{socket}",
        "RESNEST_MANAGEMENT_URL": f"unix:{socket.with_name('management')}",
        **settings,
    }
    server = Server(folder / "gateway", ["gateway"], environment)
    try:
        until(lambda: answers(address), START_S, (folder / "gateway" / "log").read_text)
        yield address
    finally:
        server.destroy()


def answers(address: str) -> bool:
    try:
        return httpx.get(f"{address}/readyz", verify=NO_HTTPS).status_code == 200
    except httpx.HTTPError:
        return False


def test_a_problem_is_shown_in_the_services_words(page: Page, playground: Running, tmp_path: Path) -> None:
    tmp_path.joinpath("notes.jpg").write_bytes(b"These are notes, and no image.")
    choose_files(page, [tmp_path / "notes.jpg"])
    problem = playground.client.post("/v1/classify", files={"file": b"These are notes, and no image."}).json()

    panel = page.locator(".problem")
    expect(panel).to_contain_text(problem["title"])
    expect(panel).to_contain_text(problem["detail"])
    expect(panel).to_contain_text(problem["code"])
    expect(panel.get_by_role("link", name="What to do")).to_have_attribute("href", problem["type"].lstrip("/"))
    expect(page.get_by_role("status")).to_have_text(f"Not answered: {problem['title']}.")


def test_a_limit_is_shown_with_what_broke_it(page: Page, tmp_path: Path) -> None:
    files = [tmp_path / f"{number}.png" for number in range(33)]
    for file in files:
        file.write_bytes(upload(1, 16, 16, "PNG"))
    choose_files(page, files)

    expect(page.locator(".problem dl")).to_have_text("Limit32Here33")


def test_one_bad_image_of_several_has_its_own_problem(page: Page, tmp_path: Path) -> None:
    tmp_path.joinpath("good.png").write_bytes(upload(1, 64, 64, "PNG"))
    tmp_path.joinpath("bad.png").write_bytes(upload(1, 64, 64, "PNG")[:200])
    choose_files(page, [tmp_path / "good.png", tmp_path / "bad.png"])
    await_answer(page)
    expect(page.locator(".bars")).to_be_visible()
    page.get_by_role("button", name="Image 2, bad.png").click()

    expect(page.locator(".problem code").first).to_have_text("image_corrupt")


def test_a_service_that_does_not_answer_is_named(page: Page) -> None:
    page.route("**/v1/classify", lambda route: route.abort())
    choose_example(page, "a cat")

    expect(page.locator(".problem")).to_contain_text("The browser received no answer of the service")


@pytest.mark.parametrize(
    ("status", "body"),
    [(502, "<html>Bad Gateway</html>"), (403, '{"message": "Forbidden"}'), (200, "<html>Sign in</html>"), (200, "[]")],
)
def test_an_answer_of_a_proxy_is_named_as_one(page: Page, status: int, body: str) -> None:
    page.route("**/v1/classify", lambda route: route.fulfill(status=status, body=body))
    choose_example(page, "a cat")

    expect(page.locator(".problem")).to_contain_text(f"The status is {status}, and this service did not write")
    expect(page.locator(".problem code")).to_have_text(f"http_{status}")


def test_an_example_that_is_not_there_says_so(page: Page) -> None:
    page.route("**/examples/cat.jpg", lambda route: route.fulfill(status=404, json={"code": "route_not_found"}))
    choose_example(page, "a cat")

    expect(page.locator(".problem")).to_contain_text("Reload the page")
    expect(page.locator("#stage")).to_be_hidden()


def test_a_request_that_is_cleared_away_leaves_nothing_behind(page: Page) -> None:
    page.route("**/v1/classify", lambda _: None)  # it is never answered
    choose_example(page, "a cat")
    expect(page.locator("body")).to_have_class("has-images busy")
    page.get_by_role("button", name="Clear").click()

    expect(page.locator("body")).to_have_class("")
    expect(page.get_by_role("status")).to_have_text("")


def test_a_browser_that_stores_nothing_for_pages_keeps_the_key_until_the_page_is_left(context: BrowserContext) -> None:
    context.add_init_script(
        "Object.defineProperty(window, 'sessionStorage', {get() { throw new DOMException('', 'SecurityError') }})"
    )
    page = context.new_page()
    page.goto("/")
    choose(page, "Classify")
    page.get_by_text("API key: none").click()
    page.get_by_label("Key or token. It stays in this tab.").fill(KEY)
    page.get_by_role("button", name="Use", exact=True).click()
    with page.expect_request("**/v1/classify") as sent:
        choose_example(page, "a cat")

    assert sent.value.headers["authorization"] == f"Bearer {KEY}"


def test_a_key_that_no_header_can_have_is_not_sent(page: Page) -> None:
    page.get_by_text("API key: none").click()
    field = page.get_by_label("Key or token. It stays in this tab.")
    for key, is_valid in (("rsn_\u2026", False), ("rsn x", False), (f" {KEY} ", True), ("", True)):
        field.fill(key)
        assert field.evaluate("field => field.checkValidity()") is is_valid, key


def test_an_answer_that_the_page_cannot_show_says_so_and_is_there_as_json(page: Page) -> None:
    def spoil(route: Route) -> None:
        document = route.fetch().json()
        document["results"][0]["mask"]["data"] = "AAAA"
        route.fulfill(json=document)

    page.route("**/v1/segment", spoil)
    choose(page, "Segment")
    choose_example(page, "a cat")

    expect(page.locator(".problem")).to_contain_text("this page cannot show the answer (Error: This is no PNG)")
    expect(page.locator("#json-text")).to_contain_text('"data": "AAAA"', use_inner_text=False)


def test_the_answer_to_an_earlier_choice_is_not_shown(page: Page) -> None:
    choose_example(page, "a cat")
    choose_example(page, "a dahlia")
    await_answer(page)

    expect(page.locator("#stage-image")).to_have_attribute("alt", "dahlia.jpg")
    expect(page.locator("#code-text")).to_contain_text("dahlia.jpg")


def test_a_service_with_keys_asks_for_one_and_takes_it(
    context: BrowserContext, playground: Running, playground_store: Path, tmp_path: Path
) -> None:
    keys = f"web-app classify {digest(KEY)}"
    with gateway(playground, playground_store, tmp_path, RESNEST_KEYS=keys) as address:
        watched = Watched(context.new_page(), address)
        page = watched.page
        page.goto(address)
        expect(page.locator(".problem")).to_contain_text("unauthenticated")
        expect(page.get_by_role("status").filter(has_text="Enter a key under API key.")).to_be_visible()
        field = page.get_by_label("Key or token. It stays in this tab.")
        expect(field).to_be_visible()
        field.fill(KEY)
        page.get_by_role("button", name="Use", exact=True).click()
        choose_example(page, "a cat")
        await_answer(page)

        page.get_by_text("This request as code").click()
        expect(page.locator("#code-text")).to_contain_text('-H "Authorization: Bearer $API_KEY"')
        assert KEY not in page.content()
        page.get_by_role("radio", name="Segment", exact=True).check()
        expect(page.locator(".problem")).to_contain_text("forbidden")
        page.reload()
        page.get_by_role("radio", name="Classify").wait_for()  # the tab still has the key
        assert watched.complaints == []


def test_behind_a_path_prefix_everything_works(context: BrowserContext, playground: Running) -> None:
    with prefix_proxy(str(playground.client.base_url), "/vision/") as address:
        watched = Watched(context.new_page(), address)
        watched.open()
        choose_example(watched.page, "a cat")
        await_answer(watched.page)
        watched.page.get_by_text("This request as code").click()

        expect(watched.page.locator("#code-text")).to_contain_text(f"{address}v1/classify")
        watched.page.get_by_role("link", name="API reference").click()
        watched.page.wait_for_url(f"{address}docs")
        assert watched.complaints == []
