"""Functions compiled by numba on first use and cached on disk.

Functions that Python calls (`outer`) are cached as machine code that llvmlite alone can load: numba takes more than a
second to import and to set up, and is imported only to compile. Decorating functions imports neither of them.
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
_logged: set[str] = set()
_lock = threading.RLock()
_HERE = Path(__file__).parent / "__pycache__"
_DIGEST = hashlib.sha256().digest_size
_OF_C = ("exp", "log", "log1p", "memcpy", "memmove", "memset")
"""Functions that machine code may call."""
_COUNTS = re.compile(
    r"^define linkonce_odr void @NRT_(incref|decref)\(.*?^}$|^declare [^\n]*@NRT_MemInfo_call_dtor\([^\n]*$",
    re.DOTALL | re.MULTILINE,
)
"""Numba's reference counting of arrays; functions that allocate none never call it."""
_CALLED = re.compile(r"^declare [^@]*@(?!llvm\.)[\w.]+|@NRT_\w+", re.MULTILINE)
_SCALARS: dict[type, str] = {bool: "i", int: "i", np.int32: "i", np.int64: "i", np.bool_: "i"}
"""How scalars are passed to machine code: `i` as int64, `f` (all other types) as float64."""


class Inner:
    """Decorator of functions that are compiled into their callers; called from Python they are not compiled.

    Args:
        function: A function that neither raises errors nor allocates arrays.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        functools.update_wrapper(self, function)
        self.function = function

    def __call__(self, *args: Any) -> Any:
        """Run the Python function."""
        return self.function(*args)

    @functools.cached_property
    def dispatcher(self) -> Any:
        """The function for numba."""
        return _numba().njit(error_model="numpy", forceinline=True, **_BARE)(self.function)


class Outer(Inner):
    """Decorator of compiled functions that Python calls; see `Inner`.

    Arguments are contiguous arrays, named tuples of them, and numbers. The return type must be annotated as None, int,
    bool or float.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        self._loaded: dict[str, Callable[..., Any]] = {}

    def __call__(self, *args: Any) -> Any:
        """Run the machine code, which is loaded or compiled first; with NUMBA_DISABLE_JIT, the Python function."""
        if os.environ.get("NUMBA_DISABLE_JIT", "0") != "0":
            return self.function(*args)
        leaves: list[Any] = []
        layout = ",".join(_flatten(args, leaves))
        run = self._loaded.get(layout)
        if run is None:
            with _lock:
                run = self._loaded[layout] = self._loaded.get(layout) or self._load(layout, args)
        return run(*leaves)

    def _load(self, layout: str, args: tuple[Any, ...]) -> Callable[..., Any]:
        returns = self.function.__annotations__["return"]
        number: Any = ctypes.c_double if returns == "float" else ctypes.c_int64
        kinds = [ctypes.c_double if leaf == "f" else ctypes.c_int64 for leaf in _parts(layout)]
        # Numba's calling convention: addresses for the result and an error, then the arguments.
        name = f"{self.function.__name__}-{self._digest(layout)}"
        address, engine = _load_or_compile(name, lambda: self._compile(args))
        native = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, *kinds)(address)

        def run(*leaves: Any) -> Any:
            result, error = number(), ctypes.c_void_p()
            if native(ctypes.addressof(result), ctypes.addressof(error), *leaves):
                raise RuntimeError(f"{self.function.__name__} failed. Please report it.")
            return None if returns == "None" else bool(result.value) if returns == "bool" else result.value

        run.engine = engine  # type: ignore[attr-defined]  # which owns the code
        return run

    def _digest(self, layout: str) -> str:
        """A hash of everything that the machine code depends on."""
        files = sorted({__file__, *(str(sys.modules[module].__file__) for module in _modules(self))})
        digest = hashlib.sha256("\n".join([layout, *_environment()]).encode())
        for file in files:
            digest.update(Path(file).read_bytes())
        return digest.hexdigest()[:24]

    def _compile(self, args: tuple[Any, ...]) -> bytes:
        """Machine code for this processor."""
        numba, llvm = _numba(), _llvm()
        types: list[Any] = []
        scope: dict[str, Any] = {"function": self.dispatcher, "carray": numba.carray}
        names = (f"x{i}" for i in range(1_000_000))
        arguments = ", ".join(_expression(arg, names, types, scope) for arg in args)
        parameters = ", ".join(f"x{i}" for i in range(len(types)))
        result = {"None": "{}", "float": "float({})"}.get(self.function.__annotations__["return"], "int({})")
        # A function of numbers alone; `eval`, since numba needs a Python function.
        flat = eval(f"lambda {parameters}: {result.format(f'function({arguments})')}", scope)
        dispatcher = numba.njit(error_model="numpy", **_BARE)(flat)
        dispatcher.compile(tuple(types))
        text = _COUNTS.sub("", dispatcher.inspect_llvm(dispatcher.signatures[0]))
        called = {name.rpartition("@")[2] for name in _CALLED.findall(text)}
        if unsupported := called - set(_OF_C):
            raise RuntimeError(
                f"{self.function.__name__} must make no arrays and call C alone. Received: {sorted(unsupported)}."
            )
        module = llvm.parse_assembly(text)
        (main,) = [f for f in module.functions if not f.is_declaration and f.linkage == llvm.Linkage.external]
        main.name = "entry"
        return _machine(llvm).emit_object(module)


