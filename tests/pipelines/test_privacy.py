"""vcm privacy end to end on planted faces: framed textures that a planted detector finds by their frames."""

from __future__ import annotations

import json
from fractions import Fraction

import cv2
import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from eval.privacy import detectors
from eval.privacy.base import About, Face
from eval.privacy.detectors import largest_first

SIDE = 48


class Planted:
    """Finds magenta frames."""

    about = About("planted", "", "Apache-2.0", "this test")

    def detect(self, picture):
        red, green, blue = (picture[..., i].astype(int) for i in range(3))
        parts, count = ndimage.label((red > 140) & (blue > 140) & (green < 110))
        found = []
        for rows, columns in ndimage.find_objects(parts, count):
            box = np.array([columns.start, rows.start, columns.stop, rows.stop], float)
            side = box[2:] - box[:2]
            if side.min() >= 0.6 * SIDE:
                points = np.array([[0.35, 0.4], [0.65, 0.4], [0.5, 0.55], [0.38, 0.7], [0.62, 0.7]])
                found.append(Face(box, 1.0, points * side + box[:2]))
        return largest_first(found)


def paste(picture, person, x, y, noise=0):
    coarse = np.random.default_rng(100 + person).integers(0, 200, (9, 9)).astype(np.uint8)
    grey = cv2.resize(coarse, (SIDE - 8, SIDE - 8), interpolation=cv2.INTER_CUBIC).astype(float)
    grey += np.random.default_rng([person, noise]).normal(0, 5, grey.shape)
    picture[y : y + SIDE, x : x + SIDE] = (255, 0, 255)
    picture[y + 4 : y + SIDE - 4, x + 4 : x + SIDE - 4] = np.clip(grey, 0, 255).astype(np.uint8)[..., None]


def people(folder, persons=3, each=2):
    for person in range(persons):
        (folder / f"p{person}").mkdir(parents=True)
        for i in range(each):
            picture = np.full((96, 112, 3), 60 + 10 * i, np.uint8)
            paste(picture, person, 20 + 8 * i, 16 + 4 * person, i)
            Image.fromarray(picture).save(folder / f"p{person}" / f"{i}.png")
    return folder


@pytest.fixture
def planted(monkeypatch):
    monkeypatch.setitem(detectors.DETECTORS, "planted", Planted)


@pytest.fixture
def privacy(vcm, planted, tmp_path):
    def call(faces, *words):
        common = ("--face-detector", "planted", "--scenes", 0, "-o", tmp_path / "run")
        return vcm("privacy", "--faces", faces, *common, *words)

    return call


def test_the_whole_flow(vcm, privacy, tmp_path, monkeypatch):
    faces = people(tmp_path / "people")
    done = privacy(faces, "--codec", "jpeg:2,60", "pixelate:24", "--steps", 2)
    assert done.code == 0, done.err
    run = json.loads((tmp_path / "run" / "privacy.json").read_text())
    points = {(p["codec"], p["quality"]): p for p in run["points"]}
    assert list(points) == [("uncompressed", 0), ("jpeg", 2), ("jpeg", 60), ("pixelate", 24)]
    assert (run["identities"], run["subjects"], run["attacked"]) == (3, 6, True)
    control, good, bad = points["uncompressed", 0], points["jpeg", 60], points["pixelate", 24]
    for point in (control, good):
        assert point["attacks"]["none"]["rank1"]["value"] == 1
        assert point["detection"]["recall"]["value"] == 1
    assert control["similarity"]["mean"] == pytest.approx(1)
    assert control["detection"]["landmark_error_percent"] == 0
    assert bad["similarity"]["mean"] < good["similarity"]["mean"] < 1
    assert bad["detection"]["recall"]["value"] < 1
    assert set(control["attacks"]) == {"none"}
    assert set(bad["attacks"]) == {"none", "parrot", "head", "restorer"}
    for (codec, quality), point in points.items():
        files = [f for f in (tmp_path / "run" / "streams" / codec / f"{quality:g}").rglob("*") if f.is_file()]
        assert point["bytes_total"] == sum(f.stat().st_size for f in files)
        assert point["rate_bpp"] == pytest.approx(8 * point["bytes_total"] / (6 * 96 * 112))
    assert "This is not evidence: 3 identities" in done.out
    page = (tmp_path / "run" / "report.html").read_text()
    for said in ("not evidence", "the strongest attacker", "Not tested", "patterns; Apache-2.0", "too few pairs"):
        assert said in page, said
    assert "image/webp" not in page  # no face is drawn unless it is asked for
    assert (tmp_path / "run" / "report-plots" / "privacy-identity.png").stat().st_size > 1000

    dry = privacy(faces, "--codec", "x265:40", "--dry-run", "--resume")
    assert dry.out.splitlines() == ["uncompressed", "x265:40", "6 pictures of 3 persons"]
    again = privacy(faces, "--codec", "jpeg:60")
    assert again.code == 2
    assert "--resume" in again.err
    monkeypatch.setattr("pipelines.privacy_job.Job.codec", lambda *_: pytest.fail("was done before"))
    again = privacy(faces, "--codec", "jpeg:2,60", "pixelate:24", "--steps", 2, "--resume")
    assert again.code == 0
    assert again.out.count("done before") == 4
    again = privacy(faces, "--codec", "jpeg:2,60", "--steps", 2, "--resume")  # pixelate stays
    kept = json.loads((tmp_path / "run" / "privacy.json").read_text())["points"]
    assert [point["codec"] for point in kept] == ["uncompressed", "jpeg", "jpeg", "pixelate"]
    assert vcm("report", tmp_path / "run", "-o", tmp_path / "all.html").code == 0
    assert "What is left of faces" in (tmp_path / "all.html").read_text()


