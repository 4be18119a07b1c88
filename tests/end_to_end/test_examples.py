"""What the documentation shows is run as it stands."""

import re
import shutil
import sys
from pathlib import Path

import pytest

from tests.end_to_end.stack import REPOSITORY, Stack
from tests.verify.scene import Scene

pytestmark = pytest.mark.timeout(300)

BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="not run: curl is not installed")


def test_the_demo_completes(stack: Stack) -> None:
    ran = stack.run(sys.executable, "examples/python_client_demo.py")

    assert ran.returncode == 0, ran.stdout
    assert "Every step held." in ran.stdout
    assert len(set(re.findall(r"lightgbm .* (\d+\.\d) %", ran.stdout))) >= 5


def test_the_demo_says_what_is_wrong_when_nothing_listens(stack: Stack) -> None:
    ran = stack.run(sys.executable, "examples/python_client_demo.py", MLP_BASE_URL="http://127.0.0.1:9")

    assert ran.returncode == 1
    assert "cannot be reached" in ran.stdout
    assert "Traceback" not in ran.stdout


@needs_curl
@pytest.mark.parametrize("pages", [["examples/README.md"], ["README.md", "docs/jobs.md"]], ids=" ".join)
def test_the_shell_blocks_work_one_after_the_other(stack: Stack, tmp_path: Path, pages: list[str]) -> None:
    """What needs Docker or an administrator is marked `bash`, and is not run here."""
    blocks = [block for page in pages for block in BLOCK.findall((REPOSITORY / page).read_text())]
    assert len(blocks) > len(pages)
    script = tmp_path / "blocks.sh"
    script.write_text("set -euo pipefail\n" + "\necho\n".join(blocks))

    ran = stack.run("bash", str(script))

    assert ran.returncode == 0, ran.stdout


def test_every_promise_holds(stack: Stack) -> None:
    ran = stack.run(sys.executable, "-m", "tests.verify")

    assert ran.returncode == 0, ran.stdout
    assert "FAIL" not in ran.stdout


@needs_curl
class TestSmokeTest:
    def check(self, stack: Stack, **variables: str) -> tuple[int, str]:
        ran = stack.run("./test_api.sh", **{"WEB_URL": "", "CURL_OPTIONS": "", **variables})
        assert "Error" not in ran.stdout
        assert "eyJ" not in ran.stdout, "a token is printed"
        return ran.returncode, ran.stdout

    def test_passes(self, stack: Stack) -> None:
        code, said = self.check(stack)

        assert code == 0, said
        assert re.search(r"^[1-9]\d+ passed, 0 failed$", said, re.MULTILINE), said
        assert "✗" not in said

    def test_names_what_it_expected_and_what_came(self, stack: Stack) -> None:
        code, said = self.check(stack, LATENCY_LIMIT_MS="0.001")

        assert code == 1
        assert "expected: a['p95_ms'] <= 0.001" in said
        assert re.search(r"came: +median [\d.]+ ms, p95 [\d.]+ ms", said)
        assert "passed, 1 failed" in said, said

    def test_goes_on_when_one_service_is_away(self, stack: Stack) -> None:
        code, said = self.check(stack, API_URL="http://127.0.0.1:9")

        assert code == 1
        assert "✗ api-server is alive" in said
        assert "✓ demo_model_1, with probabilities" in said

    def test_says_what_to_do_when_nothing_listens(self, stack: Stack) -> None:
        code, said = self.check(stack, API_URL="http://127.0.0.1:9", ML_URL="http://127.0.0.1:9")

        assert code == 1
        assert said.count("Nothing answers") == 1
        assert "make dev" in said
        assert "passed" not in said


class TestSimplePredict:
    def predict(self, stack: Stack, *arguments: str, **variables: str) -> tuple[int, str]:
        ran = stack.run(sys.executable, "examples/simple_predict.py", *arguments, **variables)
        assert "Traceback" not in ran.stdout
        return ran.returncode, ran.stdout

    def test_asks_a_demo_model_by_default(self, stack: Stack) -> None:
        code, said = self.predict(stack)

        assert code == 0, said
        assert said.startswith("prediction ")

    def test_shows_probabilities(self, stack: Stack) -> None:
        code, said = self.predict(stack, "--proba")

        assert code == 0, said
        assert said.count("probability ") == 2

    def test_asks_a_model_of_ones_own(self, stack: Stack, scene: Scene) -> None:
        row = re.sub(r"'", '"', str(scene.rows[0].features).replace("None", "null"))
        arguments = ("--model", scene.model["endpoint"], "--features", row)

        code, said = self.predict(stack, *arguments, MLP_TOKEN=scene.maker.tokens["access_token"])
        assert code == 0, said

        code, said = self.predict(stack, *arguments)
        assert code == 1
        assert "401" in said
        assert "MLP_API_KEY" in said

    def test_explains_each_wrong_field(self, stack: Stack) -> None:
        code, said = self.predict(
            stack, "--features", '{"feature1": "1", "feature2": 2, "feature_3": 3, "feature4": 4}'
        )

        assert code == 1
        for expected in (
            "feature1: wrong_type",
            "feature_3: unknown_field",
            "feature3: missing_field",
            "request id",
        ):
            assert expected in said

    @pytest.mark.parametrize("features", ["not json", "[1, 2]", "7"])
    def test_explains_features_that_are_no_object(self, stack: Stack, features: str) -> None:
        code, said = self.predict(stack, "--features", features)

        assert code == 2
        assert "JSON" in said

    def test_explains_an_address_where_nothing_listens(self, stack: Stack) -> None:
        code, said = self.predict(stack, "--ml-url", "http://127.0.0.1:9")

        assert code == 1
        assert "cannot be reached" in said
