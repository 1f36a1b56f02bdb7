"""Everything about video files; the only room that knows PyAV."""

from moclip.video.coviar import CoviarMotion as CoviarMotion
from moclip.video.errors import VideoError as VideoError
from moclip.video.frames import read_frames as read_frames
from moclip.video.layout import FUTURE as FUTURE
from moclip.video.layout import INTER as INTER
from moclip.video.layout import INTRA as INTRA
from moclip.video.motion import Motion as Motion
from moclip.video.probe import VideoInfo as VideoInfo
from moclip.video.probe import probe as probe
from moclip.video.residual import read_residual as read_residual
from moclip.video.scan import read_motion as read_motion
from moclip.video.store import load_motion as load_motion
from moclip.video.store import save_motion as save_motion
from moclip.video.transcode import encode as encode
from moclip.video.transcode import transcode as transcode
