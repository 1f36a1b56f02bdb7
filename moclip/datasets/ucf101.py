"""UCF101 from its official lists (Soomro, Zamir and Shah 2012, CRCV-TR-12-01).

Labels come from ``classInd.txt``. ``sorted()`` over the directories would swap Hammering with HammerThrow and
JumpingJack with JumpRope.
"""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

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

# fold -> (training, test) clips of the full lists
COUNTS = {1: (9537, 3783), 2: (9586, 3734), 3: (9624, 3696)}


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
    annotation_path : folder of ``classInd.txt``, ``trainlist0N.txt``, ``testlist0N.txt``.
    fold : 1, 2 or 3.
    val_fraction, seed : share of the training groups that is held out for validation, and the cut's seed.
    allow_partial : go on with the clips that are there when others are missing. A subset with lists of its own (fewer
        classes in ``classInd.txt``) is not partial.

    Raises
    ------
    ValueError
        Lists that contradict each other, or whose length is not the official one though there are 101 classes.
    FileNotFoundError
        A missing list, or missing clips (unless ``allow_partial``).
    """
    if fold not in COUNTS:
        raise ValueError(f"UCF101 has folds 1, 2 and 3, not {fold!r}")
    root, lists = Path(root).expanduser(), Path(annotation_path).expanduser()
    classes = _read_classes(lists / "classInd.txt")
    listed = {split: _read_list(lists / f"{split}list{fold:02d}.txt", root, classes) for split in ("train", "test")}
    found = {split: len(clips) for split, clips in listed.items()}
    if len(classes) == len(CLASSES) and (found["train"], found["test"]) != COUNTS[fold]:
        raise ValueError(
            f"{lists}: fold {fold} lists {found['train']} training and {found['test']} test clips, "
            f"the official split {COUNTS[fold][0]} and {COUNTS[fold][1]}; fetch the lists again"
        )
    present = {split: [clip for clip in clips if clip.path.is_file()] for split, clips in listed.items()}
    missing = sum(found.values()) - sum(map(len, present.values()))
    if missing and not allow_partial:
        lost = [str(clip.path) for clips in listed.values() for clip in clips if not clip.path.is_file()]
        raise FileNotFoundError(
            f"{missing} of {sum(found.values())} listed clips are not under {root}, the first: {', '.join(lost[:3])}; "
            "check root, or pass allow_partial=True to go on without them"
        )
    train, val = hold_out_groups(present["train"], val_fraction, seed)
    partial = f", {missing} listed clips missing" if missing else ""
    whose = f"official split {fold}" if len(classes) == len(CLASSES) else f"split {fold} of its own lists"
    return VideoDataset(
        name=f"ucf101-fold{fold}",
        description=f"UCF101 ({len(classes)} classes), {whose}{partial}",
        classes=classes,
        train=train,
        val=val,
        test=present["test"],
        class_texts={name: class_text(name) for name in classes},
        fingerprint=_fingerprint([*present["train"], *present["test"]]),
    )


def _read_lines(path: Path) -> list[str]:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; annotation_path is the folder of UCF101's ucfTrainTestlist files")
    return [line.strip() for line in path.read_text().splitlines() if line.strip()]


def _read_classes(path: Path) -> tuple[str, ...]:
    """Class names in the file's order; it numbers them from 1."""
    classes = []
    for count, line in enumerate(_read_lines(path), start=1):
        number, _, name = line.partition(" ")
        if number != str(count) or not name.strip():
            raise ValueError(f"{path}: expected '{count} <class>', found {line!r}")
        classes.append(name.strip())
    return tuple(classes)


def _read_list(path: Path, root: Path, classes: Sequence[str]) -> list[Clip]:
    """Clips of one list: ``Class/v_Class_gXX_cYY.avi``, and in training lists the class's number after it."""
    labels = {name: label for label, name in enumerate(classes)}
    clips = []
    for line in _read_lines(path):
        inside, _, number = line.partition(" ")
        # The class is the folder: files in HandstandPushups are called v_HandStandPushups_...
        class_name, _, file_name = inside.partition("/")
        if class_name not in labels:
            raise ValueError(f"{path}: {inside!r} is of no class in classInd.txt")
        if number and number.strip() != str(labels[class_name] + 1):
            raise ValueError(f"{path}: {inside!r} has number {number}, but classInd.txt says {labels[class_name] + 1}")
        group = re.search(r"_(g\d+)_c\d+\.", file_name)
        if group is None:
            raise ValueError(f"{path}: {file_name!r} carries no group; expected v_<Class>_gXX_cYY.avi")
        clips.append(Clip(root / inside, labels[class_name], class_name, group[1], Path(file_name).stem))
    return clips


def _fingerprint(clips: Sequence[Clip]) -> str:
    """SHA-256 over (name, label, size in bytes) of every clip: reading 7 GB at each start would take a minute."""
    digest = hashlib.sha256()
    for clip in sorted(clips, key=lambda clip: clip.name):
        digest.update(f"{clip.name}\0{clip.label}\0{clip.path.stat().st_size}\n".encode())
    return digest.hexdigest()[:16]
