"""Clips with their stored motion: samples, batches, sets of clips."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from moclip.datasets.base import NO_MOTION, Clip
from moclip.inputs.clips import EpochSampler, LoadedClips, TrainingSamples, training_loader
from moclip.inputs.transforms import InputScale
from moclip.inputs.views import Views
from moclip.io.files import sha256_file
from moclip.io.parallel import ClipsError
from moclip.video import load_motion, save_motion
from moclip.video.store import content_path


@pytest.fixture
def make_clips(tmp_path):
    """Clips of a data set from motion as given."""

    def make(*motions):
        clips = []
        for n, motion in enumerate(motions):
            clips.append(Clip(tmp_path / f"{n}.mp4", n % 2, "AB"[n % 2], f"g{n}", f"clip {n}", f"{n:064x}"))
            save_motion(motion, content_path(tmp_path, clips[n].sha256), "sha")
        return LoadedClips(clips, tmp_path)

    return make


@pytest.fixture
def samples(clips, train_protocol):
    return TrainingSamples(clips, train_protocol)


def batches(samples, epoch, workers):
    sampler = EpochSampler(len(samples.clips), 3, samples.protocol.seed)
    sampler.epoch = epoch
    return list(training_loader(samples, sampler, workers))


def equal(one, two):
    (views, labels), (others, other_labels) = one, two
    pairs = [*zip(views.tensors(), others.tensors(), strict=True), (labels, other_labels)]
    return views.shape == others.shape and all(torch.equal(*pair) for pair in pairs)


# --- samples --------------------------------------------------------------------------------------------------------


def test_a_sample_has_int16_grids_and_what_belongs_to_it(samples, config, photos):
    views, labels = samples[0, [5]]
    assert isinstance(views, Views) and views.grids.dtype == torch.int16
    assert views.grids.shape == (1, config.mv.segments, 8, 10, 2)
    assert labels.tolist() == [photos.train[5].label]
    assert views.factors.item() == pytest.approx(340 / 160 / 2)  # equivalent units, half-pixel vectors


def test_a_sample_follows_from_seed_epoch_and_index_alone(samples, photos, store, train_protocol):
    again = TrainingSamples(LoadedClips(photos.train, store), train_protocol)
    np.random.default_rng(0).random(7)
    torch.manual_seed(99)
    for key in [(0, [0]), (3, [5]), (1, [7, 2])]:
        assert equal(samples[key], again[key])
    other_seed = TrainingSamples(samples.clips, replace(train_protocol, seed=1))
    keys = [(epoch, [2]) for epoch in range(6)]
    assert not all(equal(samples[key], samples[0, [2]]) for key in keys)
    assert not all(equal(samples[key], other_seed[key]) for key in keys)


@pytest.mark.parametrize("workers", [1, 2])
def test_batches_are_the_same_with_and_without_workers(samples, workers):
    here, there = batches(samples, 3, workers=0), batches(samples, 3, workers=workers)
    assert len(here) == len(there) == 3  # 8 clips, at most 3 per batch
    assert all(equal(one, two) for one, two in zip(here, there, strict=True))
    assert not all(equal(one, two) for one, two in zip(here, batches(samples, 4, workers=0), strict=True))


def test_a_sample_asks_the_disk_for_nothing(samples, monkeypatch):
    """Neither hashes nor files: the packed motion is in memory."""
    expected = samples[0, [3]]
    for name in ("builtins.open", "os.stat", "moclip.inputs.clips.load_motion"):
        monkeypatch.setattr(name, lambda *arguments, name=name, **_: pytest.fail(f"{name}{arguments}"))
    sample = samples[0, [3]]
    monkeypatch.undo()
    assert equal(sample, expected)


def test_of_a_large_set_few_clips_are_in_memory(samples, photos, store, monkeypatch):
    monkeypatch.setattr("moclip.inputs.clips.IN_MEMORY", 2)
    frugal = LoadedClips(photos.train, store)
    few = TrainingSamples(frugal, samples.protocol)
    assert all(equal(one, two) for one, two in zip(batches(few, 3, 0), batches(samples, 3, 0), strict=True))
    assert frugal.saturated(InputScale()) == samples.clips.saturated(InputScale())
    read = []
    monkeypatch.setattr("moclip.inputs.clips.load_motion", lambda path: read.append(path) or load_motion(path))
    assert [len(motion) for motion in frugal] == [24] * 8 and read == frugal.paths[2:]


def test_the_order_of_the_clips_is_kept(clips, photos, store, eval_protocol):
    views = clips.test_views([6, 1], replace(eval_protocol, segments=4))
    assert views.grids.shape == (2, 4, 8, 10, 2) and not views.mirrored.any()
    for row, index in enumerate((6, 1)):
        motion = load_motion(content_path(store, sha256_file(photos.train[index].path)))
        frames = np.flatnonzero(motion.has_motion)
        expected = motion.grid[[frames[len(frames) * (2 * s + 1) // 8] for s in range(4)]]
        np.testing.assert_array_equal(views.grids[row], expected)
    assert clips.labels.tolist() == [clip.label for clip in photos.train]
    assert clips.identities()[6] == (photos.train[6].name, photos.train[6].label, sha256_file(photos.train[6].path))


# --- sets of clips --------------------------------------------------------------------------------------------------


def test_clips_of_two_frame_sizes_are_refused(make_clips, make_motion):
    with pytest.raises(ValueError, match=r"2 frame sizes.*\(32, 32\), \(32, 48\).*data.reencode"):
        make_clips(make_motion(), make_motion(width=48))


def test_every_clip_without_motion_is_named_and_what_to_do(make_clips, make_motion):
    all_intra = replace(make_motion(frames=2), has_motion=np.zeros(2, bool))  # a hard cut: the P-frame has no vectors
    with pytest.raises(ClipsError, match="2 of 3 clips") as caught:
        make_clips(make_motion(gop=1), make_motion(), all_intra)
    assert [(path.name, reason) for path, reason in caught.value.failures] == [
        ("0.mp4", NO_MOTION),
        ("2.mp4", NO_MOTION),
    ]
    assert "data.on_error=skip" in str(caught.value)


def test_saturated_counts_inter_blocks_alone(make_clips, make_motion):
    motion = make_motion(frames=3, width=32, height=32)  # two P-frames of four blocks, 2 units per pixel
    motion.grid[1, 0, 0] = (41, 0)  # beyond 20 pixels
    motion.grid[1, 0, 1] = (40, -40)  # at the bound
    motion.grid[2, 1, 1] = (500, -500)  # a vector counts once
    motion.mask[2, 0, 0] = 2
    motion.grid[2, 0, 0] = (500, 500)  # intra: no vector
    assert make_clips(motion, make_motion(frames=3)).saturated(InputScale()) == pytest.approx(2 / 15)
    alone = make_clips(motion)
    assert alone.saturated(InputScale("pixels", 500.0)) == 0
    assert alone.saturated(InputScale("equivalent", 20.0)) == pytest.approx(3 / 7)  # x 340 / 32


# --- epochs ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "batch_size"), [(8, 3), (9, 3), (10, 3), (7, 32), (33, 32), (1, 4)])
def test_an_epoch_holds_every_clip_once(count, batch_size):
    sampler = EpochSampler(count, batch_size, seed=0)
    seen = []
    for epoch in (0, 1):
        sampler.epoch = epoch
        drawn = list(sampler)
        assert len(drawn) == len(sampler) and all(0 < len(batch) <= batch_size for _, batch in drawn)
        assert count == 1 or min(len(batch) for _, batch in drawn) > 1, "no batch of a single clip"
        assert {where for where, _ in drawn} == {epoch}
        order = [index for _, batch in drawn for index in batch]
        assert sorted(order) == list(range(count))
        seen.append(order)
    assert count == 1 or seen[0] != seen[1]
    assert [index for _, batch in EpochSampler(count, batch_size, seed=0) for index in batch] == seen[0]
    if count > 6:
        assert [index for _, batch in EpochSampler(count, batch_size, seed=1) for index in batch] != seen[0]


@pytest.mark.parametrize(("count", "batch_size", "processes"), [(7, 4, 2), (8, 3, 2), (100, 16, 3), (6, 100, 3)])
def test_several_processes_share_every_batch(count, batch_size, processes):
    """Nothing is padded, dropped or drawn twice, and no process waits for one that has more batches."""
    samplers = [EpochSampler(count, batch_size, 0, rank, processes) for rank in range(processes)]
    shares = [[batch for _, batch in sampler] for sampler in samplers]
    assert len({len(share) for share in shares}) == 1 and min(len(part) for share in shares for part in share) > 0
    together = [sorted(itertools.chain(*parts)) for parts in zip(*shares, strict=True)]
    assert len(together) == len(samplers[0])
    assert sorted(itertools.chain(*together)) == list(range(count))


def test_too_few_clips_for_the_processes():
    with pytest.raises(ValueError, match="3 training clips are too few for 2 processes"):
        EpochSampler(3, 2, 0, 0, 2)
