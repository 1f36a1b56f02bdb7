"""The command: quick, and with messages instead of tracebacks."""

import importlib
import subprocess
import sys
import time
from pathlib import Path

import filelock
import pytest

import moclip
from moclip.cli import doctor
from moclip.cli import main as cli
from moclip.io import paths

HEAVY = ("torch", "av", "timm", "transformers", "papermill", "pandas", "lightning")


def fresh(code: str) -> str:
    """Output of code in a new interpreter; its error output on failure."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def moclip_command(monkeypatch, capsys, tmp_path):
    """Call the command in this process; returns exit code, output, error output."""
    monkeypatch.setenv("MOCLIP_HOME", str(tmp_path))

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["moclip", *arguments])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return int(end.value.code or 0), *capsys.readouterr()

    return call


@pytest.mark.parametrize(
    "code",
    [
        "import moclip; dir(moclip); moclip.load_config; moclip.io",
        "import sys; sys.argv = ['moclip', '--help']\nimport moclip.cli.main\n"
        "try: moclip.cli.main.main()\nexcept SystemExit as end: assert not end.code",
    ],
)
def test_nothing_heavy_is_loaded(code):
    assert fresh(f"{code}\nimport sys; print([m for m in {HEAVY} if m in sys.modules])").endswith("[]\n")


def test_help_answers_at_once():
    fresh("import moclip.cli.main")  # compiled, in the disk's cache
    start = time.monotonic()
    text = subprocess.run([sys.executable, "-m", "moclip", "--help"], capture_output=True, text=True, check=True,
                          cwd=Path(__file__).parents[2]).stdout  # fmt: skip
    # the promise is a second on a quiet machine; heavy imports, which this guards against, take five and more
    assert time.monotonic() - start < 3
    assert all(word in text for word in ("doctor", "reproduce", "figures", "seeds", "folds", "train", "predict"))
    assert "..." not in text.partition("Commands:")[2], "what a command does stands there whole"


@pytest.mark.parametrize("command", ["reproduce", "figures", "train"])
def test_a_run_that_another_command_writes_is_left_alone(moclip_command, tmp_path, command):
    run = tmp_path / "runs" / "smoke"
    run.mkdir(parents=True)
    with filelock.FileLock(run / ".lock"):
        code, _, err = moclip_command(command, "--profile", "smoke")
    assert code == 2 and f"{run} is being written by another moclip command" in err and "-p run=NAME" in err
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] in ([], [".lock"])


@pytest.mark.parametrize("name", ["doctor", "reproduce", "figures", "seeds", "folds", "train", "predict", "export"])
def test_each_command_teaches_by_an_example(moclip_command, name):
    code, out, _ = moclip_command(name, "--help")
    assert code == 0 and f"Example: moclip {name}" in out


def test_version(moclip_command):
    assert moclip_command("--version") == (0, f"moclip {moclip.__version__}\n", "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["reproduce", "--list", "-p", "mv.epoch=3"], "unknown key 'mv.epoch' (did you mean 'epochs'?)"),
        (["reproduce", "-p", "mv.epochs"], "an override is KEY=VALUE"),
        (["reproduce", "--list", "-p", "run=../x"], "found '../x'"),
        (["reproduce", "--profile", "quik"], "did you mean 'quick'?"),
        (["figures", "--profile", "smoke"], "nothing to publish"),
        (["figures", "-p", "run=../x"], "found '../x'"),
        (["train", "-p", "run=.x"], "found '.x'"),
        (["reproduce", "-p", "mv.epochs={"], "mv.epochs={: not YAML"),
        (["reproduce", "--profile", "/dev/null/x.yaml"], "no such profile file"),
        (["seeds", "--seeds", "0,one"], "--seeds takes whole numbers"),
        (["folds", "--folds", "1,b"], "--folds takes whole numbers"),
        (["folds", "--profile", "smoke"], "moving_photos has no folds; data sets that do: ucf101, hmdb51"),
        (["reproduce", "--lst"], "--lst"),
        (["reprodce"], "reprodce"),
        (["train", "--profile", "ucf101"], "ucf101 needs data.root"),
        (["train", "--devices", "0"], "--devices"),
        (["export", "mv_tsn-mixed", "out"], "mv_tsn-mixed.safetensors is not there yet"),
        (["predict", "a.mp4", "--run", "none"], "none has no trained network; first: moclip reproduce"),
    ],
)
def test_mistakes_are_messages(moclip_command, arguments, message):
    code, _, err = moclip_command(*arguments)
    assert code == 2 and message in err and "Traceback" not in err


def test_a_full_disk_is_a_message(moclip_command, monkeypatch):
    def findings():
        raise OSError(28, "No space left on device", "a.csv")

    monkeypatch.setattr("moclip.cli.doctor.findings", findings)
    assert moclip_command("doctor") == (2, "", "error: [Errno 28] No space left on device: 'a.csv'\n")


def test_a_bug_keeps_its_traceback(moclip_command, monkeypatch):
    def findings():
        raise IndexError

    monkeypatch.setattr("moclip.cli.doctor.findings", findings)
    monkeypatch.setattr(sys, "argv", ["moclip", "doctor"])
    with pytest.raises(IndexError):
        cli.main()


def test_list_shows_state_and_reason(moclip_command, tmp_path, monkeypatch):
    from nbformat import v4, write

    parameters = v4.new_code_cell("profile = 'smoke'", metadata={"tags": ["parameters"]})
    declared = {"title": "A title", "needs": [], "makes": ["tables/a.csv"]}
    write(v4.new_notebook(cells=[parameters], metadata={"moclip": declared}), tmp_path / "01_a.ipynb")
    monkeypatch.setattr(paths, "notebooks_dir", lambda: tmp_path)
    code, out, _ = moclip_command("reproduce", "--list", "--profile", "smoke")
    assert code == 0 and out == "01_a  to run: not run yet  (A title)\n"


def test_who_reads_videos_is_an_override_as_any_other(moclip_command, monkeypatch):
    from moclip.reproduce import runner as run

    asked = []
    monkeypatch.setattr(run, "reproduce", lambda profile, overrides, **_: asked.append(overrides))
    short = ("--workers", "3", "--scheduler", "tcp://a:8786", "-p", "data.seed=5")
    assert moclip_command("reproduce", *short)[0] == 0
    long = ("-p", "data.workers=3", "-p", "data.scheduler=tcp://a:8786", "-p", "data.seed=5")
    assert moclip_command("reproduce", *long)[0] == 0
    assert asked[0] == asked[1] == {"data": {"workers": 3, "scheduler": "tcp://a:8786", "seed": 5}}
    assert moclip_command("reproduce")[0] == 0 and asked[2] == {}


def test_train_leaves_what_the_notebooks_take(moclip_command, photos, tmp_path, monkeypatch, caplog):
    """Its motion network is not trained again by the same settings, but by others, and with --fresh."""
    from moclip.datasets import prepare
    from moclip.engine.checkpoints import load_checkpoint
    from moclip.inputs.clips import TrainingSamples
    from moclip.io.artefacts import load_json
    from moclip.training import state

    monkeypatch.setattr(prepare, "load_prepared", lambda data, folder: [photos])
    monkeypatch.setattr(state, "PAUSE", 0)
    run = tmp_path / "runs" / "smoke"
    command = ["train", "--profile", "smoke", "-p", "device=cpu"]
    code, out, err = moclip_command(*command)
    assert code == 0 and "epochs" in out, err
    made = {path.relative_to(run).as_posix(): path for path in run.rglob("*.*")}
    folder = "training/mv_tsn-mixed-seed0"
    assert {f"{folder}/{name}" for name in ("README.txt", "key.json", "log.csv", "last.safetensors")} <= set(made)
    assert made[f"{folder}/log.csv"].read_bytes() == made["history/mv_tsn-mixed-seed0.csv"].read_bytes()
    load_checkpoint(made["checkpoints/mv_tsn-mixed.safetensors"], photos.classes, fold=1)
    assert load_json(made["checkpoints/mv_tsn-mixed.json"])["protocol"] == "paper as shortened by profile smoke"

    trained = []
    sample = TrainingSamples.__getitem__
    monkeypatch.setattr(TrainingSamples, "__getitem__", lambda self, key: trained.extend(key[1]) or sample(self, key))
    assert moclip_command(*command)[0] == 0 and trained == [] and "trained already" in caplog.text
    assert moclip_command(*command, "--fresh")[0] == 0 and len(trained) == 8
    assert moclip_command(*command, "-p", "mv.lr=0.5", "-p", "run=smoke")[0] == 0 and len(trained) == 16
    assert "mv.lr 0.003 -> 0.5)" in caplog.text


def test_doctor(moclip_command, monkeypatch):
    monkeypatch.setattr(doctor, "device", lambda: doctor.Finding("a device"))
    monkeypatch.setattr(doctor, "_DECODERS", {"h264": "H.264", "nonsense": "Nonsense"})
    monkeypatch.setattr(doctor, "_FREE_GB", 1e12)
    required = ["torch>=2", "numpy>=99", "no_such_package>=1 ; extra == 'offline'", "neither>=1 ; extra == 'dev'"]
    monkeypatch.setattr(doctor.metadata, "requires", lambda name: required)
    code, out, _ = moclip_command("doctor")
    assert code == 1
    for problem in ("PyAV lacks: Nonsense decoder", "GB free", "not installed: numpy>=99", "needs no_such_package>=1"):
        line, remedy = out[out.index(problem) :].splitlines()[:2]
        assert remedy.strip().startswith("-> "), line
    assert "ok   Python" in out and "neither" not in out


def test_doctor_goes_on_where_a_package_is_broken(moclip_command, monkeypatch):
    def device():
        raise OSError("libcudart.so.12: cannot open shared object file")

    monkeypatch.setattr(doctor, "device", device)
    code, out, _ = moclip_command("doctor")
    assert code == 1 and "PROBLEM device: libcudart" in out and "-> install the packages" in out
    assert "video: reads" in out


def test_doctor_finds_two_packages_that_provide_clip(monkeypatch):
    monkeypatch.setattr(doctor.metadata, "packages_distributions", lambda: {"clip": ["clip", "clip-anytorch"]})
    assert doctor.clip_provider().remedy
    monkeypatch.setattr(doctor.metadata, "packages_distributions", lambda: {"clip": ["clip-anytorch"]})
    monkeypatch.setattr(doctor.util, "find_spec", lambda name: None)
    assert "setuptools<82" in doctor.clip_provider().remedy
    monkeypatch.setattr(doctor.metadata, "packages_distributions", dict)
    assert not doctor.clip_provider().remedy


def test_lazy_names_are_where_they_are_said_to_be():
    assert set(moclip._LAZY) <= set(dir(moclip)) and set(moclip._LAZY) <= set(moclip.__all__)
    for name, module in moclip._LAZY.items():
        assert getattr(moclip, name) is getattr(importlib.import_module(module), name)
    assert moclip.video.probe is moclip.probe
    assert not hasattr(moclip, "no_such_name")
