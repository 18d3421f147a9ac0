"""Files that would run a program, write a file or exhaust the machine if a loader trusted them. For test_no_code.py.

Every pickle here would make the folder `mark` when it is loaded by Python's own unpickler, which a test proves.
"""

from __future__ import annotations

import collections
import functools
import io
import json
import os
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
import torch


class Runs:
    """Unpickled by calling `function`."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def _text(value: str) -> bytes:
    return b"\x8c" + bytes([len(value.encode())]) + value.encode()  # SHORT_BINUNICODE


def _global(module: str, name: str) -> bytes:
    return _text(module) + _text(name) + b"\x93"  # STACK_GLOBAL


def _source(mark: str) -> str:
    return f"__import__('os').mkdir({mark!r})"


# --- pickles as such -------------------------------------------------------------------------------------------------
def system(mark: str) -> bytes:
    return pickle.dumps(Runs(os.system, f"mkdir {mark}"), 2)


def nested(mark: str) -> bytes:
    inner = {"state_dict": {"layer": [1, (2, {"weight": Runs(os.mkdir, mark)})]}, "embed": {}, "model": {}}
    return pickle.dumps(inner, 2)


def evaluated(mark: str) -> bytes:
    return pickle.dumps(Runs(eval, _source(mark)))


def executed(mark: str) -> bytes:
    return pickle.dumps(Runs(exec, _source(mark)))


def got_by_name(mark: str) -> bytes:
    """getattr(__import__("os"), "mkdir")(mark), of builtins alone."""
    os_ = _global("builtins", "__import__") + _text("os") + b"\x85R"
    found = _global("builtins", "getattr") + os_ + _text("mkdir") + b"\x86R"
    return b"\x80\x04" + found + _text(mark) + b"\x85R."


def stack_global(mark: str) -> bytes:
    return b"\x80\x04" + _global("posix", "mkdir") + _text(mark) + b"\x85R."


def dotted(mark: str) -> bytes:
    """A name with dots, which protocol 4 follows: shutil.os.mkdir."""
    return b"\x80\x04" + _global("shutil", "os.mkdir") + _text(mark) + b"\x85R."


def dotted_under_torch(mark: str) -> bytes:
    """The same below a module that restricted loaders know."""
    return b"\x80\x04" + _global("torch", "serialization.os.mkdir") + _text(mark) + b"\x85R."


def inst(mark: str) -> bytes:
    return f"(S'{mark}'\nios\nmkdir\n.".encode()


def obj(mark: str) -> bytes:
    return b"(" + b"cos\nmkdir\n" + f"S'{mark}'\n".encode() + b"o."


def newobj_ex(mark: str) -> bytes:
    """functools.partial, made by its __new__ with keywords, then called."""
    words = b"]" + b"".join(_text(word) + b"a" for word in ("mkdir", mark))
    made = _global("functools", "partial") + _global("subprocess", "check_call") + b"\x85}" + _text("args") + words
    return b"\x80\x04" + made + b"s\x92)R."


def built(mark: str) -> bytes:
    """An empty functools.partial whose __setstate__ fills in what it calls."""
    held = _global("functools", "partial") + _global("builtins", "print") + b"\x85R"
    state = b"(" + _global("os", "mkdir") + _text(mark) + b"\x85" + b"}" + b"N" + b"t"
    return b"\x80\x04" + held + state + b"b" + b")R."


def from_memo(mark: str) -> bytes:
    """The function goes to the memo, a harmless value takes its place, and it comes back."""
    return b"cos\nmkdir\np7\n0I1\n0g7\n(" + f"S'{mark}'\n".encode() + b"tR."


def over_memo(mark: str) -> bytes:
    """OrderedDict, which loaders know, is put where the function is then put over it."""
    return b"ccollections\nOrderedDict\np1\n0cos\nmkdir\np1\n0g1\n(" + f"S'{mark}'\n".encode() + b"tR."


def persistent(mark: str) -> bytes:
    """A persistent id that is itself a call."""
    return b"\x80\x02cos\nmkdir\n(" + f"S'{mark}'\n".encode() + b"tRQ."


def extension(mark: str) -> bytes:
    """The registry of copyreg, filled on the way: then one byte names the function."""
    add = b"ccopyreg\nadd_extension\n(" + b"S'os'\nS'mkdir'\nI213\n" + b"tR0"
    return b"\x80\x02" + add + b"\x82\xd5(" + f"S'{mark}'\n".encode() + b"tR."


def array_of_objects(mark: str) -> bytes:
    return pickle.dumps({"blobs": np.array([Runs(os.mkdir, mark), 1], object)}, 2)


def partial_call(mark: str) -> bytes:
    return pickle.dumps(Runs(functools.partial(os.mkdir, mark)))


# --- torch's formats -------------------------------------------------------------------------------------------------
def _saved(value: Any, **options: Any) -> bytes:
    out = io.BytesIO()
    torch.save(value, out, **options)
    return out.getvalue()


def torch_zip(mark: str) -> bytes:
    return _saved({"model": {"weight": torch.zeros(3), "extra": Runs(os.mkdir, mark)}, "embed": {}})


def torch_zip_partial(mark: str) -> bytes:
    return _saved({"state_dict": collections.OrderedDict(a=torch.zeros(2), b=Runs(functools.partial(os.mkdir, mark)))})


def torch_legacy(mark: str) -> bytes:
    return _saved({"state_dict": Runs(os.mkdir, mark)}, _use_new_zipfile_serialization=False)


def torch_rebuilt(mark: str) -> bytes:
    """A tensor's own rebuilding, with a function of ours where its storage is expected."""
    return _saved({"a": Runs(torch._utils._rebuild_tensor_v2, Runs(os.mkdir, mark), 0, (1,), (1,), False, {})})


