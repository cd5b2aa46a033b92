#!/usr/bin/env python3
"""Opens pages that Polytask writes in a real browser, and checks what a reader would see.

    scripts/report/check.py PAGE.html... [--out FOLDER]

Needs Python's standard library and Debian's `chromium` (`apt-get install chromium`), or another Chromium by `--browser`. Each page is
opened at 1280 and at 360 pixels, light and dark, with every network access refused. It fails where
  - the page writes an error or a warning to the console,
  - the document is wider than the window,
  - something is fetched: any request but that for the page itself,
  - a text of a figure is outside of its figure, or two texts of one figure lie on each other,
  - at 1280 pixels, pointing at a line shows no values.
Screenshots lie in the folder of `--out` as NAME-WIDTH-SCHEME.png, the printed page as NAME.pdf.
"""
import argparse
import base64
import json
import os
import pathlib
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request

WIDTHS = (1280, 360)
SCHEMES = ("light", "dark")

LAYOUT = """
(() => {
  const outside = [], over = [];
  for (const svg of document.querySelectorAll("figure svg[role=img]")) {
    const area = svg.getBoundingClientRect();
    const texts = [...svg.querySelectorAll("text")].filter((t) => t.textContent.trim());
    const name = (svg.getAttribute("aria-label") || "").slice(0, 40);
    const boxes = texts.map((t) => [t, t.getBoundingClientRect()]);
    for (const [t, b] of boxes) {
      if (b.left < area.left - 1 || b.right > area.right + 1 || b.top < area.top - 1 || b.bottom > area.bottom + 1)
        outside.push(name + ": " + t.firstChild.textContent);
    }
    const straight = boxes.filter(([t]) => !t.hasAttribute("transform"));
    for (let i = 0; i < straight.length; i++) for (let j = i + 1; j < straight.length; j++) {
      const [a, b] = [straight[i][1], straight[j][1]];
      const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left);
      const high = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
      if (wide > 2 && high > 4) over.push(name + ": " + straight[i][0].firstChild.textContent + " / " + straight[j][0].firstChild.textContent);
    }
  }
  const root = document.documentElement;
  return { width: root.scrollWidth, window: root.clientWidth, outside, over, height: root.scrollHeight };
})()
"""

POINT = """
(() => {
  const svg = document.querySelector("svg.chart g[data-line][data-points]")?.closest("svg");
  if (!svg || !svg.querySelector('g[data-line]:not([data-points=""])')) return "none";
  const area = svg.getBoundingClientRect();
  const at = { clientX: area.left + area.width / 2, clientY: area.top + area.height / 2, bubbles: true };
  svg.dispatchEvent(new PointerEvent("pointermove", at));
  const box = svg.parentNode.querySelector(".values");
  return box && !box.hidden ? box.textContent : "";
})()
"""


class Browser:
    """A headless browser, spoken to over its debugging socket."""

    def __init__(self, program):
        self.folder = tempfile.mkdtemp(prefix="polytask-report-")
        arguments = [
            program, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--remote-debugging-port=0",
            f"--user-data-dir={self.folder}", "about:blank",
        ]
        self.process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        port_file = pathlib.Path(self.folder, "DevToolsActivePort")
        for _ in range(300):
            if port_file.exists() and len(port_file.read_text().splitlines()) >= 2:
                break
            if self.process.poll() is not None:
                sys.exit(f"{program} ended with exit code {self.process.returncode}")
            time.sleep(0.1)
        else:
            sys.exit(f"{program} opened no debugging port within 30 seconds")
        port = int(port_file.read_text().splitlines()[0])
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list") as answer:
            target = next(t for t in json.load(answer) if t["type"] == "page")
        self.socket = socket.create_connection(("127.0.0.1", port))
        path = target["webSocketDebuggerUrl"].split(str(port), 1)[1]
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        self.buffer = b""
        while b"\r\n\r\n" not in self.buffer:
            self.buffer += self.socket.recv(4096)
        self.buffer = self.buffer.split(b"\r\n\r\n", 1)[1]
        self.last, self.events = 0, []

    def _bytes(self, count):
        while len(self.buffer) < count:
            received = self.socket.recv(1 << 20)
            if not received:
                sys.exit("the browser closed its debugging socket")
            self.buffer += received
        taken, self.buffer = self.buffer[:count], self.buffer[count:]
        return taken

    def _message(self):
        text = b""
        while True:
            first, second = self._bytes(2)
            length = second & 127
            if length == 126:
                length = struct.unpack(">H", self._bytes(2))[0]
            elif length == 127:
                length = struct.unpack(">Q", self._bytes(8))[0]
            text += self._bytes(length)
            if first & 128:
                return json.loads(text)

    def call(self, method, **parameters):
        self.last += 1
        data = json.dumps({"id": self.last, "method": method, "params": parameters}).encode()
        mask = os.urandom(4)
        size = struct.pack(">BBH", 129, 254, len(data)) if len(data) < 65536 else struct.pack(">BBQ", 129, 255, len(data))
        self.socket.sendall(size + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(data)))
        while True:
            message = self._message()
            if message.get("id") == self.last:
                if "error" in message:
                    sys.exit(f"{method}: {message['error']}")
                return message["result"]
            self.events.append(message)

    def wait_for(self, method):
        while True:
            for i, event in enumerate(self.events):
                if event.get("method") == method:
                    return self.events.pop(i)
            self.events.append(self._message())

    def evaluate(self, script):
        return self.call("Runtime.evaluate", expression=script, returnByValue=True)["result"].get("value")

    def close(self):
        self.socket.close()
        self.process.terminate()
        self.process.wait(timeout=20)
        shutil.rmtree(self.folder, ignore_errors=True)


