"""The OpenAPI description is true: generated requests, good and bad, get the answers that it names."""

import contextlib
import json
import re
import sys

import pytest

if sys.version_info < (3, 11):
    pytest.skip("schemathesis needs Python 3.11", allow_module_level=True)

import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from seem.server.projects.project import Project
from seem.server.settings import Limits
from server import image_file, running, upload
from tiny import tiny_model

ADDRESS = "http://localhost/v1"
FEW_CLICKS = {"points_per_side": 3, "crop_n_layers": 0}
EXAMPLES = 8  # of each address: all of it is bounded


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    (folder / "a.png").write_bytes(image_file())
    limits = Limits(image_pixels=100_000)
    with running(tiny_model("nano"), limits, Project.open(folder)) as client:
        yield client


@pytest.fixture(scope="module")
def description(client):
    return client.get("/v1/openapi.json").json()


@pytest.fixture
def api_schema(client, description):
    schema = schemathesis.openapi.from_dict(description)
    schema.app = without_lifespan(client.app)
    return schema


def without_lifespan(app):
    """The same application, which the tool would start and stop around every request."""

    async def running_app(scope, receive, send):
        if scope["type"] == "lifespan":
            for event in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{event}.complete"})
        else:
            await app(scope, receive, send)

    return running_app


@pytest.mark.filterwarnings(
    "ignore::hypothesis.errors.HypothesisDeprecationWarning"
)  # of its strategies
@pytest.mark.parametrize("mode", list(GenerationMode))
def test_answers_are_those_that_are_described(api_schema, client, mode):
    """Ids of images are real ones, so that questions are answered."""
    num_operations = 0
    for operation in api_schema.get_all_operations():
        with contextlib.suppress(
            Unsatisfiable
        ):  # an address that takes nothing cannot be asked wrongly
            check_operation(operation.ok(), client, mode)
            num_operations += 1
    assert num_operations >= 33


def check_operation(operation, client, mode):
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def check(case):
        if mode is GenerationMode.POSITIVE and "image_id" in (case.path_parameters or {}):
            case.path_parameters["image_id"] = upload(client)
        if mode is GenerationMode.POSITIVE and "photo_id" in (case.path_parameters or {}):
            case.path_parameters["photo_id"] = photo_id_of(client)
        if operation.path.endswith("/everything") and isinstance(case.body, dict):
            case.body = (
                {**case.body, **FEW_CLICKS} if mode is GenerationMode.POSITIVE else case.body
            )
        response = case.call(headers={"host": "localhost"}, base_url=ADDRESS, timeout=60)
        case.validate_response(response, excluded_checks=[positive_data_acceptance])

    check()


def photo_id_of(client) -> str:
    (photo,) = client.get("/v1/project").json()["photos"]
    return photo["id"]


def test_every_address_names_its_errors(description):
    for path, operations in description["paths"].items():
        for method, operation in operations.items():
            where = f"{method} {path}"
            answers = operation["responses"]
            assert {"401", "421", "422", "429", "500"} <= set(answers), where
            for status, answer in answers.items():
                if int(status) >= 400:
                    assert list(answer["content"]) == ["application/problem+json"], where
            assert operation["summary"]
            assert operation.get("description"), where


def test_the_description_names_no_machine(description):
    text = json.dumps(description)
    assert "/tmp" not in text
    assert "HTTPValidationError" not in text


def test_the_description_is_a_page_to_read(client, description):
    response = client.get("/api")
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    for path in description["paths"]:
        assert f"/v1{path}</code>" in response.text
    for name in description["components"]["schemas"]:
        assert f'id="{name}"' in response.text
    links = re.findall(r'href="#([^"]+)"', response.text)
    assert set(links) <= set(description["components"]["schemas"])
    assert "<script" not in response.text
    assert client.get(re.search(r'stylesheet" href="([^"]+)"', response.text)[1]).status_code == 200
