"""What is stored: bounded, forgotten when unused, and secret."""

from dataclasses import dataclass

import pytest

from seem.server.problems import Problem
from seem.server.settings import Limits
from seem.server.stored_images import RecentStore
from server import POINT, image_file, problem_of, running, service_of, upload
from tiny import tiny_model


@dataclass
class Item:
    num_bytes: int
    is_closed: bool = False

    def close(self):
        self.is_closed = True


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store(clock):
    return RecentStore("image", max_bytes=100, idle_seconds=60, max_items=3, clock=clock)


def kind_of_missing(store, item_id) -> str:
    with pytest.raises(Problem) as caught:
        store.get(item_id)
    return caught.value.kind


def test_the_least_recently_used_leaves(store):
    items = [Item(30), Item(30), Item(30)]
    first, second, third = map(store.put, items)
    store.get(first)
    fourth = store.put(Item(30))
    assert [item.is_closed for item in items] == [False, True, False]
    assert kind_of_missing(store, second) == "gone"
    assert store.num_evicted == 1
    assert store.num_bytes == 90
    for item_id in (first, third, fourth):
        store.get(item_id)


def test_an_item_larger_than_the_store_is_refused(store):
    item_id = store.put(Item(60))
    with pytest.raises(Problem, match="fill the server's memory"):
        store.put(Item(101))
    store.get(item_id)


def test_items_that_grow_push_out_others(store):
    items = [Item(10), Item(10)]
    first, second = map(store.put, items)
    items[1].num_bytes = 95
    store.shrink()
    assert kind_of_missing(store, first) == "gone"
    store.get(second)


def test_an_unused_item_is_forgotten_and_a_used_one_stays(store, clock):
    first, second = store.put(Item(1)), store.put(Item(1))
    clock.now = 50
    store.get(first)
    clock.now = 61
    assert kind_of_missing(store, second) == "gone"
    clock.now = 110
    store.get(first)
    clock.now = 171
    assert kind_of_missing(store, first) == "gone"
    assert len(store) == 0


def test_an_id_that_never_was_is_not_gone(store):
    assert kind_of_missing(store, "nothing") == "not-found"


def test_ids_of_forgotten_items_are_bounded(store, monkeypatch):
    monkeypatch.setattr("seem.server.stored_images.MAX_REMEMBERED_IDS", 2)
    ids = [store.put(Item(1)) for _ in range(3)]
    for item_id in ids:
        store.remove(item_id)
    assert [kind_of_missing(store, item_id) for item_id in ids] == ["not-found", "gone", "gone"]


# --- Over HTTP --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model():
    return tiny_model("nano")


def test_the_same_photo_of_two_users_is_two_images(model):
    with running(model) as client:
        first, second = upload(client), upload(client)
        assert first != second
        assert min(len(first), len(second)) >= 20
        assert client.delete(f"/v1/images/{first}").status_code == 204
        assert client.get(f"/v1/images/{second}").status_code == 200
        assert problem_of(client.get(f"/v1/images/{first}")) == "gone"
        assert problem_of(client.delete(f"/v1/images/{first}")) == "gone"


def test_images_leave_when_memory_is_short(model):
    with running(model) as client:
        size = client.get(f"/v1/images/{upload(client)}").json()["bytes"]
    with running(model, Limits(cache_bytes=int(2.5 * size))) as client:
        ids = [upload(client, image_file(seed=seed)) for seed in range(3)]
        statuses = [client.get(f"/v1/images/{image_id}").status_code for image_id in ids]
        assert statuses == [410, 200, 200]
        assert 'seem_evicted_items{of="images"} 1.0' in client.get("/metrics").text


def test_an_image_that_is_forgotten_says_so(model):
    with running(model, Limits(idle_seconds=60)) as client:
        image_id = upload(client)
        service = service_of(client)
        clock = Clock()
        service.images._clock = clock
        clock.now = 10**9
        assert problem_of(client.get(f"/v1/images/{image_id}")) == "gone"
        response = client.post(f"/v1/images/{image_id}/segment", json={"prompts": [POINT]})
        assert problem_of(response) == "gone"
        assert "upload it again" in response.json()["detail"]


def test_bytes_of_an_image_are_its_pixels_and_tensors(model):
    with running(model) as client:
        body = client.get(f"/v1/images/{upload(client, image_file(48, 40))}").json()
        stored = service_of(client).images.get(body["id"])
        encoding = stored.image.encoding
        assert body["bytes"] > 48 * 40 * 4 + encoding.pixels.mask_features.cells.nbytes
