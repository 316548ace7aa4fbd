"""The bench's own parts: figures are read, judged and written as they are."""

import json
import subprocess
import sys
import threading
import time
import xml.dom.minidom
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from bench import bodies, chart, client, page, script, table, targets
from bench.measure import Figure, Results
from bench.workloads import WORKLOADS

ROOT = Path(__file__).parent.parent
NAMES = ["nginx", "latimer", "ccr"]
STALL = 0.2  # seconds


def results(latimer: float, ccr: float | None = 100.0, pace: float = 1.0) -> Results:
    found = Results()
    for turn in range(3):
        found.add(Figure(turn, "paced32", "nginx", 10.0 + turn))
        found.add(Figure(turn, "paced32", "latimer", latimer * (10.0 + turn), pace))
        found.add(Figure(turn, "paced32", "ccr", ccr, failure="ccr: bench.client: not done in 90 s"))
    return found


def test_ratios_are_taken_within_a_round() -> None:
    assert results(2.0).ratios("paced32", "latimer") == [2.0, 2.0, 2.0]


def test_a_cell_says_what_a_proxy_could_not_do() -> None:
    assert table.cell(results(2.0), "paced32", "latimer") == "22.0 (20.0 to 24.0)"
    assert table.cell(results(2.0, pace=0.5), "paced32", "latimer") == "22.0 (20.0 to 24.0), at 50% of the pace"
    assert table.cell(results(2.0, ccr=None), "paced32", "ccr") == "not done in 90 s"


@pytest.mark.parametrize(
    ("times_nginx", "met", "ahead"), [(1.8, "yes", "yes"), (2.0, "**no**", "yes"), (20.0, "**no**", "**no**")]
)
def test_targets(times_nginx: float, met: str, ahead: str) -> None:
    lines = targets.lines(results(times_nginx), {"paced32": WORKLOADS["paced32"]}, NAMES)
    verdicts = {line[0]: line[3] for line in lines}
    assert verdicts["Latimer: 32 streams at 100 tokens/s"] == met
    assert verdicts["Latimer ahead of claude-code-router"].startswith(ahead)


def test_the_chart_is_a_document_with_a_bar_for_each_figure() -> None:
    drawn = chart.svg(results(2.0), {"paced32": WORKLOADS["paced32"]}, NAMES, "today & <here>; versions")
    rectangles = xml.dom.minidom.parseString(drawn).getElementsByTagName("rect")
    assert len(rectangles) == 1 + 2 + 2  # the ground, the legend, the bars
    assert ">2.00<" in drawn


def test_a_section_is_replaced_and_nothing_else() -> None:
    text = "a\n<!-- bench:x -->\nold\n<!-- /bench:x -->\nb"
    assert page.replace(text, "x", "new") == "a\n<!-- bench:x -->\nnew\n<!-- /bench:x -->\nb"
    with pytest.raises(ValueError, match="bench:y"):
        page.replace(text, "y", "new")


@pytest.mark.parametrize("shape", [(60, 40), (1, 40), (120, 40), (60, 4), (60, 400)])
def test_a_body_has_the_size_tools_and_turns_it_is_asked_for(shape: tuple[int, int]) -> None:
    tools, turns = shape
    body = bodies.messages(True, 150_000, tools, turns)
    assert abs(len(json.dumps(body, separators=(",", ":"))) - 150_000) < 1500
    assert (len(body["tools"]), len(body["messages"])) == (tools, turns + 1)


def answer(said: str) -> bytes:
    body = json.dumps({"content": [{"type": "text", "text": said}]}).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


def test_a_lost_token_is_noticed() -> None:
    load = client.Load(1, "messages", 1, 1, 10, stream=False)
    client.verify(answer(script.text(10)), load)
    with pytest.raises(client.BadAnswerError):
        client.verify(answer(script.text(9)), load)


class Stalling(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    answered = 0

    def do_GET(self) -> None:
        Stalling.answered += 1
        time.sleep(STALL if Stalling.answered == 5 else 0)
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, format: str, *arguments: object) -> None:
        pass


def test_the_pinger_sees_a_stall() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Stalling)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    command = [sys.executable, "-m", "bench.pinger", str(server.server_port), "/"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as pinger:
        assert pinger.stdout
        assert pinger.stdout.readline() == b"begun\n"
        while Stalling.answered < 10:
            time.sleep(0.01)
        said = json.loads(pinger.communicate()[0])
    server.shutdown()
    server.server_close()
    assert said["worst"] >= STALL * 0.9
    assert said["count"] >= 9
