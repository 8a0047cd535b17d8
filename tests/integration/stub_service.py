"""Stands in for our processes where the harness is tested: logs, readiness, a child, signals."""

from __future__ import annotations

import http.server
import json
import os
import signal
import subprocess
import sys
import threading
from types import FrameType


class _Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/health/ready" else 404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing: stdout is for JSON."""


def say(message: str, **more: object) -> None:
    sys.stdout.write(json.dumps({"message": message, **more}) + "\n")
    sys.stdout.flush()


def main() -> None:
    if os.environ.get("FAIL"):
        sys.exit("told to fail")
    stopped = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        stopped.set()

    signal.signal(signal.SIGTERM, stop)
    # A child that would outlive its parent, as a worker process outlives a killed master.
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    say("booting", child=child.pid, home=os.environ["FARMLOKAL_HOME"], cwd=os.getcwd())
    sys.stdout.write("not JSON\n")
    if "PORT" in os.environ:
        address = (os.environ["HOST"], int(os.environ["PORT"]))
        server = http.server.ThreadingHTTPServer(address, _Health)
        threading.Thread(target=server.serve_forever, daemon=True).start()
    say("Stub ready")
    stopped.wait()
    child.kill()
    child.wait()
    say("stopped")
    sys.exit(3)


if __name__ == "__main__":
    main()
