"""UCF101 from its official lists (Soomro, Zamir and Shah 2012, CRCV-TR-12-01).

Labels come from ``classInd.txt``. ``sorted()`` over the directories would swap Hammering with HammerThrow and
JumpingJack with JumpRope. Beside the official lists, CoViAR's (``ucf101_split1_train.txt``) and ``path label`` lists
(``ucf101_train_split_1_videos.txt``) are read, see `moclip.datasets.lists`.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from moclip.datasets import lists
from moclip.datasets.base import Clip, VideoDataset, hold_out_groups, words

CLASSES: tuple[str, ...] = tuple(
    """
    ApplyEyeMakeup ApplyLipstick Archery BabyCrawling BalanceBeam BandMarching BaseballPitch Basketball BasketballDunk
    BenchPress Biking Billiards BlowDryHair BlowingCandles BodyWeightSquats Bowling BoxingPunchingBag BoxingSpeedBag
    BreastStroke BrushingTeeth CleanAndJerk CliffDiving CricketBowling CricketShot CuttingInKitchen Diving Drumming
    Fencing FieldHockeyPenalty FloorGymnastics FrisbeeCatch FrontCrawl GolfSwing Haircut Hammering HammerThrow
    HandstandPushups HandstandWalking HeadMassage HighJump HorseRace HorseRiding HulaHoop IceDancing JavelinThrow
    JugglingBalls JumpingJack JumpRope Kayaking Knitting LongJump Lunges MilitaryParade Mixing MoppingFloor Nunchucks
    ParallelBars PizzaTossing PlayingCello PlayingDaf PlayingDhol PlayingFlute PlayingGuitar PlayingPiano PlayingSitar
    PlayingTabla PlayingViolin PoleVault PommelHorse PullUps Punch PushUps Rafting RockClimbingIndoor RopeClimbing
    Rowing SalsaSpin ShavingBeard Shotput SkateBoarding Skiing Skijet SkyDiving SoccerJuggling SoccerPenalty
    StillRings SumoWrestling Surfing Swing TableTennisShot TaiChi TennisSwing ThrowDiscus TrampolineJumping Typing
    UnevenBars VolleyballSpiking WalkingWithDog WallPushups WritingOnBoard YoYo
    """.split()  # noqa: SIM905 - a table of names reads better than a list of quotes
)

# fold -> (training, test) clips of the full lists; the same 13,320 clips in each
COUNTS = {1: (9537, 3783), 2: (9586, 3734), 3: (9624, 3696)}
WHERE = "annotation_path is the folder of UCF101's ucfTrainTestlist files"


def class_text(name: str) -> str:
    """A class name with spaces, as in openai/CLIP's ``data/prompts.md``: ``Apply Eye Makeup``."""
    if name == "HandstandPushups":  # the one name that CLIP's list does not split at its capitals
        return "Hand Stand Pushups"
    return words(name)


def UCF101(  # noqa: N802 - reads like the other data sets
    root: Path | str,
    annotation_path: Path | str,
    fold: int = 1,
    val_fraction: float = 0.0,
    seed: int = 0,
    allow_partial: bool = False,
) -> VideoDataset:
    """Clips of one official split.

    Parameters
    ----------
    root : folder of the class folders, ``<root>/<Class>/v_<Class>_gXX_cYY.avi``.
    annotation_path : folder of ``classInd.txt``, ``trainlist0N.txt``, ``testlist0N.txt``; or of CoViAR's or ``path
        label`` lists, where without a ``classInd.txt`` the classes are the official 101.
    fold : 1, 2 or 3.
    val_fraction, seed : share of the training groups that is held out for validation, and the cut's seed.
    allow_partial : go on with the clips that are there when others are missing; ``missing`` of the result lists those.
        A subset with lists of its own (fewer classes in ``classInd.txt``) is not partial.

    Raises
    ------
    ListError
        Lists that contradict each other, or whose length is not the official one though there are 101 classes.
    FileNotFoundError
        A missing list, or missing clips (unless ``allow_partial``).
    """
    if fold not in COUNTS:
        raise lists.ListError(f"UCF101 has folds 1, 2 and 3, not {fold!r}")
    root, folder = Path(root).expanduser(), Path(annotation_path).expanduser()
    paths = {split: _list_path(folder, split, fold) for split in ("train", "test")}
    classes = _read_classes(folder, paths["train"])
    listed = {split: _read_list(path, root, classes) for split, path in paths.items()}
    if len(classes) == len(CLASSES):
        lists.check_counts(folder, fold, (len(listed["train"]), len(listed["test"])), COUNTS[fold])
    missing = lists.keep_present(listed, root, allow_partial)
    present = {split: [clip for clip in clips if clip.path.is_file()] for split, clips in listed.items()}
    train, val = hold_out_groups(present["train"], val_fraction, seed)
    partial = f", {len(missing)} listed clips missing" if missing else ""
    whose = f"official split {fold}" if len(classes) == len(CLASSES) else f"split {fold} of its own lists"
    return VideoDataset(
        name=f"ucf101-fold{fold}",
        description=f"UCF101 ({len(classes)} classes), {whose}{partial}",
        classes=classes,
        train=train,
        val=val,
        test=present["test"],
        class_texts={name: class_text(name) for name in classes},
        fingerprint=lists.fingerprint_sizes([*present["train"], *present["test"]]),
        missing=missing,
    )


def _list_path(folder: Path, split: str, fold: int) -> Path:
    names = {
        "train": "train",
        "test": "val",
    }  # what toolboxes with a training and a "validation" list call the test one
    official = f"{split}list{fold:02d}.txt"
    others = (f"ucf101_split{fold}_{split}.txt", f"ucf101_{names[split]}_split_{fold}_videos.txt")
    return lists.find_list(folder, (official, *others), WHERE)


def _read_classes(folder: Path, train_list: Path) -> tuple[str, ...]:
    """Class names in the order of ``classInd.txt``, which numbers them from 1."""
    path = folder / "classInd.txt"
    if not path.is_file() and not train_list.name.startswith("trainlist"):
        return CLASSES  # lists of other people, which come without it
    classes = []
    for count, line in enumerate(lists.read_lines(path, WHERE), start=1):
        number, _, name = line.partition(" ")
        if number != str(count) or not name.strip():
            raise lists.ListError(f"{path}: expected '{count} <class>', found {line!r}")
        classes.append(name.strip())
    return tuple(classes)


def _read_list(path: Path, root: Path, classes: Sequence[str]) -> list[Clip]:
    """Clips of one list, whose lines name ``Class/v_Class_gXX_cYY.avi``."""
    labels = {name: label for label, name in enumerate(classes)}
    rows = lists.read_rows(path, WHERE)
    clips = []
    for row in rows:
        # The class is the folder: files in HandstandPushups are called v_HandStandPushups_...
        if row.class_name not in labels:
            raise lists.ListError(f"{path}: {row.inside!r} is of no class in classInd.txt")
        file_name = row.inside.rpartition("/")[2]
        group = re.search(r"_(g\d+)_c\d+\.", file_name)
        if group is None:
            raise lists.ListError(f"{path}: {file_name!r} carries no group; expected v_<Class>_gXX_cYY.avi")
        label = labels[row.class_name]
        clips.append(Clip(root / row.inside, label, row.class_name, group[1], Path(file_name).stem))
    lists.check_numbers(path, rows, labels, "classInd.txt")
    return clips
