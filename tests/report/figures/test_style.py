"""The look of figures: files that repeat and say what is in them; and no torch in the room."""

import re
import subprocess
import sys
import zlib

import matplotlib.pyplot as plt
import PIL.Image
import pytest
from IPython.core.formatters import format_display_data

from moclip.report.figures import style

ALT = "A curve that rises: 10 %, 50 %, 60 % (accuracy over epochs)."


def saved(folder, alt=ALT):
    figure, axes = plt.subplots(figsize=(2, 1))
    axes.plot([1, 2, 3], [0.1, 0.5, 0.6])
    axes.set_title("★ text → text")
    return figure, style.save_figure(folder, "curve", figure, alt)


def test_figures_repeat_byte_for_byte(tmp_path):
    style.use_style()
    for folder in ("one", "two"):
        saved(tmp_path / folder)
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == ["curve.pdf", "curve.png"]
    for name, start in (("curve.png", b"\x89PNG"), ("curve.pdf", b"%PDF")):
        one = (tmp_path / "one" / name).read_bytes()
        assert one.startswith(start) and one == (tmp_path / "two" / name).read_bytes()
        assert b"CreationDate" not in one and b"tIME" not in one


def test_alt_text_goes_wherever_the_figure_goes(tmp_path):
    _, image = saved(tmp_path)
    with PIL.Image.open(tmp_path / "curve.png") as png:
        assert png.text["Description"] == ALT and "Software" not in png.text
    pdf = (tmp_path / "curve.pdf").read_bytes().replace(b"\\(", b"(").replace(b"\\)", b")")
    assert f"/Subject ({ALT})".encode() in pdf and b"/Producer" not in pdf
    data, metadata = format_display_data(image)  # what a notebook keeps
    assert metadata["image/png"]["alt"] == ALT and data["image/png"]


def test_the_notebook_shows_the_printed_figure_somewhat_larger(tmp_path):
    style.use_style()
    figure, image = saved(tmp_path)
    assert not plt.fignum_exists(figure.number), "closed: shown once, as the image, and not a second time by IPython"
    assert image.data == (tmp_path / "curve.png").read_bytes()
    with PIL.Image.open(tmp_path / "curve.png") as png:
        assert png.info["dpi"] == pytest.approx((200, 200), abs=0.01)
        assert image.width == round(png.width / 200 * 130)


@pytest.mark.parametrize("alt", ["", None])
def test_no_figure_without_alt_text(tmp_path, alt):
    with pytest.raises(ValueError, match="curve has no alt text"):
        saved(tmp_path, alt)
    assert not list(tmp_path.iterdir())
    plt.close("all")


def test_text_in_a_pdf_is_text(tmp_path):
    """TrueType fonts (42), which programs find and copy, and none of Type 3, which some journals refuse."""
    style.use_style()
    saved(tmp_path)
    pdf = (tmp_path / "curve.pdf").read_bytes()
    assert not re.search(rb"/Subtype\s*/Type3", pdf) and re.search(rb"/Subtype\s*/CIDFontType2|/FontFile2", pdf)
    streams = [zlib.decompressobj().decompress(part) for part in re.findall(rb"stream\r?\n(.*?)endstream", pdf, re.S)
               if part[:1] == b"\x78"]  # fmt: skip
    assert any(b" Tf" in stream and re.search(rb"T[jJ]", stream) for stream in streams)


def test_the_room_of_reports_loads_no_torch():
    code = """
import sys, pkgutil, importlib
import moclip.report
names = [module.name for module in pkgutil.walk_packages(moclip.report.__path__, "moclip.report.")]
assert {"moclip.report.tables", "moclip.report.figures.accuracy"} <= set(names), names
for name in names:
    importlib.import_module(name)
print(*sorted({"torch", "timm", "av", "transformers", "clip"} & set(sys.modules)))
"""
    result = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert result.stdout.strip() == ""
