"""Table I side by side: sums by hand, the paper's rows in the paper's order, a figure with every system."""

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from moclip.report import paper
from moclip.studies.baselines import costs as room
from moclip.studies.baselines import figures


@pytest.fixture
def costs():
    """Two systems of the paper, one that it lacks; round numbers."""
    facts = {"source": "A, 2000; b", "status": "from scratch, not comparable", "protocol": "own", "input": "3 x 8 x 8"}
    rows = [
        ("two_stream", "two_stream_spatial", "Two-Stream", "RGB + flow", "frame", 3e6, 3e6, 1e9, 25, 250, "mean"),
        ("two_stream", "two_stream_temporal", "Two-Stream", "RGB + flow", "flow_stack", 2e6, 2e6, 2e9, 25, 250, "mean"),
        ("clip_zero_shot", "clip_zero_shot", "CLIP (ViT-B/32)", "RGB", "frame", 7e6, 0, 4e9, 1, 1, "cosine"),
        ("coviar", "coviar_iframe", "CoViAR (fused)", "RGB + MV", "iframe", 5e6, 5e6, 3e9, 2, 4, "logits, 2 : 1 : 1"),
        ("mv_tsn", "mv_tsn", "a network", "MV", "", 4e6, 4e6, 1e9, 32, 32, "mean"),
        ("fusion", "mv_tsn", "MoCLIP-Lite (ours)", "RGB + MV", "", 4e6, 0, 1e9, 32, 32, "MLP head"),
        ("fusion", "fusion", "MoCLIP-Lite (ours)", "RGB + MV", "", 1e6, 1e6, 0, 1, 1, "MLP head"),
    ]
    names = [
        "system",
        "part",
        "method",
        "modality",
        "kind",
        "params",
        "trainable",
        "macs_per_view",
        "views",
        "own_views",
    ]
    return pd.DataFrame(rows, columns=[*names, "join"]).assign(**facts)


def test_sums_by_hand(costs):
    table = room.compare_costs(costs).set_index("Method")
    row = table.loc["Two-Stream"]
    assert (row["Params (M)"], row["GMACs"], row["GMACs, own protocol"]) == (5, 75, 750)
    assert row["Views"] == "25 + 25" and row["Paper: GFLOPs"] == 83 and row["Paper: top-1 (%, UCF101)"] == 86.2
    assert table.loc["MoCLIP-Lite (ours)", "Trainable (M)"] == 1 and table.loc["MoCLIP-Lite (ours)", "GMACs"] == 32


def test_rows_are_the_paper_s_and_then_others(costs):
    table = room.compare_costs(costs)
    stated = paper.numbers("table1")
    assert list(table["Method"]) == [*stated["method"], "CoViAR (fused)"]
    assert list(table["Paper: GFLOPs"][:11]) == list(stated["gflops"])
    table = table.set_index("Method")
    assert table.loc["EPK-CLIP", "Status"] == "cited only" and pd.isna(table.loc["EPK-CLIP", "GMACs"])
    assert pd.isna(table.loc["CoViAR (fused)", "Paper: GFLOPs"])
    assert table.loc["MV-only (ours)", "GMACs"] == 32, "joined by system, whatever it is called"
    both = table.loc[["CLIP (ViT-B/32)", "CLIP-only (ours)"]]
    assert list(both["GMACs"]) == [4, 4] and list(both["Paper: top-1 (%, UCF101)"]) == [64.5, 65.0]


def texts(axes):
    return [text.get_text() for text in axes.texts]


def test_pathways_name_every_system_and_network(costs):
    figure = figures.pathways(costs)
    drawn = "\n".join(texts(figure.axes[0]))
    for word in (*costs["method"], "two_stream_temporal\n2.00 M, 2 GMACs x 25", "10 flow fields", "MLP head", "mv_tsn"):
        assert word in drawn
    assert "fusion\n" not in drawn, "the head is what joins"
    plt.close(figure)


def test_the_plot_has_printed_and_counted_costs(costs):
    figure, axes = plt.subplots()
    figures.accuracy_against_cost(axes, room.compare_costs(costs))
    named = set(paper.numbers("table1")["method"]) | set(paper.numbers("published")["method"])
    assert set(texts(axes)) == named
    points = {(line.get_xdata()[0], line.get_ydata()[0]) for line in axes.lines if len(line.get_xdata()) == 1}
    assert {(83, 86.2), (750, 86.2), (1222, 90.4)} <= points
    plt.close(figure)
