"""The extra `sequence`: what is said without it, and that nothing else asks for it."""

import importlib
import subprocess
import sys

import pytest

from pinnersage.errors import ConfigError


def test_without_jax_the_extra_is_named(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("pinnersage.evaluate.sequence")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "jax", None)
    with pytest.raises(ConfigError, match=r"jax is not installed.*pinnersage\[sequence\]"):
        importlib.import_module("pinnersage.evaluate.sequence")


def test_nothing_else_imports_jax():
    code = (
        "import pkgutil, importlib, sys, pinnersage\n"
        "def load(package):\n"
        "    for one in pkgutil.iter_modules(package.__path__, package.__name__ + '.'):\n"
        "        if one.name.rpartition('.')[2] not in ('sequence', 'trained'):\n"
        "            module = importlib.import_module(one.name)\n"
        "            if one.ispkg:\n"
        "                load(module)\n"
        "load(pinnersage)\n"
        "assert 'jax' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
