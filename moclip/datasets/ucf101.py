"""UCF101 from its official lists (Soomro, Zamir and Shah 2012, CRCV-TR-12-01).

Labels come from ``classInd.txt``. ``sorted()`` over the directories would swap Hammering with HammerThrow and
JumpingJack with JumpRope. Files are ``<root>/<Class>/v_<Class>_gXX_cYY.avi``, and the group is ``gXX``. Beside the
official lists, it reads CoViAR's (``ucf101_split1_train.txt``) and ``path label`` lists
(``ucf101_train_split_1_videos.txt``), see `moclip.datasets.lists`.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from moclip.datasets import lists
from moclip.datasets.base import Clip, words

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


def read(root: Path, folder: Path, fold: int) -> lists.Listed:
    """What the lists of a fold say; ``folder`` holds them.

    It reads ``classInd.txt``, ``trainlist0N.txt`` and ``testlist0N.txt``, or CoViAR's or ``path label`` lists; without
    ``classInd.txt`` the classes of the last two are the official 101.
    """
    train, test = (_list_path(folder, split, fold) for split in ("train", "test"))
    classes = _read_classes(folder, train)
    return lists.Listed(classes, _read_list(train, root, classes), _read_list(test, root, classes))


def _list_path(folder: Path, split: str, fold: int) -> Path:
    return lists.find_list(folder, (f"{split}list{fold:02d}.txt", *lists.common_names("ucf101", split, fold)), WHERE)


def _read_classes(folder: Path, train_list: Path) -> tuple[str, ...]:
    """Class names in the order of ``classInd.txt``, which numbers them from 1."""
    path = folder / "classInd.txt"
    if not path.is_file() and not train_list.name.startswith("trainlist"):
        return CLASSES  # CoViAR's and `path label` lists come without it
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


UCF101 = lists.ListedDataset("UCF101", len(CLASSES), COUNTS, read, class_text)
