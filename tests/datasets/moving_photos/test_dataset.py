"""MovingPhotos: what the design promises, and that the middle frame tells nothing of the motion."""

import math
import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from moclip.datasets import VideoDataset, load_dataset
from moclip.datasets.moving_photos import dataset as mp
from moclip.datasets.moving_photos.photos import OBJECTS, PHOTOS, TEXTURES, photo, photo_path
from moclip.datasets.moving_photos.render import CAMERAS, HEIGHT, MOTIONS, WIDTH, ClipSpec, iterate, seen_pose
from moclip.video import probe, read_motion

TINY = {"train_groups": 1, "test_groups": 1, "frames": 6}
FOUR = ("CatLeft", "CatRecede", "MotorcycleLeft", "MotorcycleShake")


def draw(class_name: str, group: int = 1, take: int = 1, design: str = "mixed", seed: int = 0) -> ClipSpec:
    return mp.Design(design, seed=seed).draw(class_name, f"g{group:02d}", f"c{take:02d}")


def make(root: Path | None, val_fraction: float = 0.0, workers: int = 1, **fields: object) -> VideoDataset:
    return load_dataset(
        "moving_photos", design=mp.Design(**fields), root=root, val_fraction=val_fraction, workers=workers
    )


def middle_frame(spec: ClipSpec) -> np.ndarray:
    return next(iterate(spec, range(1)))


# --- design ---------------------------------------------------------------------------------------------------------


def test_mixed_recurs_and_needs_both_streams() -> None:
    graph = mp.class_graph("mixed")
    things = Counter(thing for thing, _ in graph.values())
    motions = Counter(motion for _, (motion,) in graph.values())
    assert len(graph) == 16 and set(things) == set(OBJECTS) and set(motions) == set(MOTIONS)
    assert mp.ceilings(graph) == pytest.approx({"appearance": 0.625, "motion": 0.625, "fusion": 1.0})
    for thing, (motion,) in graph.values():  # no class can be told by either stream alone
        assert things[thing] > 1 or motions[motion] > 1
    texts = {name: mp._text("mixed", *value) for name, value in graph.items()}
    assert len(set(texts.values())) == 16 and texts["CatLeft"] == "cat moving left"


def test_ceilings_follow_the_graph() -> None:
    assert mp.ceilings({name: mp.class_graph("mixed")[name] for name in FOUR})["appearance"] == pytest.approx(0.5)
    assert mp.ceilings({name: mp.class_graph("mixed")[name] for name in FOUR})["motion"] == pytest.approx(0.75)
    independent = mp.ceilings(mp.class_graph("independent"))
    assert independent == pytest.approx({"appearance": 1.0, "motion": 0.1, "fusion": 1.0})


def test_independent_draws_the_motion_whatever_the_class() -> None:
    counts = {name: Counter(draw(name, g, design="independent").motion for g in range(200)) for name in OBJECTS}
    for name, count in counts.items():
        assert set(count) == set(MOTIONS) and max(count.values()) < 45, name  # 20 expected, deviation 4.2


def test_photos_lie_in_the_wheels_and_crops_in_the_photos() -> None:
    attribution = Path(mp.__file__).with_name("ATTRIBUTION.md").read_text()
    for name in PHOTOS:
        assert photo_path(name).is_file()
        assert name in attribution
    for crops in OBJECTS.values():
        for crop in crops:
            image = photo(crop.photo)
            assert crop.side / 2 <= crop.x <= image.width - crop.side / 2, crop
            assert crop.side / 2 <= crop.y <= image.height - crop.side / 2, crop
    assert not {crop.photo for crops in OBJECTS.values() for crop in crops} & set(TEXTURES)


# --- draws ----------------------------------------------------------------------------------------------------------


def test_a_group_shares_what_it_should_and_no_more() -> None:
    one, two, other = draw("CatLeft", 3, 1), draw("CatLeft", 3, 2), draw("CatLeft", 4, 1)
    shared = ("background", "photo", "box", "exponent")
    assert all(getattr(one, field) == getattr(two, field) for field in shared)
    assert all(getattr(one, field) != getattr(two, field) for field in ("x", "y", "size", "speed", "camera_angle"))
    assert one.background != other.background and one.exponent != other.exponent
    assert draw("CatLeft", 3, 1) == one != draw("CatLeft", 3, 1, seed=1)


def test_strength_changes_nothing_but_the_degradation() -> None:
    hard, easy = (
        mp.Design("independent", degradation=mp.Degradation(strength)).draw("Cat", "g01", "c01")
        for strength in (1.0, 0.0)
    )
    assert hard.blur > 0 and len(hard.patches) == 3 and not easy.blur and not easy.patches
    assert replace(hard, blur=0.0, patches=(), box=easy.box) == easy
    assert hard.box[2] - hard.box[0] < easy.box[2] - easy.box[0]


