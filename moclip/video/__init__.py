"""Everything about video files; the only room that knows PyAV."""

from moclip.video.coviar import CoviarMotion
from moclip.video.errors import VideoError
from moclip.video.frames import read_frames
from moclip.video.layout import FUTURE, INTER, INTRA
from moclip.video.motion import Motion
from moclip.video.probe import VideoInfo, probe
from moclip.video.residual import read_residual
from moclip.video.scan import read_motion
from moclip.video.store import load_motion, save_motion
from moclip.video.transcode import encode, transcode

__all__ = [
    "FUTURE",
    "INTER",
    "INTRA",
    "CoviarMotion",
    "Motion",
    "VideoError",
    "VideoInfo",
    "encode",
    "load_motion",
    "probe",
    "read_frames",
    "read_motion",
    "read_residual",
    "save_motion",
    "transcode",
]