def check(browser, page, out):
    """Faults of a page, in words."""
    faults = []
    address = page.resolve().as_uri()
    for width in WIDTHS:
        for scheme in SCHEMES:
            where = f"{page} at {width} pixels, {scheme}"
            browser.call(
                "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600
            )
            browser.call("Emulation.setEmulatedMedia", media="screen", features=[{"name": "prefers-color-scheme", "value": scheme}])
            browser.events.clear()
            browser.call("Page.navigate", url=address)
            browser.wait_for("Page.loadEventFired")
            layout = browser.evaluate(LAYOUT)
            told = browser.evaluate(POINT)
            for event in browser.events:
                method, about = event.get("method"), event.get("params", {})
                if method in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded"):
                    faults.append(f"{where}: console: {json.dumps(about)[:300]}")
                if method == "Network.requestWillBeSent" and about["request"]["url"] != address:
                    faults.append(f"{where}: fetches {about['request']['url'][:200]}")
            if layout["width"] > layout["window"]:
                faults.append(f"{where}: the document is {layout['width']} pixels wide, the window {layout['window']}")
            faults += [f"{where}: outside of its figure: {text}" for text in layout["outside"]]
            faults += [f"{where}: on each other: {text}" for text in layout["over"]]
            if told == "":
                faults.append(f"{where}: pointing at a line shows no values")
            size = {"x": 0, "y": 0, "width": width, "height": min(layout["height"], 16000), "scale": 1}
            shot = browser.call("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=size)
            out.joinpath(f"{page.stem}-{width}-{scheme}.png").write_bytes(base64.b64decode(shot["data"]))
    # Also of readers whose screens are dark.
    browser.call("Emulation.setEmulatedMedia", media="", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    browser.call("Page.navigate", url=address)
    browser.wait_for("Page.loadEventFired")
    printed = browser.call("Page.printToPDF", printBackground=True)
    out.joinpath(f"{page.stem}.pdf").write_bytes(base64.b64decode(printed["data"]))
    return faults


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", nargs="+", type=pathlib.Path)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("report-check"))
    parser.add_argument("--browser", default=None)
    arguments = parser.parse_args()
    found = [arguments.browser] if arguments.browser else [shutil.which(n) for n in ("chromium", "chromium-browser", "google-chrome")]
    program = next((name for name in found if name), None)
    if program is None:
        sys.exit("no browser: apt-get install chromium, or name one by --browser")
    missing = [str(page) for page in arguments.pages if not page.is_file()]
    if missing:
        sys.exit(f"no such page: {', '.join(missing)}")
    arguments.out.mkdir(parents=True, exist_ok=True)
    browser = Browser(program)
    try:
        for domain in ("Page", "Runtime", "Log", "Network"):
            browser.call(f"{domain}.enable")
        browser.call("Network.emulateNetworkConditions", offline=True, latency=0, downloadThroughput=0, uploadThroughput=0)
        faults = [fault for page in arguments.pages for fault in check(browser, page, arguments.out)]
    finally:
        browser.close()
    print("\n".join(faults) or f"{len(arguments.pages)} page(s) at {WIDTHS} pixels, light and dark: nothing wrong")
    print(f"screenshots in {arguments.out}/")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
