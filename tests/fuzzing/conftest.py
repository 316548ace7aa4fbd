"""Where the fuzzer has no wheel, there is none: `pyproject.toml` says where."""

from importlib.util import find_spec

collect_ignore = [] if find_spec("atheris") else ["test_targets.py"]
