"""The documentation in a browser: it is drawn under its policy, and its Authorize button signs in."""

from collections.abc import Iterator

import pytest

from tests.end_to_end.browser import Page, browser
from tests.end_to_end.stack import Stack
from tests.nginx.front_door import front_door
from tests.verify.scene import Scene

pytestmark = pytest.mark.needs("chromium")

OF_SOMEBODY_ELSE = "cdn.redoc.ly"
"""ReDoc's own logo, which we do not let it fetch."""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browser(tmp_path_factory.mktemp("profile")) as page:
        yield page


def sign_in(page: Page, url: str, scene: Scene) -> None:
    """Through Swagger's Authorize, as a person does."""
    page.open(url)
    page.run("localStorage.clear()")
    page.open(url)
    page.wait_for("document.querySelectorAll('.opblock').length > 3")
    page.click(".btn.authorize")
    page.type("#oauth_username", scene.maker.username)
    page.type("#oauth_password", scene.maker.password)
    page.run(
        "document.querySelector('#oauth_password').closest('.auth-container').querySelector('.authorize').click()"
    )
    page.wait_for(
        "[...document.querySelectorAll('.auth-btn-wrapper button')].some(b => b.innerText == 'Logout')"
    )


class TestSwagger:
    @pytest.mark.parametrize("service", ["api", "ml"])
    def test_is_drawn_and_signs_in_at_each_service(
        self, stack: Stack, scene: Scene, page: Page, service: str
    ) -> None:
        url = {"api": stack.api_url, "ml": stack.ml_url}[service]

        sign_in(page, f"{url}/docs", scene)

        assert page.complaints == []

    def test_does_so_under_this_machines_other_name(self, stack: Stack, scene: Scene, page: Page) -> None:
        sign_in(page, f"{stack.ml_url.replace('127.0.0.1', 'localhost')}/docs", scene)

        assert page.complaints == []

    @pytest.mark.needs("nginx")
    @pytest.mark.parametrize("path", ["/docs", "/ml/docs"])
    def test_does_so_behind_nginx_on_its_one_origin(
        self, stack: Stack, scene: Scene, page: Page, tmp_path_factory: pytest.TempPathFactory, path: str
    ) -> None:
        folder = tmp_path_factory.mktemp("nginx")
        with front_door(folder, api_url=stack.api_url, ml_url=stack.ml_url) as door:
            sign_in(page, door.web_url + path, scene)

            assert page.complaints == []

    def test_runs_no_script_that_somebody_put_in(self, stack: Stack, page: Page) -> None:
        page.open(f"{stack.api_url}/docs")
        page.wait_for("document.querySelectorAll('.opblock').length > 3")

        page.run(
            "window.ran = false; const s = document.createElement('script'); s.textContent = 'window.ran = true';"
            "document.body.append(s)"
        )

        assert page.run("window.ran") is False
        page.wait_for("true")
        assert any("Content Security Policy" in each for each in page.complaints)


class TestPageOfAModel:
    def test_shows_a_demo_model_at_once_and_tries_it_out(self, stack: Stack, page: Page) -> None:
        page.open(f"{stack.ml_url}/models/demo_model_1/docs")

        wait_for_model(page, fields=["feature1", "feature2", "feature3", "feature4"])
        assert try_it_out(page) == 200
        assert page.complaints == []

    def test_shows_another_one_to_who_shows_a_token(self, stack: Stack, scene: Scene, page: Page) -> None:
        open_private(page, stack.ml_url, scene)
        assert page.run("document.querySelector('#fields').hidden")

        page.type("#credential", scene.maker.tokens["access_token"])
        page.click("#sign-in button")

        wait_for_model(page, fields=fields_of(scene))
        assert try_it_out(page) == 200
        assert page.complaints == []

    def test_asks_once_in_a_tab_and_forgets_on_sign_out(self, stack: Stack, scene: Scene, page: Page) -> None:
        open_private(page, stack.ml_url, scene)
        sign_in_to_model(page, scene.maker.username, scene.maker.password)
        wait_for_model(page, fields=fields_of(scene))

        page.open(address_of(stack.ml_url, scene))
        wait_for_model(page, fields=fields_of(scene))
        page.click("#sign-out")

        page.wait_for(FORM_IS_THERE)
        assert page.run("sessionStorage.length + localStorage.length") == 0
        assert page.complaints == []

    def test_says_in_a_sentence_why_it_shows_nothing(self, stack: Stack, scene: Scene, page: Page) -> None:
        open_private(page, stack.ml_url, scene)

        sign_in_to_model(page, scene.stranger.username, scene.stranger.password)
        page.wait_for("document.querySelector('#trouble').textContent.includes('no such model')")
        page.run("document.querySelector('#credential').value = 'mlp_made_up'")
        page.click("#sign-in button")
        page.wait_for("document.querySelector('#trouble').textContent.includes('does not hold')")

        assert page.run("document.querySelectorAll('.opblock').length") == 0

    @pytest.mark.needs("nginx")
    def test_does_so_behind_nginx_on_its_one_origin(
        self, stack: Stack, scene: Scene, page: Page, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        with front_door(tmp_path_factory.mktemp("nginx"), api_url=stack.api_url, ml_url=stack.ml_url) as door:
            open_private(page, f"{door.web_url}/ml", scene)
            sign_in_to_model(page, scene.maker.username, scene.maker.password)

            wait_for_model(page, fields=fields_of(scene))
            assert try_it_out(page) == 200
            assert page.complaints == []


FORM_IS_THERE = "document.querySelector('#sign-in:not([hidden])') !== null"


def address_of(ml_url: str, scene: Scene) -> str:
    return f"{ml_url}/models/{scene.model['endpoint']}/docs"


def fields_of(scene: Scene) -> list[str]:
    row, _ = scene.rows[0]
    return list(row)


def open_private(page: Page, ml_url: str, scene: Scene) -> None:
    """The page of a deployed model, as somebody sees it who has shown nothing in this tab."""
    page.open(address_of(ml_url, scene))
    page.run("sessionStorage.clear(); localStorage.clear()")
    page.open(address_of(ml_url, scene))
    page.wait_for(FORM_IS_THERE)


def sign_in_to_model(page: Page, username: str, password: str) -> None:
    page.type("#username", username)
    page.type("#password", password)
    page.click("#sign-in button")


def wait_for_model(page: Page, *, fields: list[str]) -> None:
    page.wait_for("document.querySelectorAll('.opblock').length == 2")
    shown = "[...document.querySelectorAll('#fields tbody td:first-child')].map(each => each.textContent)"
    assert sorted(page.run(shown)) == sorted(fields)


def try_it_out(page: Page) -> int:
    """Predict the row that the page proposes; the status that it shows."""
    page.click("#operations-predictions-predict .opblock-summary-control")
    body = "document.querySelector('#operations-predictions-predict textarea')"
    page.wait_for(f"{body} !== null && {body}.value.includes('input_data')")
    page.click("#operations-predictions-predict .execute")
    status = "document.querySelector('.live-responses-table tbody .response-col_status')"
    page.wait_for(f"{status} !== null")
    return int(page.run(f"{status}.textContent"))


class TestRedoc:
    @pytest.mark.parametrize("service", ["api", "ml"])
    def test_is_drawn(self, stack: Stack, page: Page, service: str) -> None:
        page.open({"api": stack.api_url, "ml": stack.ml_url}[service] + "/redoc")

        page.wait_for("document.querySelectorAll('[id^=operation], [id^=tag]').length > 3")

        assert not [each for each in page.complaints if OF_SOMEBODY_ELSE not in each]
