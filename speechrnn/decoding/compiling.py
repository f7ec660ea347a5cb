"""Functions compiled by numba on first use, and kept where there is a place for them.

What Python calls in a search (`outer`) is kept as machine code that llvmlite alone loads: numba takes over a second to
import and to set up, and is needed only where nothing is kept yet. Decorating functions imports neither of them.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import logging
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from types import CodeType
from typing import Any

import numpy as np

from speechrnn.files import CACHE_VARIABLE, cache_folder, replacing

_log = logging.getLogger(__name__)
_told: set[str] = set()
_lock = threading.RLock()
_HERE = Path(__file__).parent / "__pycache__"
_DIGEST = hashlib.sha256().digest_size
_OF_C = ("exp", "log", "log1p", "memcpy", "memmove", "memset")
"""What machine code may call."""
_COUNTS = re.compile(
    r"^define linkonce_odr void @NRT_(incref|decref)\(.*?^}$|^declare [^\n]*@NRT_MemInfo_call_dtor\([^\n]*$",
    re.DOTALL | re.MULTILINE,
)
"""What numba adds to count references to arrays; functions that make none call neither."""
_CALLED = re.compile(r"^declare [^@]*@(?!llvm\.)[\w.]+|@NRT_\w+", re.MULTILINE)
_PLAIN: dict[type, str] = {bool: "i", int: "i", np.int32: "i", np.int64: "i", np.bool_: "i"}
"""Numbers that are no arrays, as machine code takes them: `i` int64, `f` float64."""


class Inner:
    """A decorator: a function that is compiled as a part of those that call it; Python runs it as it is written.

    Args:
        function: Must neither raise errors nor make arrays.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        functools.update_wrapper(self, function)
        self.function = function

    def __call__(self, *args: Any) -> Any:
        """What Python makes of it, uncompiled."""
        return self.function(*args)

    @functools.cached_property
    def dispatcher(self) -> Any:
        """What numba calls in its place."""
        return _numba().njit(error_model="numpy", forceinline=True, **_BARE)(self.function)


class Outer(Inner):
    """A decorator: a function that Python calls and that is compiled; see `Inner`.

    Its arguments are contiguous arrays, named tuples of them, and numbers. What it gives is annotated, by a name: None,
    int, bool or float.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        self._loaded: dict[str, Callable[..., Any]] = {}

    def __call__(self, *args: Any) -> Any:
        """Run machine code, which is loaded or made first; what Python makes of it where numba is told to do so."""
        if os.environ.get("NUMBA_DISABLE_JIT", "0") != "0":
            return self.function(*args)
        leaves: list[Any] = []
        layout = ",".join(_flattened(args, leaves))
        run = self._loaded.get(layout)
        if run is None:
            with _lock:
                run = self._loaded[layout] = self._loaded.get(layout) or self._prepared(layout, args)
        return run(*leaves)

    def _prepared(self, layout: str, args: tuple[Any, ...]) -> Callable[..., Any]:
        gives = self.function.__annotations__["return"]
        number: Any = ctypes.c_double if gives == "float" else ctypes.c_int64
        kinds = [ctypes.c_double if leaf == "f" else ctypes.c_int64 for leaf in _parts(layout)]
        # As numba passes arguments: where the answer and an error are written, then everything else.
        name = f"{self.function.__name__}-{self._digest(layout)}"
        address, engine = _loaded(name, lambda: self._compiled(args))
        native = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, *kinds)(address)

        def run(*leaves: Any) -> Any:
            answer, error = number(), ctypes.c_void_p()
            if native(ctypes.addressof(answer), ctypes.addressof(error), *leaves):
                raise RuntimeError(f"{self.function.__name__} failed. Please report it.")
            return None if gives == "None" else bool(answer.value) if gives == "bool" else answer.value

        run.engine = engine  # type: ignore[attr-defined]  # which holds the code
        return run

    def _digest(self, layout: str) -> str:
        """Of all that the machine code depends on."""
        files = sorted({__file__, *(str(sys.modules[module].__file__) for module in _modules(self))})
        found = hashlib.sha256("\n".join([layout, *_surroundings()]).encode())
        for file in files:
            found.update(Path(file).read_bytes())
        return found.hexdigest()[:24]

    def _compiled(self, args: tuple[Any, ...]) -> bytes:
        """Machine code for this processor."""
        numba, llvm = _numba(), _llvm()
        types: list[Any] = []
        scope: dict[str, Any] = {"function": self.dispatcher, "carray": numba.carray}
        names = (f"x{i}" for i in range(1_000_000))
        rebuilt = ", ".join(_rebuilt(arg, names, types, scope) for arg in args)
        every = ", ".join(f"x{i}" for i in range(len(types)))
        result = {"None": "{}", "float": "float({})"}.get(self.function.__annotations__["return"], "int({})")
        # A function of numbers alone, which numba has no other way to be given.
        flat = eval(f"lambda {every}: {result.format(f'function({rebuilt})')}", scope)
        dispatcher = numba.njit(error_model="numpy", **_BARE)(flat)
        dispatcher.compile(tuple(types))
        text = _COUNTS.sub("", dispatcher.inspect_llvm(dispatcher.signatures[0]))
        called = {found.rpartition("@")[2] for found in _CALLED.findall(text)}
        if lacking := called - set(_OF_C):
            raise RuntimeError(
                f"{self.function.__name__} must make no arrays and call C alone. Received: {sorted(lacking)}."
            )
        module = llvm.parse_assembly(text)
        (main,) = [f for f in module.functions if not f.is_declaration and f.linkage == llvm.Linkage.external]
        main.name = "entry"
        return _machine(llvm).emit_object(module)


inner, outer = Inner, Outer
_BARE = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}


def _flattened(args: Any, leaves: list[Any]) -> Iterator[str]:
    """The layout of arguments, and as `leaves` what machine code is called with."""
    for arg in args:
        if isinstance(arg, np.ndarray):
            if not arg.flags.c_contiguous:
                raise ValueError(f"Arrays must be contiguous. Received: one of shape {arg.shape} that is not.")
            leaves += [arg.ctypes.data, *arg.shape]
            yield f"{arg.dtype.str}:{arg.ndim}"
        elif isinstance(arg, tuple):
            yield from _flattened(arg, leaves)
        else:
            leaves.append(arg)
            yield _PLAIN.get(type(arg), "f")


def _parts(layout: str) -> Iterator[str]:
    """Of each number that machine code is called with whether it is `i` or `f`."""
    for leaf in layout.split(","):
        _, _, dimensions = leaf.partition(":")
        yield from "i" * (1 + int(dimensions)) if dimensions else leaf


def _rebuilt(arg: Any, names: Iterator[str], types: list[Any], scope: dict[str, Any]) -> str:
    """An expression that makes an argument of the numbers that machine code is called with; adds their types."""
    import numba

    if isinstance(arg, np.ndarray):
        pointer, *shape = (next(names) for _ in range(1 + arg.ndim))
        types += [numba.types.CPointer(numba.from_dtype(arg.dtype)), *[numba.types.int64] * arg.ndim]
        return f"carray({pointer}, ({', '.join(shape)},))"
    if isinstance(arg, tuple):
        scope[type(arg).__name__] = type(arg)
        return f"{type(arg).__name__}({', '.join(_rebuilt(part, names, types, scope) for part in arg)})"
    types.append(numba.types.int64 if type(arg) in _PLAIN else numba.types.float64)
    return next(names)


def _modules(function: Inner, found: set[str] | None = None) -> set[str]:
    """Names of the modules of a function and of those that it calls."""
    found = set() if found is None else found
    found.add(function.__module__)
    code: CodeType = function.function.__code__
    for name in code.co_names:
        called = function.function.__globals__.get(name)
        if isinstance(called, Inner) and called is not function:
            _modules(called, found)
    return found


@functools.cache
def _surroundings() -> tuple[str, ...]:
    """The processor, and which numba there is: by its file's time, since its version takes long to find."""
    llvm, numba = _llvm(), find_spec("numba")
    installed = str(numba and numba.origin and int(os.stat(numba.origin).st_mtime))
    return llvm.get_process_triple(), llvm.get_host_cpu_name(), _features(llvm), installed


