"""Which number type is chosen on which machine, without needing that machine."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from prefboost.devices import numbers
from prefboost.devices.numbers import NumberChoice, choose_numbers, keep_numbers, log_number_choice, resolve_device

pytestmark = pytest.mark.torch
pytest.importorskip("torch")


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """No choice of another test, before or after."""
    for cached in (numbers._choose_native, log_number_choice):
        cached.cache_clear()
    yield
    for cached in (numbers._choose_native, log_number_choice):
        cached.cache_clear()


def put_cpu(monkeypatch: pytest.MonkeyPatch, *, units: bool, ratios: list[float]) -> list[float]:
    """A CPU with or without bf16 units, and what its measurements say; the last one repeats."""
    left = list(ratios)
    monkeypatch.setattr(numbers, "_cpu_has_bf16_units", lambda: units)
    monkeypatch.setattr(numbers, "measure_bf16_ratio", lambda: left.pop(0) if len(left) > 1 else left[0])
    return left


@pytest.mark.parametrize(
    ("units", "ratios", "expected"),
    [
        (True, [0.25], "bfloat16"),
        (True, [3.0, 2.0, 0.3], "bfloat16"),  # a busy machine spoils single measurements
        (True, [3.0, 2.0, 1.9], "float32"),  # units that torch does not use
        (False, [12.0], "float32"),
        (False, [0.2], "float32"),  # emulated bf16 can be fast at one shape and slow at the next
    ],
)
def test_auto_on_a_cpu_is_bf16_only_with_units_that_the_probe_confirms(
    monkeypatch: pytest.MonkeyPatch, units: bool, ratios: list[float], expected: str
) -> None:
    put_cpu(monkeypatch, units=units, ratios=ratios)
    assert choose_numbers("auto", "cpu").name == expected


def test_the_line_says_the_type_and_what_the_other_would_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    put_cpu(monkeypatch, units=False, ratios=[12.4])
    assert choose_numbers("auto", "cpu").line == (
        "numbers: float32 (this CPU has no bf16 units; bf16 would be 12x slower)"
    )


def test_the_choice_is_made_once_so_that_all_parts_of_a_command_compute_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    put_cpu(monkeypatch, units=True, ratios=[0.3, 9.0, 9.0, 9.0])
    assert {choose_numbers("auto", "cpu").name for _ in range(5)} == {"bfloat16"}


@pytest.mark.parametrize(
    ("capability", "expected"), [((7, 0), "float32"), ((7, 5), "float32"), ((8, 0), "bfloat16"), ((9, 0), "bfloat16")]
)
def test_auto_on_a_gpu_goes_by_its_compute_capability(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], expected: str
) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Some GPU")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    # Says yes for emulated bf16 too, hence must not be asked.
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *_: True)
    assert choose_numbers("auto", "cuda:1").name == expected


def test_auto_on_other_devices_goes_by_their_own_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.xpu, "is_bf16_supported", lambda: True, raising=False)
    assert choose_numbers("auto", "xpu").name == "bfloat16"
    assert choose_numbers("auto", "mps").name == "float32", "there is none here, so that its product fails"
    assert choose_numbers("auto", "meta").name == "float32"


def test_what_is_asked_for_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    put_cpu(monkeypatch, units=False, ratios=[20.0])
    for name in ("bfloat16", "float16", "float32"):
        assert choose_numbers(name, "cpu").name == name
        assert choose_numbers(name, "cuda").name == name


def test_a_measurement_is_not_made_in_fewer_bits_than_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    put_cpu(monkeypatch, units=True, ratios=[0.3])
    choice = choose_numbers("auto", "cpu", exact="the checkpoint's weights are float16")
    assert choice == NumberChoice("float32", "the checkpoint's weights are float16")
    assert choose_numbers("bfloat16", "cpu", exact="whatever").name == "bfloat16"


def test_slow_bf16_that_was_asked_for_is_warned_of_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    put_cpu(monkeypatch, units=False, ratios=[20.0])
    with caplog.at_level(logging.INFO, logger="prefboost"):
        for _ in range(3):
            log_number_choice(choose_numbers("bfloat16", "cpu"))
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert caplog.messages == ["numbers: bfloat16 (as asked; this CPU has no bf16 units; bf16 is 20x slower)"]


def test_what_was_begun_elsewhere_is_ended_in_the_same_numbers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    run, store = tmp_path / "run.json", tmp_path / "store.json"
    put_cpu(monkeypatch, units=True, ratios=[0.3])
    with keep_numbers(run):
        assert not run.exists(), "nothing was computed yet"
        assert choose_numbers("auto", "cpu").name == "bfloat16"
    assert json.loads(run.read_text()) == {"numbers": "bfloat16"}
    numbers._choose_native.cache_clear()
    put_cpu(monkeypatch, units=False, ratios=[12.0])
    assert choose_numbers("auto", "cpu").name == "float32"
    with keep_numbers(run), keep_numbers(store):
        choice = choose_numbers("auto", "cpu")
        assert choice.name == "bfloat16" and choice.unwise
        assert choice.line == (
            "numbers: bfloat16 (with which this was begun; here it would be float32: "
            "this CPU has no bf16 units; bf16 would be 12x slower)"
        )
        assert choose_numbers("auto", "cpu", exact="it measures").name == "float32"
        assert choose_numbers("float32", "cpu").name == "float32", "what is asked for is given"
    assert json.loads(store.read_text()) == {"numbers": "bfloat16"}, "a store inside the run begins as the run did"
    store.write_text('{"numbers": "float32"}')
    with keep_numbers(run), keep_numbers(store):
        assert choose_numbers("auto", "cpu").name == "float32", "the innermost record decides"
    for damaged in ("{", "[]", '{"numbers": "int8"}'):
        run.write_text(damaged)
        with keep_numbers(run):
            assert choose_numbers("auto", "cpu").name == "float32"


def test_a_folder_that_cannot_be_written_is_no_reason_to_stop(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    put_cpu(monkeypatch, units=False, ratios=[12.0])
    with keep_numbers(tmp_path / "absent" / "numbers.json"):
        assert choose_numbers("auto", "cpu").name == "float32"


def test_auto_takes_the_gpu_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert (resolve_device(), resolve_device("cpu"), resolve_device("cuda:1")) == ("cuda", "cpu", "cuda:1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device() == "cpu"


def test_units_without_a_vector_extension_that_torch_may_use_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """As under ``ATEN_CPU_CAPABILITY=avx2``."""
    import torch

    def look(capability: str, onednn: bool, units: bool) -> bool:
        monkeypatch.setattr(numbers.platform, "machine", lambda: "x86_64")
        monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
        monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: onednn, raising=False)
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: units, raising=False)
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False, raising=False)
        return numbers._cpu_has_bf16_units()

    assert look("AVX512", True, True)
    assert not look("AVX2", True, True)
    assert not look("AVX512", False, True)
    assert not look("AVX512", True, False), "oneDNN emulates bf16 on every AVX-512 CPU"


def test_the_probe_measures_something_and_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    measure = numbers._compute_layer
    monkeypatch.setattr(numbers, "_compute_layer", lambda *layer: (calls.append(layer), measure(*layer))[1])
    assert numbers.measure_bf16_ratio() > 0
    assert 2 <= len(calls) <= 18