inner, outer = Inner, Outer
_BARE = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}


def _flatten(args: Any, leaves: list[Any]) -> Iterator[str]:
    """The layout of arguments; appends to `leaves` the numbers that machine code is called with."""
    for arg in args:
        if isinstance(arg, np.ndarray):
            if not arg.flags.c_contiguous:
                raise ValueError(f"Arrays must be contiguous. Received: one of shape {arg.shape} that is not.")
            leaves += [arg.ctypes.data, *arg.shape]
            yield f"{arg.dtype.str}:{arg.ndim}"
        elif isinstance(arg, tuple):
            yield from _flatten(arg, leaves)
        else:
            leaves.append(arg)
            yield _SCALARS.get(type(arg), "f")


def _parts(layout: str) -> Iterator[str]:
    """`i` or `f` for each number that machine code is called with."""
    for leaf in layout.split(","):
        _, _, dimensions = leaf.partition(":")
        yield from "i" * (1 + int(dimensions)) if dimensions else leaf


def _expression(arg: Any, names: Iterator[str], types: list[Any], scope: dict[str, Any]) -> str:
    """An expression for an argument in terms of the numbers that machine code is called with; adds their types."""
    import numba

    if isinstance(arg, np.ndarray):
        pointer, *shape = (next(names) for _ in range(1 + arg.ndim))
        types += [numba.types.CPointer(numba.from_dtype(arg.dtype)), *[numba.types.int64] * arg.ndim]
        return f"carray({pointer}, ({', '.join(shape)},))"
    if isinstance(arg, tuple):
        scope[type(arg).__name__] = type(arg)
        return f"{type(arg).__name__}({', '.join(_expression(part, names, types, scope) for part in arg)})"
    types.append(numba.types.int64 if type(arg) in _SCALARS else numba.types.float64)
    return next(names)


def _modules(function: Inner, names: set[str] | None = None) -> set[str]:
    """Names of the modules of a function and of the functions that it calls."""
    names = set() if names is None else names
    names.add(function.__module__)
    code: CodeType = function.function.__code__
    for name in code.co_names:
        called = function.function.__globals__.get(name)
        if isinstance(called, Inner) and called is not function:
            _modules(called, names)
    return names


@functools.cache
def _environment() -> tuple[str, ...]:
    """The processor, and the installed numba, by its file's modification time, since its version is slow to get."""
    llvm, numba = _llvm(), find_spec("numba")
    installed = str(numba and numba.origin and int(os.stat(numba.origin).st_mtime))
    return llvm.get_process_triple(), llvm.get_host_cpu_name(), _features(llvm), installed


def _load_or_compile(name: str, make: Callable[[], bytes]) -> tuple[int, Any]:
    """The address of a function, and the engine that owns it: from the cache, or else compiled now."""
    folders = [_HERE]
    with suppress(OSError):  # no home
        folders.append(cache_folder())
    for folder in folders:
        with suppress(OSError):
            content = (folder / f"{name}.o").read_bytes()
            if hashlib.sha256(content[_DIGEST:]).digest() == content[:_DIGEST]:
                return _link(content[_DIGEST:])
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
        if "not cached" not in _logged:
            _logged.add("not cached")
            message = "compiled functions cannot be stored, and are compiled in every process: set %s to a folder. (%s)"
            _log.info(message, CACHE_VARIABLE, "; ".join(reasons))
    return _link(code)


def _link(code: bytes) -> tuple[int, Any]:
    llvm = _llvm()
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _machine(llvm))
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    return engine.get_function_address("entry"), engine


def _machine(llvm: Any) -> Any:
    """LLVM's target machine for this processor, with numba's options."""
    target = llvm.Target.from_default_triple()
    return target.create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=_features(llvm), opt=3,
        reloc="static" if target.name.startswith("x86") else "default", codemodel="jitdefault", jit=True,
    )  # fmt: skip


def _features(llvm: Any) -> str:
    try:
        return llvm.get_host_cpu_features().flatten()
    except RuntimeError:  # LLVM does not know those of every processor
        return ""


@functools.cache
def _llvm() -> Any:
    from llvmlite import binding

    with suppress(RuntimeError):  # newer versions do not need it, and raise an error
        binding.initialize()
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    process = ctypes.CDLL(None)
    for name in _OF_C:
        binding.add_symbol(name, ctypes.cast(getattr(process, name), ctypes.c_void_p).value)
    return binding


@functools.cache
def _numba() -> Any:
    import numba
    from numba.core import event
    from numba.extending import typeof_impl

    class Compiling(event.Listener):
        """Logs once that a search is being compiled, which delays the first transcript."""

        def on_start(self, event: event.Event) -> None:
            if "compiling" not in _logged:
                _logged.add("compiling")
                _log.warning("compiling the search for this processor: about half a minute, once for an installation")

        def on_end(self, event: event.Event) -> None:
            """Log nothing."""

    event.register("numba:compile", Compiling())
    typeof_impl.register(Inner)(lambda function, context: typeof_impl(function.dispatcher, context))
    return numba
