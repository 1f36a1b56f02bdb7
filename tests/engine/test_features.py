"""Features: computed once, from frozen networks, kept as long as nothing changed."""

import os
import pickle
import shutil
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from moclip.config.sections import Encoder as Section
from moclip.encoders import load_encoder
from moclip.encoders.base import Encoder, class_embeddings
from moclip.engine import features
from moclip.engine.features import appearance_features, class_features, extract_motion, seen_frames
from moclip.inputs.sampling import appearance_frames
from moclip.io.artefacts import load_tensors
from moclip.io.files import sha256_file
from moclip.io.fingerprints import fingerprints
from moclip.io.parallel import ClipsError
from moclip.video import frames as frames_module
from moclip.video import load_motion, read_frames, read_motion
from moclip.video.store import content_path

# --- motion ---------------------------------------------------------------------------------------------------------


def motion_path(folder, clip):
    """Where the motion of a clip lies in a store."""
    return content_path(folder, sha256_file(clip.path))


def hashed(clip):
    """The clip with the hash of its file as it is now."""
    return replace(clip, sha256=sha256_file(clip.path))


def contents(folder):
    """Bytes by path; names that begin with a dot are being written."""
    files = [path for path in folder.rglob("*.safetensors") if not path.name.startswith(".")]
    return {path.relative_to(folder): path.read_bytes() for path in files}


def test_one_and_two_processes_store_the_same_bytes(photos, store, tmp_path):
    for workers in (1, 2):
        extract_motion(photos.clips, tmp_path / str(workers), workers)
    one = contents(tmp_path / "1")
    assert one == contents(tmp_path / "2") == contents(store)
    assert len(one) == len(photos.clips) == 12


def test_a_file_that_is_no_video_is_named_and_the_others_are_kept(photos, tmp_path):
    bad = replace(photos.clips[1], path=tmp_path / "notes.mp4")
    bad.path.write_text("no video at all")
    clips = [photos.clips[0], bad, photos.clips[2]]
    with pytest.raises(ClipsError) as caught:
        extract_motion(clips, tmp_path / "store", workers=1)
    assert str(bad.path) in str(caught.value) and [path for path, _ in caught.value.failures] == [bad.path]
    assert [motion_path(tmp_path / "store", clip).is_file() for clip in clips] == [True, False, True]


def test_every_bad_clip_is_named_missing_ones_and_copies_too(photos, tmp_path):
    bad, copy, lost = (replace(photos.clips[0], path=tmp_path / f"{name}.mp4") for name in ("bad", "copy", "lost"))
    for clip in (bad, copy):
        clip.path.write_bytes(photos.clips[0].path.read_bytes()[:600])
    with pytest.raises(ClipsError, match="3 of 4 clips") as caught:
        clips = [replace(lost, sha256="0" * 64), hashed(bad), photos.clips[1], hashed(copy)]
        extract_motion(clips, tmp_path / "store", workers=1)
    assert [path for path, _ in caught.value.failures] == [bad.path, copy.path, lost.path]
    assert "no such file" in caught.value.failures[2][1]
    assert len(contents(tmp_path / "store")) == 1


def test_a_store_is_keyed_by_content(photos, tmp_path):
    """Another name, class and folder: the same motion, read once."""
    renamed = replace(photos.clips[0], path=tmp_path / "b.mp4", class_name="Other", name="b")
    shutil.copy(photos.clips[0].path, renamed.path)
    extract_motion([photos.clips[0], renamed], tmp_path / "store", workers=1)
    path = motion_path(tmp_path / "store", renamed)
    assert path == motion_path(tmp_path / "store", photos.clips[0]) and len(contents(tmp_path / "store")) == 1
    assert path.stem == load_motion(path).source and path.parent.name == path.stem[:2]


KILLED = """
import os, pickle, signal, sys
from pathlib import Path
from moclip.engine import features
from moclip.video import store
write, calls = store.save_file, []
def killed(arrays, path, facts):
    calls.append(path)
    write(arrays, path, facts)
    if len(calls) == 4:
        Path(path).write_bytes(Path(path).read_bytes()[:-100])
        os.kill(os.getpid(), signal.SIGKILL)
store.save_file = killed
# in this process, which has the function above
features.for_each_file = lambda work, jobs, *_, **__: [work(*job) for job in jobs] and []
features.extract_motion(pickle.load(sys.stdin.buffer), Path(sys.argv[1]))
"""


