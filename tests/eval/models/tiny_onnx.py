"""ONNX detectors of four boxes, written byte by byte: no package, no file in the repository.

The input (1, 3, 64, 64) is averaged over its four quadrants; the mean of channel 0, 1, 2 is the score of class 0, 1, 2
of a box that is the quadrant. So colours, scaling, borders and layouts all show in what comes out.
Field numbers: onnx/onnx.proto.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

SIDE = 64
CENTRED = np.array([[16, 16, 32, 32], [48, 16, 32, 32], [16, 48, 32, 32], [48, 48, 32, 32]], np.float32)
CORNERS = np.concatenate([CENTRED[:, :2] - 16, CENTRED[:, :2] + 16], 1)
LAYOUTS = ("yolov5", "yolov8", "rows6", "rows7", "fastestdet")


def write(path: Path, layout: str, names: dict[int, str] | list[str] | None = None, dynamic: bool = False) -> Path:
    """A detector of that layout; `names` go where Ultralytics puts them; `dynamic`: sides of the input left open."""
    one, four = np.float32(1), (1, 4, 1)
    nodes = [_node("AveragePool", ["x"], "mean", kernel_shape=[32, 32], strides=[32, 32])]
    constants: dict[str, np.ndarray] = {}
    if layout == "fastestdet":
        # tanh(0): the centre is the cell's corner; the logit of .5 is 0
        constants = {"objectness": np.full((1, 1, 2, 2), one), "box": np.zeros((1, 4, 2, 2), np.float32)}
        nodes.append(_node("Concat", ["objectness", "box", "mean"], "y", axis=1))
    elif layout == "yolov8":
        constants = {"shape": np.array([1, 3, 4]), "box": CENTRED.T[None].copy()}
        nodes += [_node("Reshape", ["mean", "shape"], "classes"), _node("Concat", ["box", "classes"], "y", axis=1)]
    elif layout == "yolov5":
        constants = {"shape": np.array([1, 3, 4]), "box": CENTRED[None], "objectness": np.full(four, one)}
        nodes += [_node("Reshape", ["mean", "shape"], "turned"),
                  _node("Transpose", ["turned"], "classes", perm=[0, 2, 1]),
                  _node("Concat", ["box", "objectness", "classes"], "y", axis=2)]  # fmt: skip
    else:
        # class 0 alone, by the mean of channel 0
        rows = {"rows6": ["box", "score", "class"], "rows7": ["picture", "box", "class", "score"]}[layout]
        lead = (1,) if layout == "rows6" else ()
        constants = {"first": np.array([0]), "shape": np.array([*lead, 4, 1]), "box": CORNERS.reshape(*lead, 4, 4),
                     "class": np.zeros((*lead, 4, 1), np.float32)}  # fmt: skip
        if layout == "rows7":
            constants["picture"] = np.zeros((4, 1), np.float32)
        nodes += [_node("Gather", ["mean", "first"], "red", axis=1), _node("Reshape", ["red", "shape"], "score"),
                  _node("Concat", rows, "y", axis=len(lead) + 1)]  # fmt: skip
    rank = {"fastestdet": 4, "rows7": 2}.get(layout, 3)
    side = ["height", "width"] if dynamic else [SIDE, SIDE]
    graph = b"".join(_field(1, node) for node in nodes) + _field(2, b"quadrants")
    graph += b"".join(_field(5, _tensor(name, array)) for name, array in constants.items())
    graph += _field(11, _value("x", [1, 3, *side])) + _field(12, _value("y", list("abcd"[:rank])))
    model = _field(1, 8) + _field(7, graph) + _field(8, _field(1, b"") + _field(2, 17))
    if names is not None:
        model += _field(14, _field(1, b"names") + _field(2, str(names).encode()))
    path.write_bytes(model)
    return path


def write_external(path: Path, place: str) -> Path:
    """A network y = x + w whose one weight lies in the file `place`, as the format allows."""
    entry = [_field(13, _field(1, key.encode()) + _field(2, value.encode()))
             for key, value in (("location", place), ("offset", "0"), ("length", "4"))]  # fmt: skip
    weight = _field(1, 1) + _field(2, 1) + _field(8, b"w") + b"".join(entry) + _field(14, 1)
    graph = _field(1, _node("Add", ["x", "w"], "y")) + _field(2, b"added") + _field(5, weight)
    graph += _field(11, _value("x", [1, 3, SIDE, SIDE])) + _field(12, _value("y", [1, 3, SIDE, SIDE]))
    path.write_bytes(_field(1, 8) + _field(7, graph) + _field(8, _field(1, b"") + _field(2, 17)))
    return path


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def _field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _node(kind: str, inputs: list[str], output: str, **attributes: int | list[int]) -> bytes:
    out = b"".join(_field(1, name.encode()) for name in inputs) + _field(2, output.encode()) + _field(4, kind.encode())
    for name, value in attributes.items():
        if isinstance(value, int):
            body = _field(3, value) + _field(20, 2)
        else:
            body = b"".join(_field(8, one) for one in value) + _field(20, 7)
        out += _field(5, _field(1, name.encode()) + body)
    return out


def _tensor(name: str, array: np.ndarray) -> bytes:
    kind = {np.dtype(np.float32): 1, np.dtype(np.int64): 7}[array.dtype]
    dims = b"".join(_field(1, int(side)) for side in array.shape)
    return dims + _field(2, kind) + _field(8, name.encode()) + _field(9, array.tobytes())


def _value(name: str, shape: list[int | str]) -> bytes:
    dims = b"".join(_field(1, _field(1, side) if isinstance(side, int) else _field(2, side.encode())) for side in shape)
    tensor = _field(1, 1) + _field(2, dims)
    return _field(1, name.encode()) + _field(2, _field(1, tensor))