# --- the middle frame -----------------------------------------------------------------------------------------------


def test_middle_frame_is_the_same_picture_whatever_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = draw("RocketBounce", 2)
    picture = middle_frame(spec)
    for motion in MOTIONS:
        for camera in CAMERAS:
            assert np.array_equal(middle_frame(replace(spec, motion=motion, camera=camera)), picture), (motion, camera)
    written: list[list[np.ndarray]] = []
    monkeypatch.setattr("moclip.video.encode", lambda frames, *_, **__: written.append(list(frames)))
    for count in (6, 7):
        mp._write_clip(spec, Path("x.mp4"), mp.Design(frames=count))
        assert len(written[-1]) == count and np.array_equal(written[-1][count // 2], picture)
        assert not np.array_equal(written[-1][0], picture)


def test_middle_frame_statistics_do_not_differ_between_classes() -> None:
    """Place, size, angle and outline: class means within the scatter that chance allows (F of about 1)."""
    values: dict[str, list[list[float]]] = {}
    for name in mp.class_graph("mixed"):
        for group in range(60):
            spec = draw(name, group)
            pose = seen_pose(spec, 0)
            aspect = (spec.box[2] - spec.box[0]) / (spec.box[3] - spec.box[1])
            values.setdefault(name, []).append(
                [pose.x, pose.y, pose.scale * spec.size, pose.angle, math.log(aspect), spec.exponent]
            )
    table = np.array(list(values.values()))  # (classes, draws, quantities)
    between = table.shape[1] * table.mean(axis=1).var(axis=0, ddof=1)
    within = table.var(axis=1, ddof=1).mean(axis=0)
    assert (between / within < 2.6).all(), between / within  # F(15, 944): 2.6 is passed once in 1,500


def test_object_stays_near_the_centre_in_the_middle_frame() -> None:
    for name in mp.class_graph("mixed"):
        spec = draw(name, 5)
        aspect = (spec.box[2] - spec.box[0]) / (spec.box[3] - spec.box[1])
        assert abs(spec.x - WIDTH / 2) + spec.size * math.sqrt(aspect) / 2 <= 60
        assert abs(spec.y - HEIGHT / 2) + spec.size / math.sqrt(aspect) / 2 <= 52.5


# --- motion ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("motion", "field", "sign"),
    [
        ("Left", "x", -1),
        ("Right", "x", 1),
        ("Up", "y", -1),
        ("Down", "y", 1),
        ("Approach", "scale", 1),
        ("Recede", "scale", -1),
        ("Clockwise", "angle", 1),
        ("CounterClockwise", "angle", -1),
    ],
)
def test_motion_is_what_it_is_called(motion: str, field: str, sign: int) -> None:
    spec = replace(draw("CatLeft"), motion=motion, camera="still")
    before, after = seen_pose(spec, -10), seen_pose(spec, 10)
    changes = {name: getattr(after, name) - getattr(before, name) for name in ("x", "y", "scale", "angle")}
    assert changes.pop(field) * sign > 0.2
    assert all(abs(change) < 1e-9 for change in changes.values())


def test_rotation_is_clockwise_as_seen() -> None:
    spec = replace(draw("CoffeeCupClockwise"), camera="still", x=80.0, y=60.0, angle=0.0, box=(100, 0, 400, 300))
    quarter = math.pi / 2 / (spec.speed / 40.0)
    turned = replace(spec, speed=spec.speed * quarter)  # a quarter turn in one frame
    still, moved = iterate(turned, range(2))
    inside = slice(45, 75), slice(65, 95)  # about the centre, well inside the cut-out
    right = np.rot90(still[inside].astype(int), k=-1)  # rot90 with k=-1 turns clockwise
    left = np.rot90(still[inside].astype(int), k=1)
    assert np.abs(moved[inside] - right).mean() < 3 < np.abs(moved[inside] - left).mean()


def test_camera_never_sees_past_the_background() -> None:
    white = (255, 255, 255)
    spec = draw("CatLeft")
    spec = replace(spec, background=replace(spec.background, dark=white, light=white), x=-1e4, camera_speed=0.8)
    for camera in CAMERAS:
        for angle in (-2.5, -math.pi / 2, 0.0, 2.5):
            seen = replace(spec, camera=camera, camera_angle=angle)
            half = mp.MAX_FRAMES // 2
            assert all((frame == 255).all() for frame in iterate(seen, range(-half, half + 1, half))), (camera, angle)


def test_vectors_of_the_stream_show_the_motion(tmp_path: Path) -> None:
    for motion, axis, sign in (("Left", 0, -1), ("Right", 0, 1), ("Up", 1, -1), ("Down", 1, 1)):
        path = tmp_path / f"{motion}.mp4"
        spec = replace(draw("FlowerClockwise"), motion=motion, camera="still", speed=2.0)
        mp._write_clip(spec, path, mp.Design(frames=12))
        vectors = read_motion(path)
        pixels = vectors.grid[vectors.has_motion][:, 2:6, 3:7] / vectors.scale  # (P-frames, 4, 4, 2) about the centre
        assert np.median(pixels[..., axis]) == pytest.approx(2.0 * sign, abs=0.5), motion
        assert np.median(pixels[..., 1 - axis]) == pytest.approx(0.0, abs=0.5), motion


# --- files ----------------------------------------------------------------------------------------------------------


def test_same_seed_same_clips_wherever_and_however_many(tmp_path: Path) -> None:
    one = make(tmp_path / "a", classes=FOUR[:2], **TINY)
    two = make(tmp_path / "b", classes=FOUR[:2], **TINY)
    other = make(tmp_path / "c", classes=FOUR[:2], seed=1, **TINY)
    assert one.fingerprint == two.fingerprint != other.fingerprint
    fewer = make(tmp_path / "d", classes=FOUR[1:2], **TINY)
    by_name = {clip.name: clip.path.read_bytes() for clip in one.clips}
    assert all(by_name[clip.name] == clip.path.read_bytes() for clip in fewer.clips)
    assert {clip.label for clip in fewer.clips} == {0}


def test_splits_description_and_stream(tmp_path: Path) -> None:
    sizes = {"train_groups": 3, "test_groups": 2, "clips_per_group": 1, "frames": 13}
    data = make(tmp_path, val_fraction=0.34, classes=FOUR[:2], **sizes)
    assert [len(split) for split in (data.train, data.val, data.test)] == [4, 2, 4]
    assert {clip.group for clip in data.test} == {"g01", "g02"}
    assert {clip.group for clip in [*data.train, *data.val]} == {"g03", "g04", "g05"}
    assert data.description == "MovingPhotos (synthetic), design mixed, seed 0" and not data.horizontal_flip
    assert data.ceilings["appearance"] == pytest.approx(0.5)
    info = probe(data.test[0].path)
    assert (info.codec, info.width, info.height, info.frames, info.fps) == ("mpeg4", 160, 120, 13, 25.0)
    assert info.gop == 12 and not info.has_b_frames and data.test[0].path.parent.name == "CatLeft"


def test_what_is_there_is_kept_and_what_is_missing_made(tmp_path: Path) -> None:
    data = make(tmp_path, classes=FOUR[:1], **TINY)
    kept, lost = data.train[0].path, data.test[0].path
    content, stamp = lost.read_bytes(), kept.stat().st_mtime_ns
    lost.unlink()
    again = make(tmp_path, classes=FOUR[:1], **TINY)
    assert lost.read_bytes() == content and kept.stat().st_mtime_ns == stamp
    assert again.fingerprint == data.fingerprint
    with pytest.raises(ValueError, match=r"other parameters \(seed 0 -> 1\)"):
        make(tmp_path, classes=FOUR[:1], seed=1, **TINY)


def test_default_folder_follows_the_parameters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOCLIP_HOME", str(tmp_path))
    nothing = {"train_groups": 0, "test_groups": 0}
    for options in ({}, {"codec": "libx264"}, {"seed": 1}, {"frames": 24}, {"degradation": mp.Degradation(0.5)}):
        make(None, name="independent", **nothing, **options)
    folders = sorted((tmp_path / "data" / "moving_photos").iterdir())
    assert len(folders) == 5 and all(folder.name.startswith("independent-") for folder in folders)
    make(None, name="independent", **(nothing | {"classes": ["Cat"]}))  # fewer classes: the same folder
    assert len(list((tmp_path / "data" / "moving_photos").iterdir())) == 5
    with pytest.MonkeyPatch.context() as patch:  # other photos: another folder
        patch.setattr(mp, "photos_hash", lambda: "of another wheel")
        make(None, name="independent", **nothing)
    assert len(list((tmp_path / "data" / "moving_photos").iterdir())) == 6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "other"}, "not one of mixed, independent"),
        ({"classes": ["DogLeft"]}, "no class 'DogLeft'"),
        ({"frames": 1}, "frames 2 to 64"),
        ({"frames": 65}, "frames 2 to 64"),
        ({"clips_per_group": 0}, "clips_per_group"),
    ],
)
def test_refusals(tmp_path: Path, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(tmp_path, **options)
    assert not os.listdir(tmp_path)


def test_processes_make_the_same_clips(tmp_path: Path) -> None:
    few = {"classes": FOUR[:3], "train_groups": 2, "test_groups": 1, "frames": 3}
    one = make(tmp_path / "one", workers=1, **few)
    two = make(tmp_path / "two", workers=2, **few)  # 18 clips: three processes' worth
    assert one.fingerprint == two.fingerprint
