"""Rounds with memory and undo, over HTTP."""

import threading
import time

import pytest

import seem
from seem.server.settings import Limits
from server import POINT, assert_same, image_file, problem_of, running, service_of, upload
from tiny import tiny_model

NEGATIVE = {**POINT, "x": 40, "positive": False}


@pytest.fixture(scope="module")
def model():
    return tiny_model("nano")


@pytest.fixture
def client(model):
    with running(model, Limits(rounds=3, sessions=2)) as client:
        yield client


@pytest.fixture
def session(client):
    image_id = upload(client)
    response = client.post(f"/v1/images/{image_id}/sessions", json={})
    assert response.status_code == 201
    assert response.json()["rounds"] == 0
    return response.headers["location"]


def stored_session(client, session):
    image_id, session_id = session.split("/")[3::2]
    return service_of(client).images.get(image_id).sessions.get(session_id)


def add(client, session, prompt=POINT, **fields):
    return client.post(f"{session}/rounds", json={"prompts": [prompt], **fields})


def undo(client, session, **query):
    return client.delete(f"{session}/rounds/last", params=query)


def test_rounds_are_those_of_a_session_in_python(client, session, model):
    image = service_of(client).find_image(session.split("/")[3])
    talk = image.session()
    first, second = add(client, session), add(client, session, NEGATIVE)
    assert_same(first.json()["result"], talk.add(seem.Point(20, 10)), has_labels=False)
    expected = talk.add(seem.Point(40, 10, positive=False))
    assert_same(second.json()["result"], expected, has_labels=False)
    assert second.json()["rounds"] == 2
    assert client.get(session).json()["result"]["objects"] == second.json()["result"]["objects"]


def test_undo_returns_the_answer_before(client, session):
    first = add(client, session).json()
    add(client, session, NEGATIVE)
    assert undo(client, session).json()["result"]["objects"] == first["result"]["objects"]
    assert undo(client, session).json() == {"id": first["id"], "rounds": 0, "result": None}
    assert problem_of(undo(client, session)) == "nothing-to-undo"


def test_a_repeated_request_is_a_conflict(client, session):
    assert add(client, session, after=0).status_code == 200
    assert problem_of(add(client, session, after=0)) == "round-conflict"
    assert problem_of(undo(client, session, after=2)) == "round-conflict"
    assert client.get(session).json()["rounds"] == 1
    assert undo(client, session, after=1).json()["rounds"] == 0


def test_a_prompt_that_is_refused_leaves_the_session_as_it_was(client, session):
    add(client, session)
    assert problem_of(add(client, session, {**POINT, "x": 4000})) == "invalid-request"
    assert client.get(session).json()["rounds"] == 1


def test_rounds_and_sessions_are_bounded(client, session):
    for _ in range(3):
        assert add(client, session, NEGATIVE if _ else POINT).status_code == 200
    assert problem_of(add(client, session)) == "too-many-rounds"
    sessions = session.rpartition("/")[0]
    for _ in range(2):
        assert client.post(sessions, json={}).status_code == 201
    assert problem_of(client.get(session)) == "gone"


def test_a_session_that_is_answering_refuses_a_second_request(client, session):
    stored = stored_session(client, session)
    with stored.lock:
        assert problem_of(add(client, session)) == "session-busy"
        assert problem_of(undo(client, session)) == "session-busy"
    assert add(client, session).status_code == 200


def test_rounds_count_as_memory_of_their_image(client, session):
    image = service_of(client).images.get(session.split("/")[3])
    before = image.num_bytes
    add(client, session)
    assert image.num_bytes > before + 1000
    undo(client, session)
    assert image.num_bytes == before


def test_sessions_end_with_their_image(client, session):
    image = session.partition("/sessions")[0]
    assert client.delete(image).status_code == 204
    assert problem_of(client.get(session)) == "gone"
    assert problem_of(add(client, session)) == "gone"


def test_ids_of_one_image_open_nothing_of_another(client, session):
    other = upload(client, image_file(seed=3))
    session_id = session.rpartition("/")[2]
    assert problem_of(client.get(f"/v1/images/{other}/sessions/{session_id}")) == "not-found"


def test_rounds_that_come_at_once_are_answered_or_refused(client, session):
    statuses = []

    def send():
        time.sleep(0.01)
        statuses.append(add(client, session).status_code)

    threads = [threading.Thread(target=send) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(statuses) <= {200, 409}
    assert client.get(session).json()["rounds"] == min(statuses.count(200), 3)
