"""Profile files: what they say of a kernel, and what is wrong with a damaged one."""

import json
import time

import numpy as np
import pytest

from mcusim.calibration.profile_file import FittedBuild, FittedProfile, profile_text
from mcusim.errors import McusimError
from mcusim.instruction_mix import CLASSES, FIELDS
from mcusim.kernels import closest, profile
from mcusim.kernels.closest import closest_profile
from mcusim.kernels.profile import load_profile
from mcusim.resources import data_path

_BUILD = {
    "rows": 4,
    "held_out_median": 0.001,
    "held_out_p95": 0.02,
    "spread": 0.01,
    "unseen": ["rare"],
    "levels": {"call": {"alu": 10, "load_word": 2}, "element": {"alu": 3.5}, "rare": {}},
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty kernels folder in place of the project's."""
    for module in (profile, closest):
        monkeypatch.setattr(module, "data_path", lambda *parts: tmp_path.joinpath(*parts[1:]))
    (tmp_path / "closest.toml").write_text(data_path("kernels", "closest.toml").read_text())
    (tmp_path / "stand_ins.toml").write_text("")
    _forget()
    yield tmp_path
    _forget()


def _forget():
    load_profile.cache_clear()
    closest_profile.cache_clear()
    closest._tables.cache_clear()
    closest._stand_ins.cache_clear()


def _write(folder, name, builds, **changes):
    path = folder / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    content = {"source": "a test", "builds": dict.fromkeys(builds, _BUILD | changes)}
    path.write_text(json.dumps(content))


def test_a_mix_is_what_each_turn_executes_times_the_turns(folder):
    _write(folder, "reference/relu_int8", ["m4.gcc-O3"])
    found = load_profile("reference/relu_int8")
    assert found is not None
    build = found.builds["m4.gcc-O3"]
    mix = build.mix({"element": 100, "call": 1, "rare": 0})
    assert mix.counts == {"alu": 360, "load_word": 2}
    assert build.unpriced({"element": 100, "call": 1, "rare": 0}) == ()
    assert build.unpriced({"element": 100, "call": 1, "rare": 2}) == ("rare",)
    assert build.error == pytest.approx(np.hypot(0.01, 0.01))


def test_totals_with_shares_are_spread_over_the_classes(folder):
    shares = {"alu": 0.75, "load_word": 0.25, "load_accesses": 0.3}
    _write(folder, "framework/x", ["m4.gcc-O3"], shares=shares, levels={"call": 400}, unseen=[])
    mix = load_profile("framework/x").builds["m4.gcc-O3"].mix({"call": 2})
    assert mix.total == 800
    assert mix.counts == {"alu": 600, "load_word": 200}
    assert mix["load_accesses"] == 240


@pytest.mark.parametrize(
    "trips", [{"call": 1, "rare": 0}, {"call": 1, "element": 2, "rare": 0, "row": 3}]
)
def test_trips_must_be_those_of_the_profile(folder, trips):
    """A kernel whose loops were changed must be fitted again, not priced by half its loops."""
    _write(folder, "reference/relu_int8", ["m4.gcc-O3"])
    build = load_profile("reference/relu_int8").builds["m4.gcc-O3"]
    with pytest.raises(McusimError, match="fit the profile again"):
        build.mix(trips)


def test_what_is_not_there_is_none():
    assert load_profile("reference/no_such_kernel") is None
    assert load_profile("") is None


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "Expecting property name"),
        ("[]", "list indices"),
        ('{"source": "x", "builds": {"m4.gcc-O3": {}}}', "levels"),
        (
            json.dumps({"source": "x", "builds": {"a": _BUILD | {"levels": {"call": {"vli": 1}}}}}),
            "vli",
        ),
    ],
)
def test_a_damaged_file_is_named(folder, content, said):
    (folder / "reference").mkdir()
    (folder / "reference" / "bad_int8.json").write_text(content)
    with pytest.raises(McusimError, match=r"bad_int8\.json: not a kernel profile") as caught:
        load_profile("reference/bad_int8")
    assert said in str(caught.value)


def test_what_is_written_is_what_is_read(folder):
    rng = np.random.default_rng(3)
    per_turn = rng.integers(0, 50, (2, len(FIELDS))) * rng.integers(0, 2, (2, len(FIELDS))) / 8
    build = FittedBuild(("call", "pixel"), per_turn, ("pixel",), 7, 0.0012345, 0.02, 0.003)
    text = profile_text(FittedProfile("reference/x_int8", "here", {"f": "0"}, {"m4.gcc-O3": build}))
    (folder / "reference").mkdir()
    (folder / "reference" / "x_int8.json").write_text(text)
    read = load_profile("reference/x_int8").builds["m4.gcc-O3"]
    np.testing.assert_allclose(read.per_turn, per_turn, rtol=1e-5)
    assert (read.levels, read.unseen, read.rows) == (("call", "pixel"), ("pixel",), 7)
    assert read.held_out_median == 0.00123
    level_lines = [line for line in text.splitlines() if '"pixel": {' in line]
    assert len(level_lines) == 1


