"""LAPACK while other threads go on: scipy's own routines, by the addresses that it gives to Cython.

`scipy.linalg.lapack` holds Python's lock while LAPACK works, so that threads would wait for each other.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import numpy as np


def lapack(name: str, *arguments: str | int | np.ndarray[Any, Any]) -> int:
    """Calls a routine with all its arguments but the last, `info`, which is given back.

    Arrays (float64, int32; matrices column by column) are overwritten where LAPACK says so.
    """
    info = ctypes.c_int()
    _routine(name)(*map(_pointer, arguments), ctypes.byref(info))
    return info.value


def _pointer(argument: str | int | np.ndarray[Any, Any]) -> Any:
    if isinstance(argument, str):
        return argument.encode()
    return ctypes.byref(ctypes.c_int(argument)) if isinstance(argument, int) else argument.ctypes.data_as(_ADDRESS)


_ADDRESS = ctypes.c_void_p


@cache
def _routine(name: str) -> Any:
    from scipy.linalg.cython_lapack import __pyx_capi__

    api = ctypes.pythonapi
    api.PyCapsule_GetName.argtypes, api.PyCapsule_GetName.restype = [ctypes.py_object], ctypes.c_char_p
    api.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
    api.PyCapsule_GetPointer.restype = _ADDRESS
    capsule = __pyx_capi__[name]
    return ctypes.CFUNCTYPE(None)(api.PyCapsule_GetPointer(capsule, api.PyCapsule_GetName(capsule)))