def test_what_a_killed_extraction_stored_stays(photos, store, tmp_path):
    """kill -9 while the fourth of twelve files is half written."""
    home = os.environ | {"MOCLIP_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-c", KILLED, str(tmp_path / "store")]
    done = subprocess.run(command, input=pickle.dumps(photos.clips), env=home, capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    first = {path: (tmp_path / "store" / path).stat().st_mtime_ns for path in contents(tmp_path / "store")}
    assert len(first) == 3
    extract_motion(photos.clips, tmp_path / "store", workers=2)
    assert contents(tmp_path / "store") == contents(store)
    assert first.items() <= {path: (tmp_path / "store" / path).stat().st_mtime_ns for path in first}.items()


def test_what_is_there_is_not_touched(photos, store, tmp_path, monkeypatch):
    kept = tmp_path / "store"
    shutil.copytree(store, kept)
    before = {path: path.stat().st_mtime_ns for path in kept.rglob("*.safetensors")}
    with monkeypatch.context() as patch:
        patch.setattr(features, "store_motion", lambda *job: pytest.fail("read again"))
        extract_motion(photos.clips, kept, workers=1)
    assert {path: path.stat().st_mtime_ns for path in kept.rglob("*.safetensors")} == before


def test_a_video_that_changed_is_read_again(photos, tmp_path):
    one = replace(photos.clips[0], path=tmp_path / "a.mp4")
    shutil.copy(photos.clips[0].path, one.path)
    extract_motion([hashed(one)], tmp_path, workers=1)
    before = motion_path(tmp_path, one).read_bytes()
    shutil.copy(photos.clips[5].path, one.path)
    extract_motion([hashed(one)], tmp_path, workers=1)
    assert motion_path(tmp_path, one).read_bytes() != before
    np.testing.assert_array_equal(load_motion(motion_path(tmp_path, one)).grid, read_motion(photos.clips[5].path).grid)


def test_a_damaged_store_file_is_made_anew(photos, store, tmp_path):
    path = motion_path(tmp_path, photos.clips[0])
    path.parent.mkdir()
    good = motion_path(store, photos.clips[0]).read_bytes()
    cut, turned = good[:-20], bytearray(good)
    turned[-30] ^= 1
    for damaged in (b"half a file", b"", cut, bytes(turned)):
        path.write_bytes(damaged)
        extract_motion(photos.clips[:1], tmp_path, workers=1)
        assert path.read_bytes() == good


# --- appearance -----------------------------------------------------------------------------------------------------


class Colours(Encoder):
    """Mean colour, weighted; counts what it is asked for."""

    name, feature_dim, logit_scale, transform = "colours", 3, 1.0, "own"

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor([1.0, 2, 3]))
        self.seen = 0
        self.freeze()

    def encode_image(self, images):
        self.seen += len(images)
        return images.mean(dim=(2, 3)) * self.weight

    @staticmethod
    def preprocess(frame):
        return torch.from_numpy(np.asarray(Image.fromarray(frame).resize((8, 8)), np.float32)).permute(2, 0, 1)


@pytest.fixture
def encoder(tmp_path, monkeypatch):
    """With a cache of its own."""
    monkeypatch.setenv("MOCLIP_HOME", str(tmp_path / "home"))
    return Colours()


@pytest.fixture
def some(photos, tmp_path):
    """Five clips of our own, which may be changed."""
    clips = [replace(clip, path=tmp_path / f"{clip.name}.mp4") for clip in photos.clips[:5]]
    for clip, original in zip(clips, photos.clips, strict=False):
        shutil.copy(original.path, clip.path)
    return clips


def compute(encoder, clips, folder, frame="middle", **settings):
    section = Section(name="any", frame=frame, **{"batch_size": 2, **settings})
    return appearance_features(encoder, clips, section, folder / "features.safetensors")


def test_features_of_the_middle_and_of_the_first_frame(encoder, some, tmp_path):
    for frame, index in (("middle", 12), ("first", 0)):  # 24 frames
        frames = [read_frames(clip.path, [index])[0] for clip in some]
        np.testing.assert_array_equal(seen_frames(some[0].path, frame), frames[0][None])
        expected = np.stack([encoder.encode_image(encoder.preprocess(frame)[None])[0].numpy() for frame in frames])
        np.testing.assert_allclose(compute(encoder, some, tmp_path, frame), expected, rtol=1e-6)


def test_unchanged_features_are_read(encoder, some, tmp_path):
    first = compute(encoder, some, tmp_path)
    before = (tmp_path / "features.safetensors").read_bytes()
    assert encoder.seen == 5 and first.dtype == np.float32 and first.shape == (5, 3)
    np.testing.assert_array_equal(compute(encoder, some, tmp_path, batch_size=4), first)
    np.testing.assert_array_equal(compute(Colours(), some, tmp_path), first)
    assert encoder.seen == 5 and (tmp_path / "features.safetensors").read_bytes() == before


def by_hand(clip, indices):
    """Features of some frames: (K, 3)."""
    encoder = Colours()
    return np.stack([encoder.encode_image(encoder.preprocess(f)[None])[0] for f in read_frames(clip.path, indices)])


