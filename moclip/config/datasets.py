"""The data sets by name: where each is defined, and what it needs from the user."""

from dataclasses import dataclass


@dataclass(frozen=True)
class DataSet:
    """One data set.

    Attributes
    ----------
    function : ``module:attribute`` of the function that lists its clips, see `moclip.registry`.
    needs : fields of the section `data` that name the user's folders.
    example : options of a command that uses it.
    """

    function: str
    needs: tuple[str, ...] = ()
    example: str = ""

    @property
    def has_folds(self) -> bool:
        """Official split lists exist, one per fold; `moclip data download` fetches clips and lists."""
        return "annotation_path" in self.needs


_CLIPS_AND_LISTS = ("root", "annotation_path")
DATASETS = {
    "moving_photos": DataSet("moclip.datasets.moving_photos:MovingPhotos"),
    "ucf101": DataSet(
        "moclip.datasets.ucf101:UCF101",
        _CLIPS_AND_LISTS,
        "--profile ucf101 -p data.root=/path/UCF-101 -p data.annotation_path=/path/ucfTrainTestlist",
    ),
    "hmdb51": DataSet(
        "moclip.datasets.hmdb51:HMDB51",
        _CLIPS_AND_LISTS,
        "--profile hmdb51 -p data.root=/path/hmdb51 -p data.annotation_path=/path/splits",
    ),
    "video_folder": DataSet(
        "moclip.datasets.video_folder:VideoFolder",
        ("root",),
        "--profile folder -p data.root=/path/of/videos (with <class>/*.mp4 in it)",
    ),
}