def _loaded(name: str, make: Callable[[], bytes]) -> tuple[int, Any]:
    """The address of a function, and what must live as long as it: from where it is kept, or else made now."""
    folders = [_HERE]
    with suppress(OSError):  # no home
        folders.append(cache_folder())
    for folder in folders:
        with suppress(OSError):
            content = (folder / f"{name}.o").read_bytes()
            if hashlib.sha256(content[_DIGEST:]).digest() == content[:_DIGEST]:
                return _linked(content[_DIGEST:])
    code = make()
    reasons = []
    for folder in folders:
        try:
            with replacing(folder / f"{name}.o", overwrite=True) as file:
                file.write(hashlib.sha256(code).digest() + code)
            break
        except OSError as error:
            reasons.append(f"{folder}: {error.strerror or error}")
    else:
        if "unkept" not in _told:
            _told.add("unkept")
            told = "compiled functions cannot be stored, and are compiled in every process: set %s to a folder. (%s)"
            _log.info(told, CACHE_VARIABLE, "; ".join(reasons))
    return _linked(code)


def _linked(code: bytes) -> tuple[int, Any]:
    llvm = _llvm()
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _machine(llvm))
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    return engine.get_function_address("entry"), engine


def _machine(llvm: Any) -> Any:
    """This processor, as numba describes it to LLVM."""
    target = llvm.Target.from_default_triple()
    return target.create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=_features(llvm), opt=3,
        reloc="static" if target.name.startswith("x86") else "default", codemodel="jitdefault", jit=True,
    )  # fmt: skip


def _features(llvm: Any) -> str:
    try:
        return llvm.get_host_cpu_features().flatten()
    except RuntimeError:  # LLVM cannot tell those of every processor
        return ""


@functools.cache
def _llvm() -> Any:
    from llvmlite import binding

    with suppress(RuntimeError):  # newer versions need it no longer, and say so
        binding.initialize()
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    here = ctypes.CDLL(None)
    for name in _OF_C:
        binding.add_symbol(name, ctypes.cast(getattr(here, name), ctypes.c_void_p).value)
    return binding


@functools.cache
def _numba() -> Any:
    import numba
    from numba.core import event
    from numba.extending import typeof_impl

    class Compiling(event.Listener):
        """Says, once, that a search is being compiled: a first transcript otherwise waits without a word."""

        def on_start(self, event: event.Event) -> None:
            if "compiling" not in _told:
                _told.add("compiling")
                _log.warning("compiling the search for this processor: about half a minute, once for an installation")

        def on_end(self, event: event.Event) -> None:
            """The next message is of the work itself."""

    event.register("numba:compile", Compiling())
    typeof_impl.register(Inner)(lambda function, context: typeof_impl(function.dispatcher, context))
    return numba