def test_faces_are_drawn_on_request_and_bad_pictures_listed(privacy, tmp_path):
    faces = people(tmp_path / "people")
    (faces / "p0" / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(faces / "p1" / "nobody.png")
    done = privacy(faces, "--codec", "jpeg:30", "--attackers", "none", "--draw-faces")
    assert done.code == 1
    lines = done.err.strip().splitlines()
    assert len(lines) == 3
    assert "bad.png" in lines[0]
    assert "nobody.png: no face found by planted; left out" in lines[1]
    assert "image/webp" in (tmp_path / "run" / "report.html").read_text()


def test_a_clip(privacy, tmp_path):
    from pipelines.clips_out import writing

    path = tmp_path / "two.mkv"
    with writing(path, Fraction(10)) as writer:
        for i in range(6):
            frame = np.full((80, 160, 3), 70, np.uint8)
            paste(frame, 0, 8 + 2 * i, 10, i)
            paste(frame, 1, 96 - 2 * i, 14, i)
            writer.add(frame, Fraction(i, 10), i)
    done = privacy(path, "--codec", "jpeg:40", "--attackers", "none", "--every", 2)
    assert done.code == 0, done.err
    run = json.loads((tmp_path / "run" / "privacy.json").read_text())
    assert (run["clip"], run["pictures"], run["identities"], run["subjects"]) == (True, 3, 2, 6)
    assert run["points"][0]["attacks"]["none"]["rank1"]["value"] == 1


def test_bad_requests_are_one_line(privacy, vcm, tmp_path, monkeypatch):
    faces = people(tmp_path / "people")
    alone = people(tmp_path / "alone", persons=1)
    blank = tmp_path / "blank"
    for person in ("a", "b"):
        (blank / person).mkdir(parents=True)
        for i in range(2):
            Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(blank / person / f"{i}.png")
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(b"no network")
    (tmp_path / "empty.mp4").write_bytes(b"")
    monkeypatch.setenv("VCM_MODELS", str(tmp_path))
    for words, says in [
        ((blank, "--codec", "jpeg:30"), "no face found in any of its 4 pictures by planted"),
        ((alone, "--codec", "jpeg:30"), "one identity only (p0)"),
        ((faces, "--codec", "jpeg:30", "--embedder", bad), "bad.onnx: does not load as an ONNX embedder"),
        ((faces, "--codec", "jpeg:30", "--embedder", "sface"), "not on this machine"),
        ((faces, "--codec", "jpeg"), "give qualities"),
        ((faces, "--codec", "pixelate:x"), "give strengths"),
        ((faces, "--codec", "jpg:30"), "did you mean jpeg?"),
        ((tmp_path / "empty.mp4", "--codec", "jpeg:30"), "is empty"),
        ((faces, "--codec", "jpeg:30", "--person-detector", "eyes"), "--person-detector eyes: unknown"),
        ((faces, "--codec", "jpeg:30", "--weights", "lic-s=x"), "no codec of ours of that name"),
    ]:
        done = privacy(*words)
        assert done.code == 2, words
        assert done.err.count("\n") == 1, done.err
        assert says in done.err, done.err
        assert not (tmp_path / "run").exists()
    done = vcm("report", tmp_path, "-o", tmp_path / "r.html")
    assert "holds no records.jsonl" in done.err


def test_mtcnn_finds_a_turned_face_where_exif_says_it_stands(shared, tmp_path):
    """The same picture stored upright, and stored lying with EXIF orientation 6: same face, same embedding."""
    pytest.importorskip("facenet_pytorch", reason="needs facenet-pytorch: pip install --no-deps facenet-pytorch")
    from eval.privacy.align import context
    from eval.privacy.patterns import Patterns
    from pipelines.media import read_picture
    from pipelines.privacy_faces import shrunk

    upright = Image.fromarray(shrunk(read_picture(shared / "data" / "faces" / "alex" / "1.jpg"), 320))
    upright.save(tmp_path / "upright.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "lying.png", exif=exif)
    detector, crops, boxes = detectors.build_detector("mtcnn"), [], []
    for name in ("upright", "lying"):
        picture = read_picture(tmp_path / f"{name}.png")
        (face,) = detector.detect(picture)
        boxes.append(face.box)
        crops.append(context(picture, face).crop())
    assert np.allclose(*boxes)
    e = Patterns().embed(crops)
    assert e[0] @ e[1] == pytest.approx(1, abs=1e-4)
    assert detector.detect(np.zeros((64, 64, 3), np.uint8)) == []
