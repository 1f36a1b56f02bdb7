"""The runner: with real kernels where the kernel matters, with a stand-in for it elsewhere."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pandas as pd
import pytest

from moclip.config.sections import ConfigError, Report
from moclip.errors import MoclipError
from moclip.io import paths
from moclip.io.progress import STATUS_VARIABLE, track
from moclip.reproduce.display import Display, clock
from moclip.reproduce.notebook import NotebookError
from moclip.reproduce.publish import publish, publish_repeated
from moclip.reproduce.runner import figures, locked, plan, repeat, reproduce
from moclip.reproduce.stages import StageError

ROOT = Path(__file__).parents[2]

# Runs the `moclip` command on the test's notebooks, in a process that can be killed.
DRIVER = """
import sys
from pathlib import Path
import moclip.io.paths
moclip.io.paths.notebooks_dir = lambda: Path({notebooks!r})
from moclip.cli.main import main
sys.argv = ["moclip", *{arguments!r}]
main()
"""

FIRST = """
import os, sys
from pathlib import Path
import moclip
from moclip.config.load import load_config
from moclip.io.paths import run_dir
config = load_config(profile, overrides)
run = run_dir(config.run)
(run / "tables").mkdir(exist_ok=True, parents=True)
(run / "tables" / "first.csv").write_text(f"epochs\\n{config.mv.epochs}\\n")
seen = [os.environ.get(name) for name in ("MPLBACKEND", "MALLOC_TOP_PAD_")]
print(sys.executable, os.getcwd(), moclip.__file__, *seen, sep="|")
"""

SECOND = """
from moclip.config.load import load_config
from moclip.io.paths import run_dir
run = run_dir(load_config(profile, overrides).run)
text = (run / "tables" / "first.csv").read_text()
(run / "tables" / "results.csv").write_text("dataset,system,accuracy\\nd,s,0.5")
"""

SLOW = """
import os, time
(run.parent / "pid").write_text(str(os.getpid()))
while not (run.parent / "go").exists(): time.sleep(0.05)
"""


def write_notebook(folder: Path, name: str, *codes: str, needs: tuple = (), makes: tuple = (), **declared: object):
    """A notebook with prose, a parameters cell and the given cells."""
    cells = [
        nbformat.v4.new_markdown_cell("# Title"),
        nbformat.v4.new_code_cell('profile = "smoke"\noverrides = {}', metadata={"tags": ["parameters"]}),
        *(nbformat.v4.new_code_cell(code.strip()) for code in codes),
    ]
    metadata = {
        "moclip": {"needs": list(needs), "makes": list(makes), **declared},
        "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
    }
    folder.mkdir(parents=True, exist_ok=True)
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=metadata), folder / f"{name}.ipynb")


@pytest.fixture
def notebooks(tmp_path, monkeypatch):
    """Two notebooks that need one another's table, in a home of their own."""
    monkeypatch.setenv("MOCLIP_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MPLBACKEND", "QtAgg")
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # a killed runner cannot clean up
    folder = tmp_path / "notebooks"
    monkeypatch.setattr("moclip.io.paths.notebooks_dir", lambda: folder)
    write_notebook(folder, "01_first", FIRST, makes=["tables/first.csv"], config=["mv"])
    write_notebook(folder, "02_second", SECOND, needs=["tables/first.csv"], makes=["tables/results.csv"], config=["mv"])
    return folder


@pytest.fixture
def in_process(monkeypatch):
    """Execute notebooks in this process instead of a kernel; returns the names of those that ran."""
    ran = []

    def execute(notebook, copy, parameters, package, progress):
        ran.append(notebook.stem)
        names: dict = {}
        for cell in nbformat.read(notebook, as_version=4).cells:
            if cell.cell_type == "code":
                exec(cell.source, names)
                names.update(parameters)

    monkeypatch.setattr("moclip.reproduce.runner.execute", execute)
    return ran


def command(notebooks: Path, *arguments: str) -> subprocess.Popen:
    """The `moclip` command in a process of its own."""
    code = DRIVER.format(notebooks=str(notebooks), arguments=list(arguments))
    return subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        # A shell starts background jobs with SIGINT ignored, and children inherit that: tests run there too.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def wait_for(condition, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def alive(pid: int) -> bool:
    """Whether a process runs (one that is dead and not yet waited for does not)."""
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