def zip_with_pickle(mark: str) -> bytes:
    """The layout of torch's archives, written by hand."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.writestr("archive/data.pkl", stack_global(mark))
        file.writestr("archive/version", "3\n")
        file.writestr("archive/byteorder", "little")
    return out.getvalue()


def tar(mark: str) -> bytes:
    """The oldest format: a tar of pickles."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as file:
        for name in ("storages", "tensors", "pickle", "sys_info"):
            data = system(mark)
            about = tarfile.TarInfo(name)
            about.size = len(data)
            file.addfile(about, io.BytesIO(data))
    return out.getvalue()


def whole_module(mark: str) -> bytes:
    """A network as an object, whose class would be imported."""
    network = torch.nn.Linear(2, 2)
    network.extra = Runs(os.mkdir, mark)  # type: ignore[assignment]
    return _saved(network)


PLAIN_PICKLES: dict[str, Callable[[str], bytes]] = {
    "system": system, "nested": nested, "eval": evaluated, "exec": executed, "getattr": got_by_name,
    "stack_global": stack_global, "dotted": dotted, "dotted_under_torch": dotted_under_torch, "inst": inst, "obj": obj,
    "newobj_ex": newobj_ex, "build": built, "memo": from_memo, "memo_over": over_memo, "persistent": persistent,
    "extension": extension, "object_array": array_of_objects, "partial": partial_call,
}  # fmt: skip
TORCH_PICKLES: dict[str, Callable[[str], bytes]] = {
    "torch_zip": torch_zip, "torch_zip_partial": torch_zip_partial, "torch_legacy": torch_legacy,
    "torch_rebuilt": torch_rebuilt, "zip_with_pickle": zip_with_pickle, "tar": tar, "whole_module": whole_module,
}  # fmt: skip
PICKLES = {**PLAIN_PICKLES, **TORCH_PICKLES}


# --- safetensors that lie --------------------------------------------------------------------------------------------
def _tensors(header: bytes, data: bytes = bytes(16), length: int | None = None) -> bytes:
    return struct.pack("<Q", len(header) if length is None else length) + header + data


def _entry(start: int, end: int, shape: list[int], kind: str = "F32") -> dict[str, Any]:
    return {"dtype": kind, "shape": shape, "data_offsets": [start, end]}


def _header(**entries: Any) -> bytes:
    about = {"arch": "sa-icm-s", "settings": "{}", "sha256": "0" * 64, "numbers": "{}"}
    return json.dumps({"__metadata__": about, **entries}).encode()


DEEP = b"[" * 200_000
SAFETENSORS: dict[str, bytes] = {
    "overlapping": _tensors(_header(a=_entry(0, 16, [4]), b=_entry(8, 16, [2]))),
    "gap": _tensors(_header(a=_entry(8, 16, [2]))),
    "beyond the end": _tensors(_header(a=_entry(0, 1 << 60, [1 << 58]))),
    "shape of 2^60": _tensors(_header(a=_entry(0, 16, [1 << 60]))),
    "shape that overflows": _tensors(_header(a=_entry(0, 16, [1 << 33, 1 << 33]))),
    "backwards": _tensors(_header(a=_entry(16, 0, [4]))),
    "negative": _tensors(_header(a=_entry(-8, 8, [4]))),
    "header of 2^60 bytes": _tensors(_header(), length=1 << 60),
    "header longer than the file": _tensors(_header(), length=4000),
    "unknown type": _tensors(_header(a=_entry(0, 16, [4], "PICKLE"))),
    "not JSON": _tensors(b"cos\nsystem\n(S'true'\ntR."),
    "deep JSON": _tensors(DEEP),
    "list": _tensors(b"[1, 2]"),
    "deep settings": _tensors(json.dumps({"__metadata__": {
        "arch": "tcm", "settings": DEEP.decode(), "numbers": DEEP.decode(), "sha256": ""}}).encode(), b""),
    "empty": b"",
}  # fmt: skip

# --- text ------------------------------------------------------------------------------------------------------------
YAMLS: dict[str, Callable[[str], str]] = {
    "apply": lambda mark: f"a: !!python/object/apply:os.mkdir [{mark!r}]\n",
    "new": lambda mark: f"!!python/object/new:os.mkdir [{mark!r}]\n",
    "system": lambda mark: f"a: !!python/object/apply:os.system ['mkdir {mark}']\n",
    "name": lambda mark: "a: !!python/name:os.system\n",
    "module": lambda mark: "a: !!python/module:antigravity\n",
    "object": lambda mark: "a: !!python/object:subprocess.Popen {args: true}\n",
    "state": lambda mark: "a: !!python/object/new:str {state: [__import__('os')]}\n",
    "deep": lambda mark: "a: " + "[" * 3_000 + "\n",
}  # fmt: skip


def npz(mark: str) -> bytes:
    """Arrays of objects, which numpy stores as pickles."""
    out = io.BytesIO()
    objects = np.array([Runs(os.mkdir, mark)], object)
    np.savez(out, about=objects, rows=objects, picture_ids=objects)
    return out.getvalue()
