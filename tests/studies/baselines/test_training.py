"""What the systems of Table I see, against our own reader and a known motion; one epoch of each; what is kept."""

import numpy as np
import pytest
import torch

from moclip.config.load import load_config
from moclip.datasets.base import Clip
from moclip.inputs.transforms import InputScale
from moclip.models import create_model
from moclip.studies.baselines import inputs as room
from moclip.studies.baselines import training
from moclip.studies.baselines.systems import INPUT_OF, INPUTS
from moclip.video import encode, read_frames, read_motion, read_residual
from moclip.video.store import store_motion

PIXELS = InputScale("pixels", 20.0)
ALL = sorted(INPUTS)
STEP = (3, -2)  # pixels per frame, right and up


@pytest.fixture(scope="module")
def moving(tmp_path_factory):
    """A texture that moves by `STEP`, 40 frames of 64 x 64, and its motion file."""
    import cv2

    folder = tmp_path_factory.mktemp("moving")
    noise = np.random.default_rng(0).integers(0, 256, (400, 400, 3)).astype(np.uint8)
    texture = cv2.GaussianBlur(noise, (0, 0), 2)
    texture = cv2.normalize(texture, None, 0, 255, cv2.NORM_MINMAX)
    frames = [texture[150 - STEP[1] * t :, 150 - STEP[0] * t :][:64, :64] for t in range(40)]
    encode(frames, folder / "clip.m4v")
    store_motion(folder / "clip.m4v", folder / "clip.safetensors")
    return folder / "clip.m4v", folder / "clip.safetensors"


def read(moving, kinds, size=64, views=3):
    return room.read_inputs(*moving, kinds, size, views, PIXELS)


def test_shapes(moving):
    found = read(moving, ALL, size=48)
    assert set(found) == set(ALL)
    for kind, values in found.items():
        views, channels = (1, 24) if kind == "clip" else (3, INPUTS[kind].channels)
        assert values.shape == (views, channels, 48, 48) and values.dtype == np.uint8, kind


def test_pictures_are_decoded_once(moving, monkeypatch):
    calls = []
    monkeypatch.setattr(room, "read_frames", lambda *args: calls.append(args) or read_frames(*args))
    together = read(moving, ALL)
    assert len(calls) == 1
    for kind in ALL:
        np.testing.assert_array_equal(read(moving, [kind])[kind], together[kind])
    calls.clear()
    read(moving, ["motion", "motion_stack"])
    assert not calls, "what needs no picture decodes none"


