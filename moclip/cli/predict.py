"""``moclip predict``: a trained run applied to your videos."""

from pathlib import Path
from typing import Annotated

import typer

from moclip.errors import MoclipError


def predict(
    videos: Annotated[list[Path], typer.Argument(metavar="VIDEO...", help="Files of any size and codec.")],
    run: Annotated[str, typer.Option(metavar="NAME", help="A run under runs/, or its folder.")] = "folder",
    data: Annotated[str | None, typer.Option(metavar="NAME", help="Which networks, if there are several.")] = None,
    system: Annotated[str, typer.Option(metavar="NAME", help="fusion, or mv_only (without an encoder).")] = "fusion",
    seed: Annotated[int, typer.Option(metavar="K", help="Which fusion head.")] = 0,
    top: Annotated[int, typer.Option(min=1, metavar="K", help="Classes shown per video.")] = 3,
    out: Annotated[Path | None, typer.Option(metavar="FILE.csv", help="All classes of all videos, as a table.")] = None,
    device: Annotated[str, typer.Option(metavar="NAME", help="auto, cpu or cuda.")] = "auto",
) -> None:
    """Name the action in videos, with the networks of a run.

    Example: moclip predict new/*.mp4 --run folder --out predictions.csv

    First train: moclip reproduce --profile folder -p data.root=videos. Each video is prepared as the clips of that run
    were (re-encoded, scaled, cropped). It gets one of their classes even if it shows none of them. If a file cannot be
    read, the command names it, continues with the others, and ends with exit code 1.
    """
    import pandas as pd

    from moclip.engine.recogniser import load_recogniser
    from moclip.io.artefacts import save_csv

    recogniser = load_recogniser(run, data, system, seed, device)
    rows, failed = [], 0
    for video in videos:
        try:
            probabilities = recogniser(video)
        except (MoclipError, OSError) as error:
            failed += 1
            typer.echo(f"error: {error}", err=True)
            continue
        order = probabilities.argsort(descending=True, stable=True).tolist()
        ranked = [(recogniser.classes[index], probabilities[index].item()) for index in order]
        rows += [{"video": str(video), "rank": n, "class": c, "probability": p} for n, (c, p) in enumerate(ranked, 1)]
        typer.echo(f"{video}")
        for name, probability in ranked[:top]:
            typer.echo(f"  {100 * probability:5.1f} %  {name}")
    if out:
        save_csv(out, pd.DataFrame(rows, columns=["video", "rank", "class", "probability"]))
    tested = "these weights were not tested"
    if recogniser.accuracy:
        accuracy, clips = recogniser.accuracy
        tested = f"correct for {100 * accuracy:.1f} % of its {clips} test clips"
    about = f"{len(recogniser.classes)} classes, trained on {recogniser.header['data']}; {tested}"
    typer.echo(f"{system} of run {run}: {about}")
    raise typer.Exit(1 if failed else 0)
