"""The speed benchmark: who takes part in a round, how long it goes on, and what its file holds."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, fields
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
speed = pytest.importorskip("speed", exc_type=ImportError)


class FakeSystem:
    """Answers one step, the n-th time in n seconds times its slowness."""

    def __init__(self, label, slowness, step="encode"):
        self.label, self.slowness, self.step, self.asked = label, slowness, step, 0

    def ask(self, step, size=0, value=0):
        if step != self.step:
            return {}
        self.asked += 1
        seconds = self.asked * self.slowness
        return {"cpu": seconds, "wall": 2 * seconds, "peak_mb": 10.0 * self.asked}


def timings(systems, rounds=3, seconds=1000.0):
    options = argparse.Namespace(rounds=rounds, seconds=seconds)
    return {row.system: row for row in speed.measure(systems, "encode", 512, 0, options)}


def test_a_ratio_compares_systems_within_a_round_and_the_first_round_warms_up():
    rows = timings([FakeSystem(speed.THIS, 1.0), FakeSystem("slow", 3.0)])
    assert rows[speed.THIS].cpu_ms == 3000.0  # the median of 2, 3 and 4 seconds
    assert rows[speed.THIS].ratio == 1.0
    assert rows["slow"].cpu_ms == 9000.0
    assert rows["slow"].ratio == 3.0
    assert rows["slow"].wall_ms == 18000.0
    assert rows["slow"].peak_mb == 40.0


def test_everyone_goes_first_in_turn():
    assert speed.rotated("abc", 0) == ["a", "b", "c"]
    assert speed.rotated("abc", 4) == ["b", "c", "a"]
    assert speed.rotated("", 2) == []


def test_a_system_without_the_step_is_left_out():
    rows = timings([FakeSystem(speed.THIS, 1.0), FakeSystem("other", 1.0, step="panoptic")])
    assert list(rows) == [speed.THIS]
    assert timings([FakeSystem(speed.THIS, 1.0, step="panoptic")]) == {}


def test_a_step_that_fails_is_reported_and_leaves_the_others_alone(capsys):
    broken = FakeSystem("other", 1.0)
    broken.ask = lambda step, size, value: {"error": "ValueError: no"}
    assert list(timings([broken, FakeSystem(speed.THIS, 1.0)])) == [speed.THIS]
    assert "other fails at encode 0, size 512: ValueError: no" in capsys.readouterr().out


def test_a_slow_step_is_cut_short_after_one_round():
    assert timings([FakeSystem(speed.THIS, 1.0)], rounds=100, seconds=0.5)[speed.THIS].rounds == 1
    assert timings([FakeSystem(speed.THIS, 1.0)], rounds=100, seconds=9.0)[speed.THIS].rounds == 3


def record():
    rows = timings([FakeSystem(speed.THIS, 1.0), FakeSystem("slow", 3.0)]).values()
    growth = [{**asdict(row), "step": "objects", "value": 4} for row in rows]
    return {
        "format": "seem speed 1",
        "date": "2026-01-01T00:00:00+00:00",
        "model": "nano",
        "precision": "exact",
        "machine": asdict(speed.Machine.here(1)),
        "versions": {"python": "3.11"},
        "matrix_gflops": 90.0,
        "parts": [{"part": "backbone", "gflop": 2.0, "cpu_ms": 40.0, "share": 0.5}],
        "timings": [asdict(row) for row in rows],
        "growth": growth,
        "start_up": [{"system": speed.THIS, "cpu_s": 2.0, "peak_mb": 300.0}],
    }


def test_the_schema_names_every_field_and_no_other():
    schema = json.loads((BENCHMARKS / "speed.schema.json").read_text())
    timing = schema["$defs"]["timing"]
    names = [field.name for field in fields(speed.Timing)]
    assert sorted(timing["properties"]) == sorted(timing["required"]) == sorted(names)
    assert sorted(schema["required"]) == sorted(record())


def test_a_record_is_saved_with_its_plots(tmp_path):
    pytest.importorskip("matplotlib")
    speed.save(record(), tmp_path)
    saved = json.loads((tmp_path / "speed.json").read_text())
    assert saved == json.loads(json.dumps(record()))
    sizes = [(tmp_path / name).stat().st_size for name in ("steps.png", "parts.png", "growth.png")]
    assert min(sizes) > 5000
