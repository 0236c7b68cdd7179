"""`seem segment --ray`: photos shared by the machines of a cluster, of which one dies in the middle."""

import io
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from seem.adapters.ray_cluster import OutputOfOneThread
from seem.cli.main import main
from tiny import picture

NUM_PHOTOS = 48
SECONDS = 600  # until a call that hangs is ended


def test_without_the_extra_it_says_how_to_get_it(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "ray", None)
    picture(60, 40).save("a.png")
    assert main(["segment", "a.png", "--ray", "local", "--quiet"]) == 1
    assert 'pip install "seem[scale]"' in capfd.readouterr().err
    assert not Path("seem-out").exists()


def test_standard_input_is_on_no_other_machine(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    assert main(["segment", "-", "--ray", "local"]) == 2
    assert "--ray local reads files, not standard input" in capfd.readouterr().err


def test_what_other_threads_print_is_no_result():
    output, errors = io.StringIO(), io.StringIO()
    stream = OutputOfOneThread(output, errors)
    other = threading.Thread(target=print, args=("a machine died",), kwargs={"file": stream})
    other.start()
    other.join()
    print("{}", file=stream)
    assert (output.getvalue(), errors.getvalue()) == ("{}\n", "a machine died\n")


@pytest.fixture
def cluster(monkeypatch):
    """Start a cluster of two machines with a core each, both on this one."""
    cluster_utils = pytest.importorskip("ray.cluster_utils", reason='pip install "seem[scale]"')
    monkeypatch.setenv("RAY_worker_niceness", "0")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    node = {"num_cpus": 1, "object_store_memory": 80_000_000, "include_dashboard": False}
    cluster = cluster_utils.Cluster(initialize_head=True, head_node_args=node)
    yield cluster
    cluster.shutdown()


def segment(photos, address):
    """Start `seem segment` in a process of its own, with two models."""
    words = ["segment", str(photos), "--ray", address, "--workers", "2", "--out", "out"]
    return subprocess.Popen(
        [sys.executable, "-m", "seem", *words, "--device", "cpu", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def num_saved(folder):
    return len(list(folder.glob("*.json")))


def wait_until(condition, process):
    until = time.monotonic() + SECONDS
    while not condition():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < until
        time.sleep(0.2)


@pytest.mark.slow
def test_a_machine_dies_and_nothing_is_lost_or_doubled(tmp_path, monkeypatch, cluster):
    monkeypatch.chdir(tmp_path)
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(NUM_PHOTOS):
        picture(200, 150, seed=number).save(photos / f"{number:03}.png")
    (photos / "broken.png").write_bytes(b"no picture")
    second = cluster.add_node(num_cpus=1, object_store_memory=80_000_000)
    cluster.wait_for_nodes()

    process = segment(photos, cluster.address)
    wait_until(lambda: num_saved(tmp_path / "out") > NUM_PHOTOS // 4, process)
    cluster.remove_node(second, allow_graceful=False)
    out, err = process.communicate(timeout=SECONDS)

    assert process.returncode == 1, err
    assert f"1 of {NUM_PHOTOS + 1} photos failed." in err
    assert "broken.png is not a picture" in err
    names = {f"{number:03}" for number in range(NUM_PHOTOS)}
    printed = Counter(json.loads(line)["images"][0]["file_name"] for line in out.splitlines())
    assert printed == Counter(f"{name}.png" for name in names)
    assert {path.stem for path in (tmp_path / "out").glob("*.json")} == names
    for name in names:
        record = json.loads((tmp_path / "out" / f"{name}.json").read_text())
        masks = list((tmp_path / "out").glob(f"{name}.mask-*.png"))
        assert len(masks) == len(record["annotations"])
    leftovers = [path.name for path in (tmp_path / "out").iterdir() if path.name.startswith(".")]
    assert leftovers == []
