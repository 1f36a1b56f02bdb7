"""Profiles and overrides: what is wrong is refused, and the message says what is possible."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from moclip.config.load import (
    FILES,
    leaves,
    load_config,
    merge,
    method,
    names,
    nested,
    parse_override,
    read,
)
from moclip.config.sections import ConfigError


@pytest.mark.parametrize("profile", names("profile"))
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
        ({"data": {"reencode": True}}, r"data: .*generated in one format"),
        (
            {"data.name": "ucf-11"},
            "data.name: .*no such data set .did you mean 'ucf101'.*found 'ucf-11'",
        ),
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
    (tmp_path / "my own.yaml").write_text("extends: smoke\n")
    assert load_config(str(tmp_path / "my own.yaml")).run == "my-own"
    with pytest.raises(ConfigError, match="no such profile file"):
        load_config(str(tmp_path / "absent.yaml"))
    for text, found in (("mv: {epochs", "mine.yaml: not YAML"), ("[mv]", r"mine.yaml: expected .* found \['mv'\]")):
        path.write_text(text)
        with pytest.raises(ConfigError, match=found):
            load_config(str(path))
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


def write_profile(folder, text):
    path = folder / "mine.yaml"
    path.write_text(text)
    return str(path)


SHORT = "extends: ucf101\nmv: {epochs: 50}\n"


def test_what_results_is_checked_and_not_its_parts(tmp_path):
    """A profile's epochs may wait for an override's milestones."""
    mine = write_profile(tmp_path, SHORT)
    with pytest.raises(ConfigError, match=r"mv: .*milestones \(80, 160\) lie beyond the last of 50 epochs"):
        load_config(mine)
    config = load_config(mine, {"mv.milestones": [20, 40]})
    assert (config.mv.epochs, config.mv.milestones) == (50, (20, 40))
    assert config.protocol == "paper as shortened by profile mine, mv.milestones=(20, 40)"
    assert load_config(mine, {"mv.schedule": "one_cycle"}).protocol.endswith("profile mine, mv.schedule=one_cycle")
    assert load_config(mine, {"mv.epochs": 200}).protocol == "paper as shortened by profile mine, mv.epochs=200"


@pytest.mark.parametrize(
    ("profile", "overrides", "protocol"),
    [
        ("protocol: paper-val\ndata: {name: ucf101, val_fraction: 0}", {"mv.select": "last"}, "mv.select=last"),
        (
            "extends: quick\nfusion: {batch_norm: drifting}",
            {"fusion.train_features": "drawn"},
            "fusion.train_features=drawn",
        ),
        ("extends: quick\nbaselines: {size: 8}", {"baselines.size": 64}, ""),
        ("extends: quick\nmv: {epochs: many}", {"mv.epochs": 3}, "mv.epochs=3"),
        ("extends: quick\nmv: 3", {"mv": {"backbone": "x", "lr": 1, "batch_size": 2, "schedule": "one_cycle"}}, ""),
    ],
)
def test_a_profile_need_not_hold_by_itself(tmp_path, profile, overrides, protocol):
    mine = write_profile(tmp_path, profile)
    with pytest.raises(ConfigError):
        load_config(mine)
    assert load_config(mine, overrides).protocol.endswith(protocol)


def test_a_profile_may_leave_the_data_to_overrides(tmp_path):
    mine = write_profile(tmp_path, "protocol: paper\n")
    with pytest.raises(ConfigError, match="data.name: Field required|data: Field required"):
        load_config(mine)
    assert load_config(mine, {"data.name": "video_folder", "data.reencode": False}).protocol == "paper"
    assert load_config(mine, {"data.name": "ucf101", "data.reencode": True}).protocol == "paper, data.reencode=True"


def test_values_are_compared_and_not_how_they_are_written():
    same = {"mv.milestones": [80, 160], "mv.lr": "1e-2", "mv.eps": "1e-8", "mv.lr_multipliers": {"stem": 1}}
    assert load_config("ucf101", same).protocol == "paper"


# --- protocols ------------------------------------------------------------------------------------------------------


def protocol_fields(name):
    return leaves(read("protocol", name))


def test_the_paper_s_protocol_names_every_field_of_the_method():
    """A field that it does not name would be decided by no one; a new one has to be entered there, with its source."""
    machine_s = {"data.reencode", "data.horizontal_flip", "training.accumulate"}  # data at hand, machine at hand
    assert protocol_fields("paper").keys() == method(load_config("ucf101")).keys() - machine_s


@pytest.mark.parametrize("name", names("protocol"))
def test_a_protocol_says_where_each_line_comes_from(name):
    path = FILES / "protocols" / f"{name}.yaml"
    lines = [line for line in path.read_text().splitlines() if line.startswith("  ")]
    unsourced = [line for line in lines if "#" not in line and "milestones" not in line and "train: true" not in line]
    assert name == "paper-val" or len(unsourced) <= 1, unsourced  # `pretrained: true` stands under its backbone
    assert read("protocol", name)


def test_the_profiles_of_ucf101_follow_their_protocol_in_every_field():
    for profile, protocol in (("ucf101", "paper"), ("ucf101-val", "paper-val"), ("ucf101-reference", "reference")):
        config = load_config(profile)
        assert config.protocol == protocol
        dumped = config.model_dump(mode="json")
        for key, value in protocol_fields(protocol).items():
            section, field = key.split(".")
            if section != "insists":
                assert dumped[section][field] == value, key


def test_what_the_published_code_does_otherwise():
    """FACTS 1 and 2, field by field."""
    paper, reference = protocol_fields("paper"), protocol_fields("reference")
    assert {key: value for key, value in reference.items() if paper.get(key) != value} == {
        "encoder.frame": "random", "encoder.resize": "bilinear", "encoder.prompts": "reference12",
        "encoder.normalise_prompts": False,
        "motion.field": "accumulated", "mv.crop_mode": "squash", "mv.flip": "reference", "mv.sampling": "reference",
        "mv.views": 25, "mv.crops": 10, "mv.test_flip": "random", "mv.average": "logit", "mv.select": "test",
        "mv.lr_multipliers": {"classifier": 1.0, "stem": 0.1, "rest": 0.01}, "mv.eps": 1e-3,
        "fusion.epochs": 100, "fusion.batch_norm": "drifting", "fusion.select": "test",
        "data.min_frames": {"train": 5, "test": 27},
        "insists.fusion": {"train_features": "drawn"},
    }  # fmt: skip
    validated = protocol_fields("paper-val")
    assert {key for key in validated if paper[key] != validated[key]} == {"data.val_fraction", "mv.select"}


def test_an_unknown_strategy_names_the_nearest():
    for key, message in {
        "mv.sampling": "mv.sampling: .*unknown sampling 'refrence' .did you mean 'reference'.*: reference, tsn",
        "mv.crop_mode": "mv.crop_mode: .*unknown crop_mode 'refrence'; there are: center, squash",
        "fusion.batch_norm": "fusion.batch_norm: .*unknown batch_norm 'refrence'; there are: drifting, frozen",
    }.items():
        with pytest.raises(ConfigError, match=message):
            load_config("quick", {key: "refrence"})


def test_what_no_protocol_does_is_refused():
    with pytest.raises(ConfigError, match=r"fusion.select"):
        load_config("quick", {"fusion.select": "val", "data.val_fraction": 0.2})
    with pytest.raises(ConfigError, match=r"set data.val_fraction"):
        load_config("quick", {"mv.select": "val"})


@pytest.mark.parametrize("profile", names("profile"))
@pytest.mark.parametrize("protocol", names("protocol"))
def test_any_profile_takes_any_protocol(profile, protocol):
    config = load_config(profile, {"protocol": protocol})
    assert config.protocol.startswith(protocol) and "mv." not in config.protocol
    own = load_config(profile)
    assert (config.mv.epochs, config.mv.lr, config.mv.backbone) == (own.mv.epochs, own.mv.lr, own.mv.backbone)
    assert config.encoder.name == own.encoder.name and config.motion.units == own.motion.units
    if protocol == "reference":
        assert (config.mv.crops, config.mv.average, config.motion.field) == (10, "logit", "accumulated")
        assert config.fusion.batch_norm == "drifting" and config.fusion.train_features == "drawn"


def test_what_is_shortened_is_said_and_by_whom():
    assert load_config("quick").protocol == "paper as shortened by profile quick"
    assert load_config("hmdb51").protocol == "paper", "other data are no other protocol"
    changed = load_config("quick", {"protocol": "reference", "mv.crops": 1, "mv.lr_multipliers.rest": 0.5})
    assert changed.protocol == (
        "reference as shortened by profile quick, mv.crops=1, mv.lr_multipliers=(classifier 1.0, stem 0.1, rest 0.5)"
    )
    assert load_config("ucf101", {"protocol": "reference"}).protocol == load_config("ucf101-reference").protocol
    undone = load_config("quick", {"mv.epochs": 200, "mv.milestones": [80, 160], "mv.schedule": "step"})
    assert "mv.epochs=200" in undone.protocol and undone.protocol.startswith("paper as shortened by profile quick")
    accumulated = load_config("ucf101", {"training": {"accumulate": 4, "devices": 2}})
    assert accumulated.protocol == "paper, training.accumulate=4"


def test_overrides_win_over_what_a_protocol_insists_on():
    with pytest.raises(ConfigError, match=r"fusion: .*batch_norm=drifting needs train_features=drawn"):
        load_config("quick", {"protocol": "reference", "fusion.train_features": "cached"})
    frozen = load_config(
        "quick", {"protocol": "reference", "fusion": {"train_features": "cached", "batch_norm": "frozen"}}
    )
    assert frozen.fusion.train_features == "cached"


def test_an_unknown_protocol_names_the_nearest(tmp_path):
    with pytest.raises(ConfigError, match="unknown protocol 'refrence' .did you mean 'reference'.*: paper, paper-val"):
        load_config("quick", {"protocol": "refrence"})
    path = tmp_path / "mine.yaml"
    path.write_text("extends: smoke\nprotocol: papre\n")
    with pytest.raises(ConfigError, match="unknown protocol 'papre' .did you mean 'paper'"):
        load_config(str(path))


def test_a_folder_of_own_videos():
    config = load_config("folder", {"data.root": "/videos"})
    assert config.data.name == "video_folder" and config.data.reencode and config.motion.units == "equivalent"
    assert config.protocol == load_config("folder", {"data.seed": 3}).protocol == "paper as shortened by profile folder"
    changed = load_config("folder", {"data.horizontal_flip": False, "data.val_fraction": 0.1})
    assert changed.protocol == f"{config.protocol}, data.val_fraction=0.1, data.horizontal_flip=False"
    for share in (0, 1):
        with pytest.raises(ConfigError, match=f"data.test_fraction: .*found {share}"):
            load_config("folder", {"data.test_fraction": share})