def test_real_kernels_whatever_the_users_setup(notebooks, tmp_path, monkeypatch):
    """Runs in order, in this interpreter, past a broken `python3` kernel of the user; skips; publishes."""
    for place in ("JUPYTER_PATH", "JUPYTER_DATA_DIR"):
        spec = tmp_path / place / "kernels" / "python3"
        spec.mkdir(parents=True)
        (spec / "kernel.json").write_text('{"argv": ["/bin/false"], "display_name": "broken", "language": "python"}')
        monkeypatch.setenv(place, str(tmp_path / place))
    lines: list[str] = []
    options = {"say": lines.append}
    assert reproduce("smoke", {"mv.epochs": 3, "run": "smoke"}, **options) == ["01_first", "02_second"]
    assert os.environ["JUPYTER_PATH"] == str(tmp_path / "JUPYTER_PATH"), "the user's environment is given back"

    run = paths.run_dir("smoke")
    assert (run / "tables" / "first.csv").read_text() == "epochs\n3\n", "overrides reach the notebook"
    copy = nbformat.read(run / "notebooks" / "01_first.ipynb", as_version=4)
    assert copy.metadata.kernelspec.name == "python3", "opens anywhere"
    seen = next(c.outputs[0].text for c in copy.cells if c.cell_type == "code" and c.outputs).strip().split("|")
    assert seen[:3] == [sys.executable, str(notebooks), str(ROOT / "moclip" / "__init__.py")]
    assert "inline" in seen[3] and int(seen[4]) > 0
    assert (paths.figures_dir("smoke") / "results.csv").is_file()
    assert any("01_first: running (not run yet)" in line for line in lines)

    lines.clear()
    assert reproduce("smoke", {"mv.epochs": 3, "run": "smoke"}, **options) == []
    assert lines[:2] == ["[1/2] 01_first: unchanged, skipped", "[2/2] 02_second: unchanged, skipped"]

    path = notebooks / "01_first.ipynb"
    path.write_text(
        path.read_text().replace("# Title", "# A better title").replace("import os, sys", "import os, sys  # two")
    )
    assert reproduce("smoke", {"mv.epochs": 3, "run": "smoke"}, **options) == []
    renewed = nbformat.read(run / "notebooks" / "01_first.ipynb", as_version=4)
    assert renewed.cells[0].source == "# A better title" and "# two" in renewed.cells[-1].source
    assert len(renewed.cells) == len(copy.cells) and renewed.cells[-1].outputs == copy.cells[-1].outputs
    assert [cell.source for cell in renewed.cells[1:-1]] == [cell.source for cell in copy.cells[1:-1]]


def test_a_failure_names_notebook_cell_and_error_and_leaves_the_copy(notebooks):
    write_notebook(notebooks, "02_second", "x = 1", "# divide\nx / 0", "y = 2", needs=["tables/first.csv"])
    process = command(notebooks, "reproduce", "--profile", "smoke")
    output = process.communicate(timeout=60)[0]
    copy = paths.run_dir("smoke") / "notebooks" / "02_second.ipynb"
    assert process.returncode == 1
    for part in ("02_second.ipynb failed in cell 4 of 5", "# divide", "ZeroDivisionError: division by zero", str(copy)):
        assert part in output
    assert "--only 02" in output and "Traceback" not in output and "01_first: done" in output
    assert "ZeroDivisionError" in copy.read_text()
    assert not (paths.run_dir("smoke") / "stages" / "02_second.json").exists()


def test_a_dead_kernel_is_a_failure_with_its_cell(notebooks):
    write_notebook(notebooks, "01_first", "import os", "os._exit(9)", makes=["tables/first.csv"])
    with pytest.raises(NotebookError, match=r"01_first.ipynb failed in cell 4 of 4\n +os._exit\(9\)\n.*DeadKernel"):
        reproduce("smoke", only="01", say=lambda line: None)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -9), (signal.SIGINT, 130)])
def test_stopped_in_the_middle_it_leaves_no_kernel_and_finishes_later(notebooks, in_process, number, code):
    reproduce("smoke", {"run": "straight"}, say=lambda line: None)
    straight = {p.name: p.read_bytes() for p in (paths.run_dir("straight") / "tables").iterdir()}

    write_notebook(notebooks, "02_second", SECOND + SLOW, needs=["tables/first.csv"], makes=["tables/results.csv"])
    process = command(notebooks, "reproduce", "--profile", "smoke")
    pid = paths.home() / "runs" / "pid"
    wait_for(lambda: pid.is_file() and pid.read_text())
    kernel = int(pid.read_text())
    assert alive(kernel)
    process.send_signal(number)
    output = process.communicate(timeout=30)[0]
    assert process.returncode == code
    assert number == signal.SIGKILL or "resumes where it stopped" in output
    wait_for(lambda: not alive(kernel), 10)

    in_process.clear()
    (pid.parent / "go").touch()
    reproduce("smoke", say=lambda line: None)
    assert in_process == ["02_second"], "what was finished is not run again"
    assert {p.name: p.read_bytes() for p in (paths.run_dir("smoke") / "tables").iterdir()} == straight


