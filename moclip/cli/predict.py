"""``moclip predict``: what a trained run says about videos of one's own."""

from pathlib import Path
from typing import Annotated

import typer

from moclip.errors import MoclipError


def predict(
    videos: Annotated[list[Path], typer.Argument(metavar="VIDEO...", help="Files of any size and codec.")],
    run: Annotated[str, typer.Option(metavar="NAME", help="A run under runs/.")] = "folder",
    data: Annotated[
        str | None, typer.Option(metavar="NAME", help="Whose networks, where the run has several data sets.")
    ] = None,
    system: Annotated[
        str, typer.Option(metavar="NAME", help="fusion, or mv_only: the motion network alone, without an encoder.")
    ] = "fusion",
    seed: Annotated[int, typer.Option(metavar="K", help="Which fusion head.")] = 0,
    top: Annotated[int, typer.Option(min=1, metavar="K", help="Classes shown of each video.")] = 3,
    out: Annotated[Path | None, typer.Option(metavar="FILE.csv", help="All classes of all videos, as a table.")] = None,
    device: Annotated[str, typer.Option(metavar="NAME", help="auto, cpu or cuda.")] = "auto",
) -> None:
    """Name the action in videos, with the networks of a run.

    Example: moclip predict new/*.mp4 --run folder --out predictions.csv

    First train: moclip reproduce --profile folder -p data.root=videos. A video is treated as the clips of that run were
    (re-encoded, scaled, cropped), and gets one of their classes even where it shows none of them. A file that cannot be
    read is said, and the others go on; the exit code is 1 then.
    """
    import pandas as pd

    from moclip.engine.recogniser import Recogniser
    from moclip.io.artefacts import save_csv
    from moclip.io.paths import run_dir

    recogniser = Recogniser(run_dir(run), data, system, seed, device)
    rows, failed = [], 0
    for video in videos:
        try:
            shares = recogniser(video)
        except (MoclipError, OSError) as error:
            failed += 1
            typer.echo(f"error: {error}", err=True)
            continue
        order = shares.argsort(descending=True, stable=True).tolist()
        ranked = [(recogniser.classes[index], shares[index].item()) for index in order]
        rows += [{"video": str(video), "rank": n, "class": c, "probability": p} for n, (c, p) in enumerate(ranked, 1)]
        typer.echo(f"{video}")
        for name, share in ranked[:top]:
            typer.echo(f"  {100 * share:5.1f} %  {name}")
    if out:
        save_csv(out, pd.DataFrame(rows, columns=["video", "rank", "class", "probability"]))
    right = recogniser.measured
    known = (
        f"right in {100 * right[0]:.1f} % of its {right[1]} test clips" if right else "never tested with these weights"
    )
    typer.echo(f"{system} of run {run}: {len(recogniser.classes)} classes, trained on {recogniser.data}; {known}")
    if failed:
        raise typer.Exit(1)
