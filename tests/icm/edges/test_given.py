"""labels:PATH on small made files of the true layouts: COCO panoptic and instances, BSDS .mat, label PNGs."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coder
from scipy.io import savemat

from icm.edges.labels import refine
from icm.edges.segmenters import NotLabelled, build
from icm.edges.segmenters.bsds import read_mat

H, W = 12, 17
PICTURE = np.zeros((H, W, 3), np.uint8)


def ids_of(path: str | Path, name: str, **options: str) -> np.ndarray:
    maps = build(f"labels:{path}", options=options).label_maps(PICTURE, name, [None])
    assert len(maps) == 1
    return maps[0]


def blocks(*ids: int) -> np.ndarray:
    """(H, W) of vertical stripes with these ids."""
    return np.array(ids)[np.arange(W) * len(ids) // W][None].repeat(H, 0)


def as_colours(ids: np.ndarray) -> np.ndarray:
    return np.stack([ids % 256, ids // 256 % 256, ids // 65536], axis=-1).astype(np.uint8)


@pytest.fixture
def panoptic(tmp_path: Path) -> Path:
    ids = blocks(0, 1, 257, 8345037)
    (tmp_path / "panoptic").mkdir()
    Image.fromarray(as_colours(ids)).save(tmp_path / "panoptic" / "000009.png")
    table = {
        "images": [
            {"id": 9, "file_name": "000009.jpg", "height": H, "width": W},
            {"id": 10, "file_name": "000010.jpg", "height": H, "width": W},
            {"id": 11, "file_name": "000011.jpg", "height": H, "width": W},
        ],
        "annotations": [
            {"image_id": 9, "file_name": "000009.png", "segments_info": [{"id": int(i)} for i in np.unique(ids)[1:]]},
            {"image_id": 11, "file_name": "000011.png", "segments_info": []},
        ],
    }
    (tmp_path / "panoptic.json").write_text(json.dumps(table))
    return tmp_path / "panoptic.json"


def test_coco_panoptic(panoptic):
    assert np.array_equal(ids_of(panoptic, "000009.jpg"), blocks(0, 1, 257, 8345037))
    assert np.array_equal(ids_of(panoptic, "train/000009.png"), blocks(0, 1, 257, 8345037)), "found by its stem"
    with pytest.raises(NotLabelled, match="no labels"):
        ids_of(panoptic, "000010.jpg")
    with pytest.raises(NotLabelled, match="no labels"):
        ids_of(panoptic, "other.jpg")
    with pytest.raises(FileNotFoundError, match=r"000011\.png do not exist"):
        ids_of(panoptic, "000011.jpg")


def test_a_damaged_png_or_another_size_is_refused(panoptic):
    file = panoptic.with_suffix("") / "000009.png"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="not a whole PNG"):
        ids_of(panoptic, "000009.jpg")
    Image.fromarray(as_colours(blocks(1, 2)[:5])).save(file)
    with pytest.raises(ValueError, match="its labels are 17x5, the picture is 17x12"):
        ids_of(panoptic, "000009.jpg")


def test_panoptic_without_its_folder_is_told_where_to_put_it(panoptic):
    moved = panoptic.with_name("elsewhere.json")
    panoptic.rename(moved)
    with pytest.raises(ValueError, match=r"its folder of PNGs .*elsewhere is missing"):
        build(f"labels:{moved}")


def test_coco_instances_in_every_coding(tmp_path):
    whole, part = np.zeros((H, W), bool), np.zeros((H, W), bool)
    whole[2:10, 2:14], part[4:6, 4:7] = True, True
    packed = coder.encode(np.asfortranarray(part.astype(np.uint8)))
    runs = [0, *np.diff(np.flatnonzero(np.diff(np.pad(part.T.ravel().astype(int), 1)))).tolist()]
    first = int(np.flatnonzero(part.T.ravel())[0])
    plain = [first, *runs[1:]]
    plain.append(H * W - sum(plain))
    codings = [
        {"size": [H, W], "counts": packed["counts"].decode()},
        {"size": [H, W], "counts": plain},
        [[4, 4, 7, 4, 7, 6, 4, 6]],
    ]
    for coding in codings:
        table = {
            "images": [
                {"id": 1, "file_name": "a.jpg", "height": H, "width": W},
                {"id": 2, "file_name": "none.jpg", "height": H, "width": W},
            ],
            "annotations": [
                {"id": 5, "image_id": 1, "segmentation": coding},
                {
                    "id": 6,
                    "image_id": 1,
                    "segmentation": [[2, 2, 14, 2, 14, 10, 2, 10]],
                },
            ],
        }
        (tmp_path / "instances.json").write_text(json.dumps(table))
        wanted = whole * 2
        wanted[part] = 1
        assert np.array_equal(ids_of(tmp_path / "instances.json", "a.jpg"), wanted)
        assert not ids_of(tmp_path / "instances.json", "none.jpg").any(), "listed, without objects"
    table["annotations"][0]["segmentation"] = {"size": [H, W], "counts": "nonsense~~~"}
    (tmp_path / "instances.json").write_text(json.dumps(table))
    with pytest.raises(ValueError, match="annotation 5"):
        ids_of(tmp_path / "instances.json", "a.jpg")


def write_bsds(path: Path, *maps: np.ndarray) -> None:
    cells = np.empty((1, len(maps)), dtype=object)
    for i, ids in enumerate(maps):
        cells[0, i] = {"Segmentation": ids.astype(np.uint16), "Boundaries": np.zeros_like(ids, dtype=np.uint8)}
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, {"groundTruth": cells})


def test_bsds_annotators(tmp_path):
    maps = [blocks(1, 2), blocks(1, 2, 3), blocks(1)]
    write_bsds(tmp_path / "groundTruth" / "train" / "100.mat", *maps)
    folder = tmp_path / "groundTruth"
    assert np.array_equal(ids_of(folder, "train/100.jpg"), refine(maps))
    assert np.array_equal(ids_of(folder, "100.jpg"), refine(maps)), "found by its stem alone"
    assert np.array_equal(ids_of(folder, "100.jpg", annotators="finest"), maps[1])
    assert np.array_equal(ids_of(folder, "100.jpg", annotators="coarsest"), maps[2])
    assert np.array_equal(ids_of(folder, "100.jpg", annotators="1"), maps[0])
    with pytest.raises(ValueError, match="3 annotators, not 4"):
        ids_of(folder, "100.jpg", annotators="4")
    with pytest.raises(ValueError, match="finest"):
        ids_of(folder, "100.jpg", annotators="best")
    (folder / "train" / "100.mat").write_bytes(b"MATLAB 5.0 MAT-file" + bytes(200))
    with pytest.raises(ValueError, match="not a whole BSDS"):
        ids_of(folder, "100.jpg")


def test_one_stem_in_two_folders_is_ambiguous(tmp_path):
    for part in ("train", "val"):
        write_bsds(tmp_path / part / "7.mat", blocks(1, 2))
    assert ids_of(tmp_path, "val/7.jpg").any()
    with pytest.raises(ValueError, match="several labels have its name"):
        ids_of(tmp_path, "7.jpg")


@pytest.mark.parametrize("coding", ["grey8", "grey16", "palette", "rgb"])
def test_label_pngs(tmp_path, coding):
    ids = blocks(0, 1, 2, 200) if coding in ("grey8", "palette") else blocks(0, 1, 257, 65535)
    image = {
        "grey8": lambda: Image.fromarray(ids.astype(np.uint8)),
        "grey16": lambda: Image.fromarray(ids.astype(np.uint16)),
        "palette": lambda: Image.fromarray(ids.astype(np.uint8)).convert("L"),
        "rgb": lambda: Image.fromarray(as_colours(ids)),
    }[coding]()
    if coding == "palette":
        image = Image.frombytes("P", image.size, image.tobytes())
        image.putpalette([7] * 768)  # all one colour: only the indices tell
    image.save(tmp_path / "a.png")
    assert np.array_equal(ids_of(tmp_path, "a.jpg"), ids)


def test_transparent_labels_are_refused(tmp_path):
    Image.new("RGBA", (W, H)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match="RGBA"):
        ids_of(tmp_path, "a.jpg")


def test_what_is_not_labels_is_told(tmp_path):
    with pytest.raises(ValueError, match="needs a path"):
        build("labels")
    with pytest.raises(FileNotFoundError, match="do not exist"):
        build(f"labels:{tmp_path / 'none'}")
    with pytest.raises(ValueError, match=r"no \.mat and no \.png"):
        build(f"labels:{tmp_path}")
    for text in ("{", "[]", "{}", '{"annotations": [3], "images": []}', '{"images": [{}], "annotations": []}', "7"):
        (tmp_path / "a.json").write_text(text)
        with pytest.raises(ValueError, match=r"a\.json"):
            build(f"labels:{tmp_path / 'a.json'}")
    Image.new("L", (W, H)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match="annotators is for BSDS"):
        build(f"labels:{tmp_path}", options={"annotators": "all2"})
    with pytest.raises(ValueError, match="annotators=all"):
        build(f"labels:{tmp_path}", options={"annotator": "1"})
    write_bsds(tmp_path / "a.mat", blocks(1))
    with pytest.raises(ValueError, match="both"):
        build(f"labels:{tmp_path}")


def test_settings_notice_other_labels(panoptic):
    before = build(f"labels:{panoptic}").settings()
    assert before == build(f"labels:{panoptic}").settings()
    Image.fromarray(as_colours(blocks(1, 2, 3, 4, 5, 6, 7))).save(panoptic.with_suffix("") / "000011.png")
    assert before != build(f"labels:{panoptic}").settings()


def test_real_bsds_drawings_agree_with_their_own_boundaries(shared):
    """The .mat files carry the annotators' boundaries too, thinned: each lies within two pixels of ours."""
    from scipy.io import loadmat
    from scipy.ndimage import maximum_filter

    from icm.edges.boundaries import edge_map

    for path in sorted((shared / "data/bsds500/groundTruth/train").glob("*.mat"))[:3]:
        maps = read_mat(path)
        theirs = [cell["Boundaries"][0, 0].astype(bool) for cell in loadmat(path)["groundTruth"].ravel()]
        for ids, boundary in zip(maps, theirs, strict=True):
            ours = edge_map(ids)
            assert maximum_filter(boundary, 5)[ours].mean() > 0.99
            assert maximum_filter(ours, 5)[boundary].mean() > 0.99
