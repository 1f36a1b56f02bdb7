"""Where another reader of motion vectors is installed, ours must say the same."""

import json

import numpy as np
import pytest

from moclip.video import CoviarMotion, encode, read_motion

GOLDEN = ["pan_m4q5.mp4", "zoomrot_m4mv4qpel.mp4", "cuts_m4mv4.mp4", "hardcuts_coviar.mp4", "objs_ilace.m4v"]


def extracted(path):
    """(frame type, field) of every frame as motion-vector-extractor has them, painted in its order."""
    capture = pytest.importorskip("mvextractor.videocap").VideoCap()
    assert capture.open(str(path))
    while True:
        found, picture, vectors, kind = capture.read()[:4]
        if not found:
            return
        field = np.zeros((*picture.shape[:2], 2), np.float32)
        for source, w, h, _, _, x, y, motion_x, motion_y, scale in vectors:
            if source < 0:
                top, left = max(y - h // 2, 0), max(x - w // 2, 0)
                field[top : max(y - h // 2 + h, 0), left : max(x - w // 2 + w, 0)] = (
                    -motion_x / scale,
                    -motion_y / scale,
                )
        yield kind, field


@pytest.mark.parametrize("name", [*GOLDEN, "mpeg4", "libx264"])
def test_motion_vector_extractor(tmp_path, golden, pan, name):
    pytest.importorskip("mvextractor.videocap")
    path = golden / name
    if name not in GOLDEN:
        path = tmp_path / "a.mp4"
        encode(pan(2, 1), path, codec=name)
    motion = read_motion(path)
    theirs = list(extracted(path))
    assert len(theirs) >= len(motion) - 1  # some of its versions leave out the last frame
    for t, (kind, field) in enumerate(theirs):
        assert kind == motion.types[t]
        np.testing.assert_array_equal(motion.raw(t), field)


@pytest.mark.parametrize("name", GOLDEN)
def test_coviar(golden, name):
    coviar = pytest.importorskip("coviar")
    motion = CoviarMotion(read_motion(golden / name))
    assert coviar.get_num_frames(str(golden / name)) == len(motion)
    for gop, position, *_ in json.loads((golden / "all_frames_sha.json").read_text())[name]["sha16_gop_pos_raw_acc"]:
        t = 12 * gop + position
        np.testing.assert_array_equal(motion.raw(t), coviar.load(str(golden / name), gop, position, 1, False))
        np.testing.assert_array_equal(motion.accumulated(t), coviar.load(str(golden / name), gop, position, 1, True))
