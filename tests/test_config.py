"""Profiles and overrides: what is wrong is refused, and the message says what is possible."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from moclip.config import ConfigError, load_config, merge, nested, parse_override, profiles


@pytest.mark.parametrize("profile", profiles())
def test_every_profile_loads_and_names_its_run(profile):
    config = load_config(profile)
    assert config.profile == config.run == profile


def test_smoke_is_quick_with_less():
    quick, smoke = load_config("quick"), load_config("smoke")
    assert smoke.encoder == quick.encoder and smoke.mv.backbone == quick.mv.backbone
    assert smoke.mv.epochs == 1 < quick.mv.epochs and smoke.fusion.seeds == (0,)


def test_overrides_dotted_and_nested_are_the_same():
    dotted = load_config("quick", {"mv.epochs": 3, "data.designs.mixed.test": 2})
    assert dotted == load_config("quick", {"mv": {"epochs": 3}, "data": {"designs": {"mixed": {"test": 2}}}})
    assert dotted.mv.epochs == 3 and dotted.mv.lr == load_config("quick").mv.lr
    assert dotted.data.designs["mixed"].test == 2
    assert dotted.data.designs["mixed"].train == load_config("quick").data.designs["mixed"].train


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"mv.epoch": 3}, "unknown key 'mv.epoch' .did you mean 'epochs'"),
        ({"mw": {"epochs": 3}}, "unknown key 'mw'"),
        ({"data.rot": "x"}, "unknown key 'data.rot' .did you mean 'root'"),
        ({"data.designs.mixed.tests": 1}, "unknown key 'data.designs.mixed.tests' .did you mean 'test'"),
        ({"mv.epochs": 0}, "mv.epochs: .*found 0"),
        ({"mv.epochs": "many"}, "mv.epochs: .*found 'many'"),
        ({"motion.field": "sum"}, "motion.field: .*found 'sum'"),
        ({"encoder": 3}, "encoder: .*found 3"),
        ({"encoder.frame": "last"}, "encoder.frame: .*middle, first, random or uniform:K.*found 'last'"),
        ({"encoder.frame": "uniform:0"}, "encoder.frame: .*uniform:K.*found 'uniform:0'"),
        ({"encoder.prompts": "clip47"}, "encoder.prompts: .*clip48.*reference12.*scene.*name.*found 'clip47'"),
        ({"timing.repeats": 0}, "timing.repeats: .*found 0"),
        ({"timing.batch": 4}, "unknown key 'timing.batch'"),
        ({"timing.largest": 4}, "unknown key 'timing.largest' .did you mean 'largest_batch'"),
        ({"figures.confusion_order": "sorted"}, "figures.confusion_order: .*found 'sorted'"),
        ({"figures.examples": "best"}, "figures.examples: .*found 'best'"),
        ({"figures.vidio": "x"}, "unknown key 'figures.vidio' .did you mean 'video'"),
    ],
)
def test_wrong_overrides(overrides, message):
    with pytest.raises(ConfigError, match=message):
        load_config("quick", overrides)


def test_profile_files(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("extends: smoke\nmv: {epochs: 2}\n")
    config = load_config(str(path))
    assert (config.profile, config.run, config.mv.epochs, config.mv.input_size) == ("mine", "mine", 2, 32)
    assert load_config(str(path), {"run": "other"}).run == "other"
    with pytest.raises(ConfigError, match="no such profile file"):
        load_config(str(tmp_path / "absent.yaml"))
    with pytest.raises(ConfigError, match="unknown profile 'quik' .did you mean 'quick'"):
        load_config("quik")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("mv.epochs=3", {"mv": {"epochs": 3}}),
        ("data.root=/a=b", {"data": {"root": "/a=b"}}),
        ("fusion.seeds=[0, 1]", {"fusion": {"seeds": [0, 1]}}),
        ("data.reencode=true", {"data": {"reencode": True}}),
        ("data.root=", {"data": {"root": None}}),
    ],
)
def test_parse_override(text, value):
    assert parse_override(text) == value


@pytest.mark.parametrize("text", ["mv.epochs", "=3", ""])
def test_parse_override_refuses(text):
    with pytest.raises(ConfigError, match="KEY=VALUE"):
        parse_override(text)


def test_merge_leaves_its_arguments_alone():
    below = {"a": {"x": 1, "y": 2}, "b": 1}
    assert merge(below, {"a": {"y": 3}}) == {"a": {"x": 1, "y": 3}, "b": 1}
    assert below == {"a": {"x": 1, "y": 2}, "b": 1}
    assert nested({"a.b": 1, "a": {"c": 2}}) == {"a": {"b": 1, "c": 2}}


def test_values_do_not_change_after_loading():
    with pytest.raises(ValidationError, match="frozen"):
        load_config("quick").mv.epochs = 3  # type: ignore[misc]


def test_tables_name_what_overrides_changed_of_the_protocol():
    paper = load_config("ucf101").protocol
    assert paper.startswith("paper")
    assert load_config("ucf101", {"data.fold": 2, "mv.seed": 3, "fusion.seeds": [1], "run": "x"}).protocol == paper
    changed = load_config("ucf101", {"mv.epochs": 300, "encoder": {"name": "offline"}, "data.reencode": False})
    assert changed.protocol == f"{paper}, encoder.name=offline, mv.epochs=300, data.reencode=False"
    assert load_config("ucf101", {"mv.epochs": 200}).protocol == paper, "the profile's own value changes nothing"


def test_how_it_is_timed_and_drawn_is_no_protocol():
    drawn = {"confusion_order": "clustered", "examples": "random", "seed": 7, "video": "/home/me/holiday.mp4"}
    config = load_config("quick", {"timing": {"repeats": 3, "largest_batch": 4}, "figures": drawn})
    plain = load_config("quick")
    assert config.protocol == plain.protocol
    assert config.timing.model_dump() == {"repeats": 3, "largest_batch": 4} and config.figures.seed == 7
    assert config.figures.video == Path("/home/me/holiday.mp4")
    assert (plain.timing.repeats, plain.timing.largest_batch) == (15, 32)
    assert plain.figures.model_dump() == {
        "confusion_order": "class", "examples": "median", "seed": 0, "video": None,
    }, "the class file's order, and a rule without chance, unless asked for"  # fmt: skip


def test_a_step_schedule_has_to_step():
    with pytest.raises(ConfigError, match=r"mv: .*milestones \(80, 160\) lie beyond the last of 30 epochs"):
        load_config("ucf101", {"mv.epochs": 30})
    assert load_config("ucf101", {"mv.epochs": 30, "mv.milestones": [10, 20]}).mv.epochs == 30


def test_a_folder_of_own_videos():
    config = load_config("folder", {"data.root": "/videos"})
    assert config.data.name == "video_folder" and config.data.reencode and config.motion.units == "equivalent"
    assert config.protocol == load_config("folder", {"data.seed": 3}).protocol == load_config("ucf101-small").protocol
    changed = load_config("folder", {"data.horizontal_flip": False, "data.val_fraction": 0.1})
    assert changed.protocol == f"{config.protocol}, data.val_fraction=0.1, data.horizontal_flip=False"
    for share in (0, 1):
        with pytest.raises(ConfigError, match=f"data.test_fraction: .*found {share}"):
            load_config("folder", {"data.test_fraction": share})
