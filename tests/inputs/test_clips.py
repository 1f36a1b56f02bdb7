"""From stored motion to network input."""

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from moclip.datasets.base import NO_MOTION, Clip
from moclip.inputs import transforms
from moclip.inputs.clips import EpochSampler, Geometry, MotionClips, training_loader
from moclip.inputs.transforms import InputScale
from moclip.io.files import sha256_file
from moclip.io.parallel import ClipsError
from moclip.video import Motion, encode, load_motion, save_motion
from moclip.video.store import content_path, store_motion

ZERO = 128 / 255 - 0.5


def make_motion(frames=13, value=3, block=16, width=32, height=32, fps=25.0, scale=2, gop=12):
    """The same vector everywhere in P-frames; rubbish in I-frames, which nobody may draw."""
    shape = (frames, -(-height // block), -(-width // block))
    types = np.array(["I" if t % gop == 0 else "P" for t in range(frames)])
    grid = np.full((*shape, 2), value, np.int16)
    grid[types == "I"] = 999
    mask = np.where(types == "I", 2, 1)[:, None, None] * np.ones(shape, np.uint8)
    return Motion(grid, mask.astype(np.uint8), types, types == "P", scale, block, width, height, fps)


@pytest.fixture
def make_clips(tmp_path, config):
    """Clips of a data set from motion as given."""

    def make(*motions, scale=None, field="raw", flips=False, **settings):
        clips = [Clip(Path(f"{n}.mp4"), n % 2, "AB"[n % 2], f"g{n}", f"clip {n}") for n in range(len(motions))]
        clips = [replace(clip, path=tmp_path / clip.path) for clip in clips]
        for clip, motion in zip(clips, motions, strict=True):
            clip.path.write_text(f"stands for the video {clip.name}")
            save_motion(motion, content_path(tmp_path, sha256_file(clip.path)), "sha")
        return MotionClips(clips, tmp_path, scale or InputScale(), field, config.mv.model_copy(update=settings), flips)

    return make


@pytest.fixture
def train(photos, store, config):
    return MotionClips.from_config(photos.train, store, config, flips=True)


def batches(clips, epoch, workers):
    loader = training_loader(clips, workers)
    loader.batch_sampler.epoch = epoch
    return list(loader)


def equal(one, two):
    pairs = [(torch.as_tensor(one[key]), torch.as_tensor(two[key])) for key in one]
    return one.keys() == two.keys() and all(torch.equal(*pair) for pair in pairs)


# --- samples --------------------------------------------------------------------------------------------------------


def test_a_sample_has_int16_cells_and_what_belongs_to_it(train, config, photos):
    sample = train[0, 5]
    assert sample["cells"].dtype == np.int16 and sample["cells"].shape == (config.mv.segments, 8, 10, 2)
    assert sample["label"] == photos.train[5].label
    assert sample["factor"] == pytest.approx(340 / 160 / 2)  # equivalent units, half-pixel vectors
    assert sample["box"].shape == (config.mv.segments, 4) and (sample["box"] == sample["box"][0]).all(), "one crop"
    assert sample["flip"].shape == (config.mv.segments,) and len(set(sample["flip"])) == 1


def test_a_sample_follows_from_seed_epoch_and_index_alone(train, photos, store, config):
    again = MotionClips.from_config(photos.train, store, config, flips=True)
    np.random.default_rng(0).random(7)
    torch.manual_seed(99)
    for key in [(0, 0), (3, 5), (1, 7)]:
        assert equal(train[key], again[key])
    other_seed = MotionClips.from_config(
        photos.train, store, config.model_copy(update={"mv": config.mv.model_copy(update={"seed": 1})}), flips=True
    )
    keys = [(epoch, 2) for epoch in range(6)]
    assert not all(equal(train[key], train[0, 2]) for key in keys)
    assert not all(equal(train[key], other_seed[key]) for key in keys)
    flips = {bool(train[epoch, 2]["flip"][0]) for epoch in range(12)}
    assert flips == {True, False}


@pytest.mark.parametrize("workers", [1, 2])
def test_batches_are_the_same_with_and_without_workers(train, workers):
    here, there = batches(train, 3, workers=0), batches(train, 3, workers=workers)
    assert len(here) == len(there) == 3  # 8 clips, at most 3 a batch
    assert all(equal(one, two) for one, two in zip(here, there, strict=True))
    assert not all(equal(one, two) for one, two in zip(here, batches(train, 4, workers=0), strict=True))


def test_a_sample_asks_the_disk_for_nothing(train, monkeypatch):
    """Neither hashes nor files: the packed motion is in memory."""
    expected = train[0, 3]
    for name in ("builtins.open", "os.stat", "moclip.inputs.clips.fingerprints", "moclip.inputs.clips.load_motion"):
        monkeypatch.setattr(name, lambda *arguments, name=name, **_: pytest.fail(f"{name}{arguments}"))
    sample = train[0, 3]
    monkeypatch.undo()
    assert equal(sample, expected)


def test_of_a_large_set_few_clips_are_in_memory(train, photos, store, config, monkeypatch):
    monkeypatch.setattr("moclip.inputs.clips.IN_MEMORY", 2)
    frugal = MotionClips.from_config(photos.train, store, config, flips=True)
    assert all(equal(one, two) for one, two in zip(batches(frugal, 3, 0), batches(train, 3, 0), strict=True))
    assert frugal.geometry == train.geometry and frugal.saturated() == train.saturated()
    assert (len(frugal.kept), len(train.kept)) == (2, 8)


def test_the_same_clips_shown_in_another_way_are_not_loaded_again(train, photos, store, config, monkeypatch):
    other = config.mv.model_copy(update={"resize": "squeeze", "seed": 3})
    fresh = MotionClips.from_config(photos.train, store, config.model_copy(update={"mv": other}), train.flips)
    monkeypatch.setattr("moclip.inputs.clips.load_motion", None)
    shown = train.under(other)
    for key in ((0, 1), (2, 5)):
        one, two = shown[key], fresh[key]
        assert all(np.array_equal(one[name], two[name]) for name in two)
        assert not np.array_equal(train[key]["box"], one["box"])


def test_no_flip_where_the_data_set_forbids_it(photos, store, config):
    clips = MotionClips.from_config(photos.train, store, config, flips=photos.horizontal_flip)
    assert not any(clips[epoch, index]["flip"].any() for epoch in range(8) for index in range(len(clips)))


def test_only_frames_with_motion_are_drawn(make_clips):
    clips = make_clips(make_motion(frames=26), make_motion(frames=2))
    for epoch in range(40):
        for index in range(2):
            assert (clips[epoch, index]["cells"] == 3).all()
    for views in (1, 3, 25, 60):
        assert (clips.centre_views([0, 1], views)["cells"] == 3).all()


def test_all_frames_with_motion_are_drawn(make_clips):
    motion = make_motion(frames=26)
    motion.grid[:] = np.arange(26)[:, None, None, None]
    clips = make_clips(motion, make_motion())
    drawn = {int(cell) for epoch in range(150) for cell in clips[epoch, 0]["cells"][:, 0, 0, 0]}
    assert drawn == set(range(26)) - {0, 12, 24}
    assert clips.centre_views([0], 3)["cells"][0, :, 0, 0, 0].tolist() == [4, 13, 21]  # candidates 3, 11, 19 of 23


def test_the_order_of_the_clips_is_kept(train, photos, store):
    views = train.centre_views([6, 1], 4)
    assert views["cells"].shape == (2, 4, 8, 10, 2) and not views["flip"].any()
    for row, index in enumerate((6, 1)):
        motion = load_motion(content_path(store, sha256_file(photos.train[index].path)))
        frames = np.flatnonzero(motion.has_motion)
        expected = motion.grid[[frames[len(frames) * (2 * s + 1) // 8] for s in range(4)]]
        np.testing.assert_array_equal(views["cells"][row], expected)
    assert train.labels.tolist() == [clip.label for clip in photos.train]


# --- input ----------------------------------------------------------------------------------------------------------


def level(pixels, bound=20.0):
    """What a displacement becomes: truncated toward zero, around 128 of 255."""
    return (min(max(int(pixels * 127.5 / bound) + 128, 0), 255)) / 255 - 0.5


@pytest.mark.parametrize(
    ("scale", "fps", "factor"),
    [
        (InputScale("pixels", 20.0), 25.0, 1.0),
        (InputScale("equivalent", 20.0), 25.0, 340 / 160),
        (InputScale("equivalent", 20.0), 50.0, 2 * 340 / 160),
        (InputScale("pixels", 5.0), 25.0, 1.0),
    ],
)
@pytest.mark.parametrize("field", ["raw", "accumulated"])
def test_a_pan_arrives_with_its_sign_and_length(tmp_path, config, scale, fps, factor, field):
    """3 pixels a frame to the right: x positive, y none."""
    noise = np.random.default_rng(0).normal(size=(120, 400))
    smooth = sum(np.roll(noise, (i, j), (0, 1)) for i in range(-4, 5) for j in range(-4, 5))
    picture = (128 + 100 * smooth / np.abs(smooth).max()).astype(np.uint8)[..., None].repeat(3, axis=2)
    clip = Clip(tmp_path / "pan.mp4", 0, "Pan", "g1", "pan")
    encode([picture[:, 100 - 3 * t : 260 - 3 * t] for t in range(12)], clip.path, fps=fps)
    store_motion(clip.path, content_path(tmp_path, sha256_file(clip.path)))
    clips = MotionClips([clip], tmp_path, scale, field, config.mv.model_copy(update={"input_size": 48}), flips=True)

    tensor = clips.to_input(clips.centre_views([0], 3))
    assert tensor.shape == (1, 3, 2, 48, 48) and tensor.dtype == torch.float32
    moved = [3.0] * 3 if field == "raw" else [3.0 * frame for frame in (2, 6, 10)]  # frames since the I-frame
    for segment, pixels in enumerate(moved):
        assert tensor[0, segment, 0].median().item() == pytest.approx(level(pixels * factor, scale.bound), abs=1e-5)
        assert tensor[0, segment, 1].median().item() == pytest.approx(ZERO, abs=1e-5)

    # Flipped, content moves to the left.
    mirrored = clips.to_input({**clips.centre_views([0], 3), "flip": torch.ones(1, 3, dtype=torch.bool)})
    for segment, pixels in enumerate(moved):
        assert mirrored[0, segment, 0].median().item() == pytest.approx(level(-pixels * factor, scale.bound), abs=1e-5)


def test_a_box_and_a_flip_hold_for_all_segments_of_their_clip(make_clips):
    motion = make_motion(width=64, height=64)
    motion.grid[motion.has_motion, :, 0] = 30  # the left column alone moves much, as in every frame
    motion.grid[motion.has_motion, :, 1:] = 0
    clips = make_clips(motion, motion, input_size=16, segments=4)
    batch = torch.utils.data.default_collate([clips[0, 0], clips[0, 1]])
    batch["flip"] = torch.tensor([[False] * 4, [True] * 4])
    batch["box"] = torch.tensor([[0.0, 0, 64, 64], [0, 0, 32, 32]])[:, None].expand(-1, 4, -1)
    tensor = clips.to_input(batch)
    assert tensor.shape == (2, 4, 2, 16, 16)
    assert (tensor == tensor[:, :1]).all(), "segments of a clip look the same"
    torch.testing.assert_close(tensor[0, 0, 0, :, :3], torch.full((16, 3), level(15)))
    torch.testing.assert_close(tensor[0, 0, 0, :, 6:], torch.full((16, 10), ZERO))
    # Flipped, the column that moves is the right one, outside the box of the left half.
    torch.testing.assert_close(tensor[1, 0, 0], torch.full((16, 16), ZERO))


def test_training_crops_come_from_the_settings(train, config):
    boxes = np.concatenate([train[epoch, 0]["box"] for epoch in range(60)])
    assert {round(side) for side in boxes[:, 2:].flatten()} == {round(120 * scale) for scale in config.mv.train_scales}


# --- variants of the protocol ---------------------------------------------------------------------------------------


@pytest.fixture
def uneven(make_clips):
    """Two clips with other vectors in every block of every frame, of 80 x 64 pixels; what else, the test says."""
    motions = [make_motion(frames=30, width=80, height=64) for _ in range(2)]
    rng = np.random.default_rng(0)
    for motion in motions:
        motion.grid[motion.has_motion] = rng.integers(-30, 31, motion.grid[motion.has_motion].shape)
    return lambda **changes: make_clips(*motions, **changes)


@pytest.mark.parametrize("field", ["raw", "accumulated"])
@pytest.mark.parametrize("resize", ["keep", "squeeze"])
def test_many_crops_are_one_crop_many_times(uneven, field, resize):
    """Segment by segment, each with its ten crops; the second five are those of the flipped clip."""
    clips = uneven(field=field, resize=resize, flips=True, input_size=16)
    batch = clips.centre_views([0, 1], 3, crops=10)
    tensor = clips.to_input(batch)
    assert tensor.shape == (2, 30, 2, 16, 16)
    for crop in range(10):
        single = {**clips.centre_views([0, 1], 3), "box": batch["box"][:, crop::10], "flip": batch["flip"][:, crop::10]}
        assert single["flip"].all() == single["flip"].any() == (crop >= 5)
        torch.testing.assert_close(tensor[:, crop::10], clips.to_input(single), atol=1e-6, rtol=0)
    centre = clips.to_input(clips.centre_views([0, 1], 3))
    torch.testing.assert_close(tensor[:, 4::10], centre, atol=1e-6, rtol=0)
    flipped = {**clips.centre_views([0, 1], 3), "flip": torch.ones(2, 3, dtype=torch.bool)}
    torch.testing.assert_close(tensor[:, 9::10], clips.to_input(flipped), atol=1e-6, rtol=0)
    assert clips.centre_views([0], 3, crops=3)["box"].shape == (1, 9, 4)


def test_where_a_flip_changes_the_class_ten_crops_are_five(uneven):
    batch = uneven(flips=False).centre_views([0, 1], 3, crops=10)
    assert batch["box"].shape == (2, 15, 4) and not batch["flip"].any()


def test_a_seeded_coin_mirrors_the_second_five(uneven):
    clips = uneven(flips=True, test_flip="random")
    coins = []
    for seed in range(8):
        object.__setattr__(clips, "settings", clips.settings.model_copy(update={"seed": seed}))
        flip = clips.centre_views([0, 1], 3, crops=10)["flip"].view(2, 3, 2, 5)  # (B, S, half, crop)
        assert not flip[:, :, 0].any() and (flip[:, :, 1] == flip[:, :1, 1, :1]).all(), "one coin a clip"
        assert torch.equal(clips.centre_views([1], 3, crops=10)["flip"].view(3, 2, 5), flip[1]), "whatever the batch"
        coins += flip[:, 0, 1, 0].tolist()
    assert 4 <= sum(coins) <= 12


@pytest.mark.parametrize("field", ["raw", "accumulated"])
def test_the_published_flip_is_255_minus_x(make_clips, field):
    """In 8 bit, whatever the level: no motion (128) becomes 127. The y part is mirrored and no more."""
    motion = make_motion(width=256, height=64)
    motion.grid[motion.has_motion] = np.random.default_rng(0).integers(-50, 51, (11, 4, 16, 2))  # beyond 20 pixels too
    motion.grid[:, :, 6] = 0
    clips = make_clips(motion, motion, input_size=64, crop=1.0, flips=True, flip="reference", field=field)
    batch = {**clips.centre_views([0], 11), "box": torch.tensor([0.0, 0, 256, 64]).expand(1, 11, 4)}
    mirrored = {**batch, "flip": torch.ones(1, 11, dtype=torch.bool)}
    if field == "raw":  # at 64 of 256 pixels a row has no value between two blocks
        plain, levels = (((clips.to_input(each) + 0.5) * 255).round().int() for each in (batch, mirrored))
        assert plain[:, :, 0].min() == 0 and plain[:, :, 0].max() == 255
        assert (levels[..., 0, :, 36:40] == 127).all() and (plain[..., 0, :, 24:28] == 128).all(), "no motion"
    plain, levels = ((clips.to_input(each) + 0.5) * 255 for each in (batch, mirrored))
    torch.testing.assert_close(levels[:, :, 0], 255 - plain[:, :, 0].flip(-1), atol=1e-2, rtol=0)
    torch.testing.assert_close(levels[:, :, 1], plain[:, :, 1].flip(-1), atol=1e-2, rtol=0)


def test_reference_sampling_draws_from_all_frames(make_clips):
    """Twelve frames a GOP: of frames 0 (I), 1, 2 ... the published code's segments, without their I-frames."""
    motion = make_motion(frames=31)  # CoViAR counts 30
    motion.grid[:] = np.arange(31)[:, None, None, None]
    clips = make_clips(motion, motion, sampling="reference")
    drawn = np.stack([clips[epoch, 0]["cells"][:, 0, 0, 0] for epoch in range(200)])
    for column, (first, last) in zip(drawn.T, [(1, 9), (10, 19), (20, 28)], strict=True):  # by hand: sizes 28 / 3
        assert set(column.tolist()) == set(range(first, last + 1)) - {12, 24}
    # round(29 / 3 * (s + 0.5)) + 1 = 6, 15 (a half to the even 14), 25
    assert clips.centre_views([0], 3)["cells"][0, :, 0, 0, 0].tolist() == [6, 15, 25]


def test_squeezed_training_crops_have_a_place_a_segment(uneven):
    clips = uneven(resize="squeeze", train_scales=(0.5,), input_size=16, segments=4)
    sample = clips[0, 0]
    assert sample["box"].shape == (4, 4) and len(np.unique(sample["box"][:, :2], axis=0)) > 1
    assert (sample["box"][:, 2:] == [40, 32]).all(), "half the width, half the height"
    assert clips.to_input(torch.utils.data.default_collate([sample])).shape == (1, 4, 2, 16, 16)


# --- sets of clips --------------------------------------------------------------------------------------------------


def test_block_sizes_may_differ_between_clips(make_clips):
    """H.264 and XviD choose 8x8 blocks where they like; 340 is no multiple of 16."""
    coarse = make_motion(block=16, width=340, height=252, value=4)
    fine = make_motion(block=8, width=340, height=252, value=4)
    clips = make_clips(coarse, fine, input_size=32)
    tensor = clips.to_input(clips.centre_views([0, 1], 3))
    assert torch.equal(tensor[0], tensor[1])
    samples = next(iter(training_loader(clips)))
    assert samples["cells"].shape[2:] == (32, 43, 2)


def test_units_may_differ_between_clips(make_clips):
    """Half pixels and quarter pixels, two rates: the same motion is the same tensor."""
    clips = make_clips(
        make_motion(value=4, scale=2, fps=25.0),
        make_motion(value=8, scale=4, fps=25.0),
        make_motion(value=4, scale=4, fps=50.0),
        scale=InputScale("equivalent", 100.0),
    )
    tensor = clips.to_input(clips.centre_views([0, 1, 2], 2))
    assert torch.equal(tensor[0], tensor[1]) and torch.equal(tensor[0], tensor[2])
    assert tensor[0, 0, 0, 0, 0].item() == pytest.approx(level(2 * 340 / 32, 100.0))


def test_clips_of_two_frame_sizes_are_refused(make_clips):
    with pytest.raises(ValueError, match=r"2 frame sizes.*\(32, 32\), \(32, 48\).*data.reencode"):
        make_clips(make_motion(), make_motion(width=48))


def test_every_clip_without_motion_is_named_and_what_to_do(make_clips):
    all_intra = replace(make_motion(frames=2), has_motion=np.zeros(2, bool))  # a hard cut: the P-frame has no vectors
    for field in ("raw", "accumulated"):
        for sampling in ("tsn", "reference"):
            with pytest.raises(ClipsError, match="2 of 3 clips") as caught:
                make_clips(make_motion(gop=1), make_motion(), all_intra, field=field, sampling=sampling)
            assert [(path.name, reason) for path, reason in caught.value.failures] == [
                ("0.mp4", NO_MOTION),
                ("2.mp4", NO_MOTION),
            ]
            assert "data.on_error=skip" in str(caught.value)


@pytest.mark.parametrize("gop", [12, 200, 300])
def test_accumulated_fields_are_those_of_the_reader(make_clips, gop, monkeypatch):
    """Whether the device adds up the grids, or the loader because the way back to an I-frame is long."""
    rng = np.random.default_rng(0)
    motions = [make_motion(frames=310, gop=gop, width=88, height=40, scale=scale) for scale in (2, 4)]
    for motion in motions:
        motion.grid[:] = rng.integers(-40, 41, motion.grid.shape)
    clips = make_clips(*motions, field="accumulated", input_size=16)
    assert clips.geometry == (Geometry(1, 40, 88) if gop == 300 else Geometry(16, 40, 88, gop - 1))
    fields = []

    def seen(vectors, factors, mirrored, boxes, *arguments):
        fields.append(vectors * factors[:, None, None])  # (N, H, W, 2)
        return to_input(vectors, factors, mirrored, boxes, *arguments)

    to_input = transforms.to_input
    monkeypatch.setattr("moclip.inputs.transforms.to_input", seen)
    clips.to_input(clips.centre_views([1, 0], 3))
    for row in range(6):
        index, segment = 1 - row // 3, row % 3
        frame = clips.candidates[index][len(clips.candidates[index]) * (2 * segment + 1) // 6]
        expected = motions[index].accumulated(int(frame))
        np.testing.assert_array_equal(fields[0][row].numpy(), expected)


def test_accumulated_batches_are_small(photos, store, config):
    accumulated = config.model_copy(update={"motion": config.motion.model_copy(update={"field": "accumulated"})})
    clips = MotionClips.from_config(photos.train, store, accumulated, flips=False)
    sample = clips[0, 3]["cells"]
    assert sample.dtype == np.int16 and sample.shape == (config.mv.segments, 11, 8, 10, 2)


def test_saturated_counts_inter_blocks_alone(make_clips):
    motion = make_motion(frames=3, width=32, height=32)  # two P-frames of four blocks, 2 units a pixel
    motion.grid[1, 0, 0] = (41, 0)  # beyond 20 pixels
    motion.grid[1, 0, 1] = (40, -40)  # at the bound
    motion.grid[2, 1, 1] = (500, -500)  # a vector counts once
    motion.mask[2, 0, 0] = 2
    motion.grid[2, 0, 0] = (500, 500)  # intra: no vector
    clips = make_clips(motion, replace(make_motion(frames=3)))
    assert clips.saturated() == pytest.approx(2 / 15)
    assert make_clips(motion, scale=InputScale("pixels", 500.0)).saturated() == 0
    assert make_clips(motion, scale=InputScale("equivalent", 20.0)).saturated() == pytest.approx(3 / 7)  # x 340 / 32


# --- epochs ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "batch_size"), [(8, 3), (9, 3), (10, 3), (7, 32), (33, 32), (1, 4)])
def test_an_epoch_holds_every_clip_once(count, batch_size):
    sampler = EpochSampler(count, batch_size, seed=0)
    seen = []
    for epoch in (0, 1):
        sampler.epoch = epoch
        drawn = list(sampler)
        assert len(drawn) == len(sampler) and all(0 < len(batch) <= batch_size for batch in drawn)
        assert count == 1 or min(map(len, drawn)) > 1, "no batch of a single clip"
        assert {where for batch in drawn for where, _ in batch} == {epoch}
        order = [index for batch in drawn for _, index in batch]
        assert sorted(order) == list(range(count))
        seen.append(order)
    assert count == 1 or seen[0] != seen[1]
    assert [index for batch in EpochSampler(count, batch_size, seed=0) for _, index in batch] == seen[0]
    if count > 6:
        assert [index for batch in EpochSampler(count, batch_size, seed=1) for _, index in batch] != seen[0]


@pytest.mark.parametrize(("count", "batch_size", "processes"), [(7, 4, 2), (8, 3, 2), (100, 16, 3), (6, 100, 3)])
def test_several_processes_share_every_batch(count, batch_size, processes):
    """Nothing is padded, dropped or drawn twice, and no process waits for one that has more batches."""
    shares = [list(EpochSampler(count, batch_size, 0, rank, processes)) for rank in range(processes)]
    assert len({len(share) for share in shares}) == 1 and min(len(part) for share in shares for part in share) > 0
    together = [sorted(itertools.chain(*parts)) for parts in zip(*shares, strict=True)]
    sampler = EpochSampler(count, batch_size, 0, 0, processes)
    assert len(together) == len(sampler)
    assert sorted(itertools.chain(*together)) == [(0, index) for index in range(count)]


def test_too_few_clips_for_the_processes():
    with pytest.raises(ValueError, match="3 training clips are too few for 2 processes"):
        EpochSampler(3, 2, 0, 0, 2)