def test_its_own_build_prices_a_kernel(folder):
    _write(folder, "reference/relu_int8", ["m4.gcc-O3", "m4.gcc-Os"])
    found = closest_profile("reference/relu_int8", "m4", "gcc-Os")
    assert found.is_exact
    assert (found.key, found.distance, found.reason) == ("m4.gcc-Os", 0, "")


@pytest.mark.parametrize(
    ("core", "flag", "key"),
    [
        ("m33", "gcc-Os", "m4.gcc-Os"),
        ("m33", "gcc-O3", "m4.gcc-O3"),
        ("m4", "gcc-O2", "m4.gcc-mk"),
        ("m4", "gcc-O3nc", "m4.gcc-O3"),
        ("m3", "gcc-Os", "m4-soft.gcc-Os"),
        ("m0", "gcc-O3", "m0plus.gcc-O3"),
    ],
)
def test_the_closest_build_prices_one_that_was_not_counted(folder, core, flag, key):
    counted = ["m4.gcc-O3", "m4.gcc-Os", "m4.gcc-mk", "m4-soft.gcc-Os", "m0plus.gcc-O3"]
    _write(folder, "reference/relu_int8", counted)
    found = closest_profile("reference/relu_int8", core, flag)
    assert found.key == key
    assert not found.is_exact
    assert found.error > found.build.error
    assert found.reason == f"counted as {key}, not as {core}.{flag}"


def test_another_type_prices_one_that_was_not_counted(folder):
    _write(folder, "reference/relu_int8", ["m4.gcc-O3"])
    found = closest_profile("reference/relu_uint8", "m4", "gcc-O3")
    assert found.profile == "reference/relu_int8"
    assert "priced as reference/relu_int8, not counted" in found.reason
    assert found.mix({"call": 1, "element": 2}).total == 19


def test_a_stand_in_prices_by_named_levels(folder):
    _write(folder, "reference/sub_int8", ["m4.gcc-O3"])
    (folder / "stand_ins.toml").write_text(
        '["reference/odd_int8"]\nprofile = "reference/sub_int8"\n'
        'reason = "the same loop"\ndistance = 0.2\nlevels = { element = "odd element" }\n'
    )
    found = closest_profile("reference/odd_int8", "m4", "gcc-O3")
    assert found.mix({"call": 1, "odd element": 100}).counts == {"alu": 360, "load_word": 2}
    assert found.reason == "priced as reference/sub_int8, not counted: the same loop"
    assert found.distance == 0.2


def test_nothing_near_is_said(folder):
    _write(folder, "reference/relu_int8", ["m4.gcc-O3"])
    assert closest_profile("reference/relu_float32", "m4", "gcc-O3") is None
    assert closest_profile("reference/relu_int8", "m0plus", "gcc-O3") is None
    assert closest_profile("reference/relu_int8", "m4", "armclang-O3") is None


def test_every_profile_counts_something_and_all_load_quickly():
    """Instructions are none or more; a level may spare branches that are taken without it, as the
    last turn of a loop does. Glue may have none: where few calls of the function alone were
    counted, the fit may give all of a call to the function."""
    taken = FIELDS.index("taken_conditional")
    paths = sorted(data_path("kernels").rglob("*.json"))
    names = [str(path.relative_to(data_path("kernels")).with_suffix("")) for path in paths]
    load_profile.cache_clear()
    start = time.perf_counter()
    loaded = [load_profile(name) for name in names]
    assert time.perf_counter() - start < 2.0
    for name, found in zip(names, loaded, strict=True):
        assert found is not None
        for build in found.builds.values():
            assert np.delete(build.per_turn, taken, axis=1).min() >= 0
            assert build.per_turn[:, taken].min() >= -2
            assert build.per_turn[:, : len(CLASSES)].sum() > 0 or "/glue_" in name


def test_stand_ins_are_counted_kernels_with_the_levels_named():
    for name, entry in closest._stand_ins().items():
        ending = name.rpartition("_")[2]
        whole = ending in ("int4", "int8", "int16", "int32", "float32") or "cmsis_nn/" in name
        types = [""] if whole else ["_int8", "_float32", "_int16"]
        found = [load_profile(entry["profile"] + dtype) for dtype in types]
        counted = [profile for profile in found if profile is not None]
        assert counted or entry["profile"].startswith("framework/"), name
        levels = {level for p in counted for build in p.builds.values() for level in build.levels}
        assert set(entry.get("levels", {})) <= levels, name
        assert 0 < entry["distance"] <= 2, name
        assert load_profile(name) is None, f"{name} is counted itself"