def test_pictures_are_those_of_the_reader(moving):
    """At the clip's own size nothing is resized, so that they are the frames themselves."""
    found, motion = read(moving, ["frame", "iframe", "clip"]), read_motion(moving[0])
    at = np.flatnonzero(motion.has_motion)[[(2 * v + 1) * motion.has_motion.sum() // 6 for v in range(3)]]
    intra = np.flatnonzero(motion.types == "I")
    intra = intra[[(2 * v + 1) * len(intra) // 6 for v in range(3)]]
    eighths = [(2 * part + 1) * 40 // 16 for part in range(8)]
    for kind, frames in {"frame": at, "iframe": intra, "clip": eighths}.items():
        expected = read_frames(moving[0], frames).transpose(0, 3, 1, 2)
        np.testing.assert_array_equal(found[kind].reshape(expected.shape), expected)


def test_coviar_sees_accumulated_fields_and_residuals_of_the_reader(moving):
    found, motion = read(moving, ["motion", "residual"]), read_motion(moving[0])
    at = np.flatnonzero(motion.has_motion)[[(2 * v + 1) * motion.has_motion.sum() // 6 for v in range(3)]]
    for view, frame in enumerate(at):
        expected = np.clip(np.trunc(motion.accumulated(frame) * 6.375) + 128, 0, 255)
        np.testing.assert_array_equal(found["motion"][view], expected.transpose(2, 0, 1))
    residual = np.clip(read_residual(moving[0], motion, at) + 128, 0, 255)
    np.testing.assert_array_equal(found["residual"], residual.transpose(0, 3, 1, 2))


@pytest.mark.parametrize("kind", ["motion_stack", "flow_stack"])
def test_stacks_say_how_far_it_moves(moving, kind):
    """x at even channels, y at odd ones, each where the content is minus where it was; all ten fields alike."""
    centre = read(moving, [kind])[kind][:, :, 16:48, 16:48]
    speed = (np.median(centre, axis=(0, 2, 3)) - 128) * 20 / 127.5
    np.testing.assert_allclose(speed.reshape(10, 2), [STEP] * 10, atol=0.35)


def test_an_i_frame_in_a_stack_takes_the_vectors_before_it(moving):
    motion = read_motion(moving[0])
    stacks = read(moving, ["motion_stack"])["motion_stack"].reshape(3, 10, 2, 64, 64)
    at = np.flatnonzero(motion.has_motion)[[(2 * v + 1) * motion.has_motion.sum() // 6 for v in range(3)]]
    held = 0
    for view, first in enumerate(np.clip(at - 5, 1, 30)):
        for number, frame in enumerate(range(first, first + 10)):
            known = frame if motion.has_motion[frame] else frame - 1
            held += known != frame
            expected = np.clip(np.trunc(motion.raw(known) * 6.375) + 128, 0, 255)
            np.testing.assert_array_equal(stacks[view, number], expected.transpose(2, 0, 1))
    assert held > 0


def test_a_clip_shorter_than_a_stack(moving, tmp_path):
    encode(read_frames(moving[0], range(4)), tmp_path / "short.m4v")
    store_motion(tmp_path / "short.m4v", tmp_path / "short.safetensors")
    found = read((tmp_path / "short.m4v", tmp_path / "short.safetensors"), ALL, views=2)
    last = found["motion_stack"].reshape(2, 10, 2, 64, 64)
    assert (last[:, 3:] == last[:, 2:3]).all(), "the last field again"


def test_units_are_the_configuration_s(moving):
    speeds = []
    for units in ("pixels", "equivalent"):
        found = room.read_inputs(*moving, ["motion_stack"], 64, 3, InputScale(units, 100.0))["motion_stack"]
        speeds.append((np.median(found, axis=(0, 2, 3))[:2] - 128) * 100 / 127.5)
    np.testing.assert_allclose(speeds[1], speeds[0] * 340 / 64, atol=340 / 64)  # 8 bit cut off less than a pixel
    assert abs(speeds[1][0]) > 3 * abs(STEP[0])


# --- kept -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def small(monkeypatch, tmp_path):
    monkeypatch.setenv("MOCLIP_HOME", str(tmp_path))
    monkeypatch.setattr(room, "for_each_file", in_process)
    return load_config("smoke", {"baselines.views": 2, "baselines.batch_size": 4, "device": "cpu"})


def read_all(clips, kinds, store, config, **changes):
    settings = config.baselines.model_copy(update=changes)
    return room.baseline_inputs(clips, kinds, store, settings, PIXELS)


def in_process(work, jobs, description, workers, executor, done):
    for job in jobs:
        done(job, work(*job))


def test_inputs_are_kept_by_content(photos, store, small, monkeypatch):
    kinds = ["frame", "motion"]
    first = read_all(photos.clips, kinds, store, small)
    assert {kind: values.shape for kind, values in first.items()} == {
        "frame": (12, 2, 3, 48, 48), "motion": (12, 2, 2, 48, 48)
    }  # fmt: skip
    monkeypatch.setattr(room, "read_inputs", None)  # nothing is read again, in any order, under any name
    clips = enumerate(photos.clips[::-1])
    renamed = [Clip(clip.path, 0, "other", "g", f"n{number}", clip.sha256) for number, clip in clips]
    again = read_all(renamed, kinds, store, small)
    for kind in kinds:
        np.testing.assert_array_equal(again[kind], first[kind][::-1])
    with pytest.raises(TypeError):
        read_all(photos.clips, kinds, store, small, views=3)


# --- trained --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(set(INPUT_OF) - {"clip_zero_shot"}))
def test_one_epoch_on_generated_clips(name, photos, store, small):
    kind = INPUT_OF[name]
    inputs = {kind: torch.from_numpy(values) for kind, values in read_all(photos.clips, [kind], store, small).items()}
    labels = torch.tensor([clip.label for clip in photos.train])
    torch.manual_seed(0)
    size = 64 if name == "clip_head" else 48
    # At a width of 1/16, oneDNN on AVX2 corrupts memory (torch 2.14).
    network = training.build(name, ["a", "b", "c", "d"], width=1 / 8, size=size)
    seen = inputs[kind]
    if name == "clip_head":
        seen = torch.nn.functional.interpolate(seen.flatten(0, 1), 64).unflatten(0, seen.shape[:2])
    before = {key: value.clone() for key, value in network.named_parameters()}
    history = training.fit_baseline(name, network, seen[:8], labels, small.baselines, device="cpu")
    assert len(history) == 1 and np.isfinite(history["loss"]).all()
    after = dict(network.named_parameters())
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    trained = {key for key, value in after.items() if value.requires_grad}
    assert changed and changed <= trained, "what is frozen stays"
    logits = training.view_logits(name, network, seen, batch_size=5)
    assert logits.shape == (12, seen.shape[1], 4) and torch.isfinite(logits).all()
    with torch.no_grad():
        alone = network(training.to_network(seen[3, -1:], kind))
    torch.testing.assert_close(logits[3, -1:], alone, atol=1e-5, rtol=1e-4)


def test_a_taught_network_comes_nearer_to_its_teacher(small):
    """The teacher says class 0 of every clip; half of the labels say class 1."""
    inputs = torch.randint(0, 256, (8, 2, 20, 48, 48), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    labels, settings = torch.tensor([0, 1] * 4), small.baselines.model_copy(update={"epochs": 15, "lr": 0.003})
    said = {}
    for taught in (False, True):
        torch.manual_seed(0)
        network = create_model("emv_cnn", num_classes=2, width=1 / 16)
        teacher = torch.tensor([4.0, -4.0]).expand(8, 2, 2) if taught else None
        training.fit_baseline("emv_cnn", network, inputs, labels, settings, teacher, "cpu")
        said[taught] = training.view_logits("emv_cnn", network, inputs).softmax(dim=-1)[..., 0].mean().item()
    assert said[True] > said[False] + 0.15


def test_training_repeats(small):
    inputs = torch.randint(0, 256, (6, 2, 2, 48, 48), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    found = []
    for _ in range(2):
        torch.manual_seed(0)
        network = create_model("coviar_mv", num_classes=2, width=1 / 16)
        training.fit_baseline("coviar_mv", network, inputs, torch.tensor([0, 1] * 3), small.baselines, device="cpu")
        found.append(training.view_logits("coviar_mv", network, inputs))
    assert torch.equal(*found)


def test_to_network():
    values = torch.tensor([0, 64, 128, 192], dtype=torch.uint8).view(1, 1, 2, 2).expand(1, 20, 2, 2)
    assert training.to_network(values, "motion")[0, 0].flatten().tolist() == [-2, -1, 0, 1]
    assert training.to_network(values, "flow_stack")[0, 7].flatten().tolist() == [-1.5, -0.5, 0.5, 1.5]


def test_without_opencv_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "cv2", None)
    with pytest.raises(room.MoclipError, match=r"moclip-lite\[table1\]"):
        room.optical_flow({}, np.array([1]))