@pytest.mark.parametrize("batch_size", [1, 6, 64])
def test_several_frames_are_averaged_and_kept(encoder, some, tmp_path, batch_size):
    ours = compute(encoder, some, tmp_path, "uniform:3", batch_size=batch_size)
    assert ours.shape == (5, 3) and encoder.seen == 15
    kept, header = load_tensors(tmp_path / "features.safetensors")
    assert kept["frames"].shape == (5, 3, 3) and header["frame"] == "uniform:3"
    for clip, feature, frames in zip(some, ours, kept["frames"], strict=True):
        expected = by_hand(clip, [4, 12, 20])  # the middles of [0, 8), [8, 16), [16, 24)
        np.testing.assert_allclose(frames, expected, rtol=1e-6)
        np.testing.assert_allclose(feature, expected.mean(axis=0), rtol=1e-6)
    np.testing.assert_array_equal(compute(encoder, some[:2], tmp_path / "other", "uniform:3"), ours[:2])
    assert encoder.seen == 15


def test_a_batch_is_a_number_of_frames(encoder, some, tmp_path, monkeypatch):
    sizes = []
    encode = Colours.encode_image
    monkeypatch.setattr(Colours, "encode_image", lambda self, images: sizes.append(len(images)) or encode(self, images))
    compute(encoder, some, tmp_path, "uniform:3", batch_size=7)
    assert sizes == [6, 6, 3]


def test_only_the_frames_wanted_become_pictures(encoder, some, tmp_path, monkeypatch):
    converted = []
    picture = frames_module._to_picture
    monkeypatch.setattr(frames_module, "_to_picture", lambda *about: converted.append(about) or picture(*about))
    compute(encoder, some, tmp_path, "uniform:4")
    assert len(converted) == 20


def test_a_random_frame_follows_the_seed_and_the_content(encoder, some, tmp_path):
    first = compute(encoder, some, tmp_path, "random")
    _, header = load_tensors(tmp_path / "features.safetensors")
    assert header["frame"] == "random, seed 0"
    copies = [replace(clip, name=f"other {clip.name}", path=tmp_path / f"other{clip.path.name}") for clip in some]
    for copy, clip in zip(copies, some, strict=True):
        shutil.copy(clip.path, copy.path)
    np.testing.assert_array_equal(compute(Colours(), copies[::-1], tmp_path / "again", "random"), first[::-1])
    seeds = [compute(encoder, some, tmp_path / str(seed), "random", seed=seed) for seed in (1, 2, 3)]
    assert encoder.seen == 20 and len({each.tobytes() for each in (first, *seeds)}) == 4
    assert (compute(encoder, some, tmp_path / "1", "random") == first).all(), "an artefact of another seed is not read"
    places = [appearance_frames(24, "random", 0, fingerprints([clip.path])[clip.path])[0] for clip in some]
    expected = [by_hand(clip, [at])[0] for clip, at in zip(some, places, strict=True)]
    np.testing.assert_allclose(first, expected, rtol=1e-6)


@pytest.mark.parametrize(("precision", "dtype"), [("bf16", torch.bfloat16), ("fp16", torch.float16)])
def test_half_precision_has_a_cache_of_its_own(clip_file, some, tmp_path, precision, dtype, monkeypatch):
    monkeypatch.setenv("MOCLIP_HOME", str(tmp_path / "home"))
    encoder, _ = load_encoder(f"clip:{clip_file}")
    seen = []
    encoder.model.visual.conv1.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    full = compute(encoder, some, tmp_path, batch_size=5)
    half = compute(encoder, some, tmp_path, batch_size=5, precision=precision)
    assert seen == [torch.float32, dtype] and half.dtype == np.float32
    assert (half != full).any() and np.allclose(half, full, atol=0.05)


class Letters(Colours):
    """Texts to random vectors; counts them."""

    def encode_text(self, texts):
        self.seen += len(texts)
        rows = [np.random.default_rng(list(text.encode())).normal(size=3) for text in texts]
        return torch.from_numpy(np.stack(rows) * np.arange(1, len(rows) + 1)[:, None]).float() * self.weight


def test_class_features_are_kept_by_weights_and_prompts(encoder):
    encoder, prompts = Letters(), [["a cat", "the cat"], ["a dog"]]
    first = class_features(encoder, prompts)
    torch.testing.assert_close(first, class_embeddings(encoder, prompts))
    assert torch.equal(class_features(Letters(), prompts), first) and encoder.seen == 6
    another, regrouped = [["a cat", "the cat"], ["a dog!"]], [["a cat"], ["the cat", "a dog"]]
    for changed, normalise in ((another, True), (regrouped, True), (prompts, False)):
        own = class_features(encoder, changed, normalise)
        assert not torch.equal(own, first)
        torch.testing.assert_close(own, class_embeddings(encoder, changed, normalise))
    encoder.weight.data[0] = 5
    assert not torch.equal(class_features(encoder, prompts), first)