def test_a_full_disk_is_not_called_a_dead_kernel(notebooks, monkeypatch):
    def execute_notebook(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("papermill.execute_notebook", execute_notebook)
    with pytest.raises(NotebookError, match="No space left on device\n"):
        reproduce("smoke", only="01", say=lambda line: None)


def test_only_force_and_stale_stages(notebooks, in_process):
    lines: list[str] = []
    options = {"say": lines.append}
    with pytest.raises(StageError, match=r"02_second needs 'tables/first.csv'.*01_first makes it"):
        reproduce("smoke", only="02", **options)
    reproduce("smoke", only="01", **options)
    assert in_process == ["01_first"]
    assert "not published: 02_second is out of date (not run yet)" in lines[-1]
    assert not paths.figures_dir("smoke").exists()
    reproduce("smoke", **options)
    reproduce("smoke", only="02", force=True, **options)
    assert in_process == ["01_first", "02_second", "02_second"]
    reproduce("smoke", {"mv.epochs": 9, "run": "smoke"}, only="01", **options)
    assert "mv.epochs 1 -> 9" in lines[-1] and "tables/first.csv changed" in lines[-1]


def test_force_trains_again_what_a_training_folder_would_spare(notebooks, in_process):
    kept = 'path = run / "training" / "part" / "refit" / "last.safetensors"\npath.parent.mkdir(parents=True, exist_ok=True)'  # noqa: E501
    train = f"{kept}\npath.exists() or path.write_text(str(path.parent.stat().st_mtime_ns))"
    keeps = {"makes": ["tables/first.csv"], "keeps": ["training/part"]}
    write_notebook(notebooks, "01_first", FIRST, train, config=["mv"], **keeps)
    path = paths.run_dir("smoke") / "training" / "part" / "refit" / "last.safetensors"
    options = {"say": lambda line: None}
    reproduce("smoke", **options)
    path.write_text("by moclip train")
    reproduce("smoke", **options)
    assert path.read_text() == "by moclip train"
    reproduce("smoke", {"mv.epochs": 9, "run": "smoke"}, **options)
    assert path.read_text() == "by moclip train" and in_process.count("01_first") == 2
    reproduce("smoke", force=True, **options)
    assert path.read_text() != "by moclip train"
    (aside,) = (path.parents[2] / "set-aside").iterdir()
    assert (aside / "refit" / path.name).read_text() == "by moclip train", "nothing long is lost"


def test_an_artefact_not_made_is_an_error(notebooks, in_process):
    write_notebook(notebooks, "01_first", "x = 1", makes=["tables/first.csv"])
    with pytest.raises(StageError, match="01_first ran to its end but did not make 'tables/first.csv'"):
        reproduce("smoke", say=lambda line: None)


def test_a_run_belongs_to_one_process_at_a_time(notebooks, in_process):
    run = paths.run_dir("smoke")
    run.mkdir(parents=True)
    code = f"import filelock, time; lock = filelock.FileLock({str(run / '.lock')!r}); lock.acquire()"
    other = subprocess.Popen(
        [sys.executable, "-c", f"{code}; print(flush=True); time.sleep(99)"], stdout=subprocess.PIPE
    )
    assert other.stdout is not None
    other.stdout.readline()
    try:
        with pytest.raises(MoclipError, match="another moclip command"):
            reproduce("smoke", say=lambda line: None)
    finally:
        other.kill()  # as a crash would end it
        other.wait()
        other.stdout.close()
    with locked(run):
        pass
    assert not in_process


def test_a_file_system_without_locks_is_an_error_with_a_remedy(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise NotImplementedError("FileSystem does not appear to support flock")

    monkeypatch.setattr("filelock.FileLock.acquire", refuse)
    with pytest.raises(MoclipError, match=r"cannot be locked .*MOCLIP_HOME"), locked(tmp_path / "run"):
        pass


def test_figures_refuses_a_mixture_of_states(notebooks, in_process, monkeypatch):
    lines: list[str] = []
    with pytest.raises(MoclipError, match="nothing to publish: no tables or figures"):
        figures("smoke")
    assert not paths.run_dir("smoke").exists()
    reproduce("smoke", publish=False, say=lines.append)
    (paths.run_dir("smoke") / "tables" / "first.csv").write_text("changed by hand")
    with pytest.raises(
        MoclipError, match=r"not published: 01_first is out of date \(tables/first.csv was changed since"
    ):
        figures("smoke")
    assert not paths.figures_dir("smoke").exists()
    reproduce("smoke", publish=False, say=lines.append)
    figures("smoke", say=lines.append)
    assert {path.name for path in paths.figures_dir("smoke").iterdir()} == {"MANIFEST.json", "first.csv", "results.csv"}


def test_the_list_says_what_would_run_why_and_how_long(notebooks, in_process):
    write_notebook(notebooks, "02_second", SECOND, needs=["tables/first.csv"], makes=["tables/results.csv"],
                   config=["report"], seconds={"smoke": 75}, title="Second")  # fmt: skip
    assert plan("smoke").listing() == [
        "01_first   to run: not run yet  (01_first)", "02_second  to run: not run yet, about 1 min 15 s  (Second)"
    ]  # fmt: skip
    reproduce("smoke", say=lambda line: None)
    first, second = plan("smoke", {"mv.epochs": 3, "run": "smoke"}).listing()
    assert first == "01_first   to run: mv.epochs 1 -> 3, about 0 s  (01_first)"
    assert second == "02_second  to run: what it needs is renewed, about 0 s  (Second)"
    assert plan("smoke").listing()[0] == "01_first   up to date  (01_first)"


def test_overrides_that_change_results_leave_the_profile_s_run_alone(notebooks, in_process):
    reproduce("smoke", say=lambda line: None)
    before = {path: path.stat().st_mtime_ns for path in paths.run_dir("smoke").rglob("*") if path.is_file()}
    lines: list[str] = []
    reproduce("smoke", {"mv.epochs": 3}, say=lines.append)
    (name,) = {path.name for path in (paths.home() / "runs").iterdir()} - {"smoke"}
    assert lines[0] == f"run {name} (profile smoke)" and name.startswith("smoke-")
    assert (paths.run_dir(name) / "tables" / "first.csv").read_text() == "epochs\n3\n", "the notebook has that name too"
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_relative_paths_are_the_users(notebooks, in_process, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.yaml").write_text("extends: smoke\n")
    write_notebook(
        notebooks,
        "01_first",
        FIRST + "(run / 'tables' / 'first.csv').write_text(str(config.data.root) + profile)",
        makes=["tables/first.csv"],
    )
    reproduce("own.yaml", {"data.root": "clips"}, only="01", say=lambda line: None)
    text = (paths.run_dir("own") / "tables" / "first.csv").read_text()
    assert text == str(tmp_path / "clips") + str(tmp_path / "own.yaml")


def test_all_places_of_the_user_become_absolute(notebooks, in_process, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    places = {"data.root": "clips", "data.annotation_path": "../lists", "figures.video": "~/mine.mp4"}
    job = plan("smoke", places)
    expected = {
        "data": {"root": tmp_path / "clips", "annotation_path": tmp_path.parent / "lists"},
        "figures": {"video": Path.home() / "mine.mp4"},
    }
    for section, values in expected.items():
        for name, path in values.items():
            assert getattr(getattr(job.config, section), name) == path.resolve()
            assert job.overrides[section][name] == str(path.resolve()), "what notebooks are given"
    untouched = plan("smoke", {"data.root": None, "figures.seed": 3})
    assert untouched.overrides == {"data": {"root": None}, "figures": {"seed": 3}}


def test_seeds_are_runs_of_their_own_and_one_table(notebooks, in_process):
    write_notebook(
        notebooks,
        "02_second",
        SECOND.replace("run = ", "config = load_config(profile, overrides)\nrun = ").replace(
            'd,s,0.5"', 'd,s," + str(0.5 + config.mv.seed / 10)'
        ),
        needs=["tables/first.csv"],
        makes=["tables/results.csv"],
    )
    write_notebook(notebooks, "03_pictures", "1 / 0")  # results.csv does not stand on it
    repeat("mv.seed", (0, 1, 2), "smoke", say=lambda line: None)
    folder = paths.figures_dir("smoke")
    rows = pd.read_csv(folder / "motion_seeds.csv")
    assert list(rows.motion_seed) == [0, 1, 2] and list(rows.accuracy) == [0.5, 0.6, 0.7]
    summary = pd.read_csv(folder / "motion_seeds_summary.csv").iloc[0]
    assert (summary.system, summary.n) == ("s", 3)
    assert summary["mean"] == pytest.approx(0.6) and summary["std"] == pytest.approx(0.1)
    assert sorted(p.name for p in (paths.home() / "runs").iterdir()) == ["smoke", "smoke-seed1", "smoke-seed2"]
    assert {p.name for p in folder.iterdir()} == {"motion_seeds.csv", "motion_seeds_summary.csv"}


def test_results_to_be_joined_have_their_columns_and_names_stay_text(tmp_path, monkeypatch):
    monkeypatch.setenv("MOCLIP_HOME", str(tmp_path))
    results = paths.run_dir("mine") / "tables" / "results.csv"
    results.parent.mkdir(parents=True)
    results.write_text("dataset,system,accuracy\n007,s,0.5\n7,s,0.25\n")
    rows, summary = (
        pd.read_csv(path, dtype={"dataset": str}) for path in publish_repeated("mine", "mv.seed", {0: "mine"}, Report())
    )
    assert list(rows["dataset"]) == list(summary["dataset"]) == ["007", "7"] and list(summary["mean"]) == [0.5, 0.25]
    results.write_text("dataset,correct\nd,1\n")
    with pytest.raises(MoclipError, match=r"results.csv lacks accuracy, system; it has the columns"):
        publish_repeated("mine", "mv.seed", {0: "mine"}, Report())


FOLD = """
fold = config.data.fold
clips = [f"v{n}_f{fold}" for n in range(4)]
(run / "predictions" / f"ucf101-fold{fold}").mkdir(parents=True, exist_ok=True)
for system, right in (("fusion", fold), ("mv_only", 1)):
    text = "video,group,class_name,pred,system,seed,dataset\\n"
    for n, clip in enumerate(clips):
        text += f"{clip},{clip},A,{'A' if n < right else 'B'},{system},0,ucf101-fold{fold}\\n"
    (run / "predictions" / f"ucf101-fold{fold}" / f"{system}-seed0.csv").write_text(text)
(run / "tables" / "results.csv").write_text(f"dataset,system,accuracy\\nucf101-fold{fold},fusion,{fold / 4}\\n")
"""


def test_folds_are_runs_of_their_own_and_one_table(notebooks, in_process, tmp_path):
    opening = "from moclip.config.load import load_config\nfrom moclip.io.paths import run_dir\n"
    opening += "config = load_config(profile, overrides)\nrun = run_dir(config.run)\n"
    write_notebook(
        notebooks, "02_second", opening + FOLD, needs=["tables/first.csv"],
        makes=["tables/results.csv", "predictions/*/fusion-*"],
    )  # fmt: skip
    user = {
        "data": {"root": str(tmp_path), "annotation_path": str(tmp_path)},
        "report": {"resamples": 99},
        "run": "ucf101-small",
    }
    repeat("data.fold", (1, 2, 3), "ucf101-small", user, say=lambda line: None)
    names = sorted(path.name for path in (paths.home() / "runs").iterdir())
    assert names == ["ucf101-small", "ucf101-small-fold2", "ucf101-small-fold3"]
    folder = paths.figures_dir("ucf101-small")
    assert {path.name for path in folder.iterdir()} == {"folds.csv", "folds_summary.csv"}
    rows = pd.read_csv(folder / "folds.csv")
    assert list(rows["fold"]) == [1, 2, 3] and list(rows["accuracy"]) == [0.25, 0.5, 0.75]
    summary = pd.read_csv(folder / "folds_summary.csv").set_index("system")
    assert set(summary["dataset"]) == {"ucf101"}, "one data set, not one a fold"
    assert summary.loc["fusion", "mean"] == 0.5 and summary.loc["fusion", "mean, sd over folds"] == 0.25
    assert summary.loc["mv_only", "fusion minus it"] == 0.25 and summary.loc["mv_only", "fold 3"].startswith("25.0")


def test_a_fold_that_is_none_is_found_before_anything_runs(notebooks, in_process, tmp_path):
    user = {"data": {"root": str(tmp_path), "annotation_path": str(tmp_path)}}
    with pytest.raises(ConfigError, match=r"data.fold: .* 1, 2 or 3, found 4"):
        repeat("data.fold", (1, 4), "ucf101-small", user, say=lambda line: None)
    assert not in_process


def test_what_a_notebook_uses_may_be_absent_and_comes_before_it(notebooks, in_process):
    make = "from moclip.io.paths import run_dir\n(run_dir('smoke') / 'tables').mkdir(parents=True, exist_ok=True)\n"
    make += "(run_dir('smoke') / 'tables' / 'last.csv').write_text('a')"
    write_notebook(notebooks, "00_last", make, makes=["tables/last.csv"], uses=["tables/first.csv", "nobody/*.csv"])
    options = {"say": lambda line: None, "publish": False}
    reproduce("smoke", only="00", **options)
    assert in_process == ["00_last"], "without what it uses"
    assert [stage.name for stage in plan("smoke").stages][:2] == ["01_first", "00_last"]
    reproduce("smoke", **options)
    assert in_process == ["00_last", "01_first", "00_last", "02_second"], "again with it"
    reproduce("smoke", **options)
    assert len(in_process) == 4


def test_publish_writes_what_changed_and_removes_what_it_published(tmp_path, monkeypatch):
    monkeypatch.setenv("MOCLIP_HOME", str(tmp_path))
    for name in ("tables/a.csv", "tables/b.tex", "figures/c.png", "tables/notes.txt", "tables/.d.csv"):
        (tmp_path / "runs" / "r" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "runs" / "r" / name).write_text(name)
    target = tmp_path / "figures" / "r"
    target.mkdir(parents=True)
    (target / "mine.csv").write_text("by hand")
    assert publish("r") == ["a.csv", "b.tex", "c.png"]
    before = {path: path.stat().st_mtime_ns for path in target.iterdir()}
    assert publish("r") == []
    assert {path: path.stat().st_mtime_ns for path in target.iterdir()} == before
    (tmp_path / "runs/r/tables/a.csv").write_text("anew")
    (tmp_path / "runs/r/figures/c.png").unlink()
    (target / "b.tex").write_text("spoilt")
    assert publish("r") == ["a.csv", "b.tex", "c.png"]
    assert {path.name for path in target.iterdir()} == {"a.csv", "b.tex", "mine.csv", "MANIFEST.json"}
    assert (target / "b.tex").read_text() == "tables/b.tex"
    (target / "MANIFEST.json").write_text(json.dumps({"../../runs/r/tables/a.csv": "", "mine.csv": ""}))
    assert publish("r") == ["mine.csv"], "what it lists, but nothing outside"
    assert json.loads((target / "MANIFEST.json").read_text()).keys() == {"a.csv", "b.tex"}
    (target / "MANIFEST.json").write_text("<<<<<<< HEAD")
    with pytest.raises(MoclipError, match=r"MANIFEST.json is damaged .*remove it"):
        publish("r")


def test_a_status_that_cannot_be_written_stops_no_work(tmp_path, monkeypatch):
    for name in ("status", "none/status"):
        monkeypatch.setenv(STATUS_VARIABLE, str(tmp_path / name))
        assert list(track("ab", "training")) == ["a", "b"]


def test_status_lines_off_a_terminal(notebooks, monkeypatch):
    from moclip.reproduce.stages import read_stages

    lines: list[str] = []
    stages = read_stages(notebooks)
    display = Display(lines.append, stages, {"01_first": 100.0, "02_second": 30.0})
    monkeypatch.setattr("moclip.reproduce.display._LOOK_EVERY", 0.01)
    monkeypatch.setattr("moclip.reproduce.display._LINE_EVERY", 0.0)
    with display.running(stages[0], ["notebook changed", "b", "c", "d", "e"]) as progress:
        progress.cell, progress.cells = 3, 9
        (progress.folder / "status").write_text("training 2/15")
        wait_for(lambda: "training 2/15" in lines[-1])
    assert lines[0] == "[1/2] 01_first: running (notebook changed; b; c; and 2 more), about 2 min 10 s left"
    assert lines[-2] == "[1/2] 01_first: cell 3/9 · training 2/15 · 0 s, about 2 min 10 s left"
    assert lines[-1] == "[1/2] 01_first: done in 0 s"
    assert not progress.folder.exists()
    assert [clock(s) for s in (0.4, 59.6, 61, 7265)] == ["0 s", "1 min 00 s", "1 min 01 s", "2 h 01 min"]
