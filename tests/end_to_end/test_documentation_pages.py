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


class TestRedoc:
    @pytest.mark.parametrize("service", ["api", "ml"])
    def test_is_drawn(self, stack: Stack, page: Page, service: str) -> None:
        page.open({"api": stack.api_url, "ml": stack.ml_url}[service] + "/redoc")

        page.wait_for("document.querySelectorAll('[id^=operation], [id^=tag]').length > 3")

        assert not [each for each in page.complaints if OF_SOMEBODY_ELSE not in each]