CHANGES = {"frame": 5, "video": 1, "weights": 5, "order": 0, "fewer": 0, "preprocessing": 5}


@pytest.mark.parametrize("change", CHANGES)
def test_changed_features_are_computed_again(encoder, some, photos, tmp_path, change, monkeypatch):
    first = compute(encoder, some, tmp_path)
    clips, frame = list(some), "middle"
    if change == "frame":
        frame = "first"
    elif change == "video":
        shutil.copy(photos.clips[7].path, some[0].path)
        clips[0] = hashed(some[0])
    elif change == "weights":
        encoder.weight.data[1] += 1
    elif change == "order":
        clips = clips[::-1]
    elif change == "fewer":
        clips = clips[:3]
    else:
        encoder.transform = "another"
    second = compute(encoder, clips, tmp_path, frame)
    assert encoder.seen == 5 + CHANGES[change], "what another call computed is not computed again"
    monkeypatch.setenv("MOCLIP_HOME", str(tmp_path / "another"))
    fresh = compute(encoder, clips, tmp_path / "elsewhere", frame)
    np.testing.assert_array_equal(second, fresh)
    if change in ("frame", "video", "weights"):
        assert (second[0] != first[0]).any()
    elif change == "order":
        np.testing.assert_allclose(second, first[::-1], rtol=1e-6)
    _, header = load_tensors(tmp_path / "features.safetensors")
    assert header["names"] == [clip.name for clip in clips] and header["frame"] == frame


def test_runs_share_what_they_computed(encoder, some, tmp_path):
    """Another run's artefact, clips with other names and labels, one more clip: only that one is computed."""
    first = compute(encoder, some[:4], tmp_path)
    others = [replace(clip, name=f"other {clip.name}", label=0) for clip in some]
    second = compute(encoder, others, tmp_path / "other run")
    assert encoder.seen == 5
    np.testing.assert_array_equal(second[:4], first)
    _, header = load_tensors(tmp_path / "other run" / "features.safetensors")
    assert header["names"] == [clip.name for clip in others]
    assert header["videos"].keys() == set(header["names"]) and len(set(header["videos"].values())) == 5


class Killed(BaseException):
    """Nothing catches it, and nobody is told."""


def test_a_killed_extraction_goes_on_where_it_was(encoder, some, tmp_path, monkeypatch):
    whole = compute(encoder, some, tmp_path / "whole")
    artefact = (tmp_path / "whole" / "features.safetensors").read_bytes()
    monkeypatch.setenv("MOCLIP_HOME", str(tmp_path / "another"))
    with monkeypatch.context() as patch:
        encode = Colours.encode_image

        def fail(self, images):
            if self.seen == 4:
                raise Killed
            return encode(self, images)

        patch.setattr(Colours, "encode_image", fail)
        killed = Colours()
        with pytest.raises(Killed):
            compute(killed, some, tmp_path / "killed")
    assert not (tmp_path / "killed" / "features.safetensors").exists()
    again = Colours()
    np.testing.assert_array_equal(compute(again, some, tmp_path / "killed"), whole)
    assert again.seen == 1, "four of five were kept"
    assert (tmp_path / "killed" / "features.safetensors").read_bytes() == artefact


def test_a_damaged_chunk_is_computed_again(encoder, some, tmp_path):
    whole = compute(encoder, some, tmp_path)
    (chunk,) = (tmp_path / "home" / "cache" / "appearance").rglob("*.safetensors")
    chunk.write_bytes(chunk.read_bytes()[:50])
    (tmp_path / "features.safetensors").unlink()
    np.testing.assert_array_equal(compute(encoder, some, tmp_path), whole)
    assert encoder.seen == 10


def test_a_clip_without_a_frame_is_named_at_the_end_and_the_others_are_kept(encoder, some, tmp_path):
    good = some[1].path.read_bytes()
    some[1].path.write_bytes(good[:600])
    with pytest.raises(ClipsError, match="1 of 5 clips") as caught:
        compute(encoder, some, tmp_path)
    assert [path for path, _ in caught.value.failures] == [some[1].path]
    assert encoder.seen == 4
    some[1].path.write_bytes(good)
    compute(encoder, some, tmp_path)
    assert encoder.seen == 5


def test_the_key_of_clip_s_features_is_the_same_in_every_process(clip_file, some, tmp_path):
    """CLIP's preprocessing holds a function, whose text form holds an address."""
    encoder, _ = load_encoder(f"clip:{clip_file}")
    compute(encoder, some[:1], tmp_path)
    _, header = load_tensors(tmp_path / "features.safetensors")
    assert "0x" not in header["preprocessing"] and "Resize" in header["preprocessing"]
