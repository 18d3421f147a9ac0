"""felzenszwalb, the names on the command line, the contact sheet."""

import numpy as np
import pytest

from icm.edges.preview import HEIGHT, label_colours, row, sheet
from icm.edges.segmenters import build


def test_felzenszwalb_finds_two_halves_and_says_what_it_is():
    picture = np.zeros((40, 60, 3), np.uint8)
    picture[:, 30:] = 255
    segmenter = build("felzenszwalb", options={"sigma": "0", "min_size": "20"})
    (labels,) = segmenter.label_maps(picture, "a.png", [None])
    assert len(np.unique(labels)) == 2
    assert labels.min() > 0
    assert np.array_equal(labels[:, 29] != labels[:, 30], np.ones(40, bool))
    assert "offline fallback" in segmenter.notice
    assert segmenter.settings()["offline_fallback"] is True
    assert segmenter.settings()["min_size"] == 20
    assert build("felzenszwalb").label_maps(picture[:1, :1], "b.png", [None])[0].shape == (1, 1)


def test_names_and_options_that_do_not_exist():
    with pytest.raises(ValueError, match="choose sam:vit_h"):
        build("slic")
    with pytest.raises(ValueError, match="nothing after a colon"):
        build("felzenszwalb:3")
    with pytest.raises(ValueError, match=r"no option 'size': it takes scale=.*min_size"):
        build("felzenszwalb", options={"size": "3"})
    with pytest.raises(ValueError, match="min_size=big of felzenszwalb is not a whole number"):
        build("felzenszwalb", options={"min_size": "big"})


def test_a_contact_sheet_shows_pictures_labels_and_edges():
    picture = np.full((400, 600, 3), 90, np.uint8)
    labels = np.zeros((400, 600), np.int32)
    labels[:, 301:] = 7
    edges = np.zeros((400, 600), bool)
    edges[:, 301] = True
    one = row(picture, [labels], [edges])
    assert one.shape == (HEIGHT, 3 * 300 + 2 * 6, 3)
    assert (one[:, :300] == 90).all()
    assert set(np.unique(one[:, 306:450])) == {0}, "label 0 is black"
    assert one[:, 460:600].any()
    assert (one[:, 612 + 150] == 255).all(), "a line one pixel wide survives the shrinking"
    tall = row(np.zeros((10, 3, 3), np.uint8), [np.ones((10, 3), np.int32)], [np.zeros((10, 3), bool)])
    assert sheet([one, tall]).shape == (2 * HEIGHT + 6, one.shape[1], 3)
    colours = label_colours(np.arange(1, 9)[None])
    assert len(np.unique(colours.reshape(-1, 3), axis=0)) == 8
