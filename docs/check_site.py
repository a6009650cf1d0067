"""Looks at every page of a built site in headless Chromium, with no network.

``python docs/check_site.py docs/_build/html`` asks of each page, at the width
of a desk and of a phone, in light and dark: that its maths are rendered, that
nothing is asked of another host, and that nothing is cut off at the right.
"""

import functools
import html
import http.server
import itertools
import json
import pathlib
import re
import shutil
import subprocess
import sys
import threading
from typing import Any

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
WIDTHS, THEMES = (1280, 400), ("light", "dark")
# Each page in a frame as wide as the screen would be.
LOOK = """<body><pre id="seen"></pre><script>
const {pages, width, theme} = JSON.parse(decodeURIComponent(
  location.search.slice(1)));
(async () => {
  const seen = [];
  for (const page of pages) {
    const frame = document.createElement("iframe");
    frame.style = `border: 0; height: 900px; width: ${width}px`;
    frame.src = page;
    document.body.append(frame);
    await new Promise(resolve => { frame.onload = resolve; });
    const shown = frame.contentDocument, root = shown.documentElement;
    shown.body.dataset.theme = theme;
    const maths = [...shown.querySelectorAll("math")].map(
      each => each.getBoundingClientRect());
    const scrolls = each => each !== null && (
      ["auto", "scroll"].includes(
        frame.contentWindow.getComputedStyle(each).overflowX)
      || scrolls(each.parentElement === root ? null : each.parentElement));
    const cut = [...shown.querySelectorAll("article *")].filter(each =>
      each.getBoundingClientRect().right > root.clientWidth + 1
      && !scrolls(each.parentElement));
    const text = shown.body.cloneNode(true);
    text.querySelectorAll("pre, code, script, annotation").forEach(
      each => each.remove());
    seen.push({
      page,
      cut: cut.map(each => each.textContent.trim().slice(0, 60)),
      raw: maths.filter(box => box.width < 2 || box.height < 4).length,
      text: text.textContent,
      asked: frame.contentWindow.performance.getEntriesByType("resource").map(
        each => each.name),
    });
    frame.remove();
  }
  document.getElementById("seen").textContent = JSON.stringify(seen);
})();
</script></body>"""
# What TeX looks like where nobody has rendered it.
TEX = re.compile(r"\\(?:frac|alpha|theta|Psi|eta|begin|text)\b")


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves the site, and the page that looks at it."""

    def do_GET(self) -> None:
        if not self.path.startswith("/look?"):
            return super().do_GET()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(LOOK.encode())
        return None

    def log_message(self, format: str, *args: Any) -> None:
        pass


def seen(
    browser: str, address: str, pages: list[str], width: int, theme: str
) -> list[dict[str, Any]]:
    asked = json.dumps({"pages": pages, "width": width, "theme": theme})
    query = "".join(f"%{byte:02x}" for byte in asked.encode())
    command = [
        *(browser, "--headless", "--no-sandbox", "--disable-gpu"),
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        f"--window-size={width + 40},1000",
        *("--virtual-time-budget=120000", "--dump-dom"),
        f"{address}/look?{query}",
    ]
    dom = subprocess.run(command, capture_output=True, text=True).stdout
    found = re.search(r'<pre id="seen">(.+?)</pre>', dom, re.DOTALL)
    if found is None:
        raise SystemExit(f"{browser} has shown nothing at {width} pixels")
    return json.loads(html.unescape(found[1]))


def faults(page: dict[str, Any], address: str) -> list[str]:
    """What is wrong with a page, in words."""
    found = []
    if page["cut"]:
        found.append(f"goes on beyond the screen: {page['cut'][0]}")
    if page["raw"]:
        found.append(f"has {page['raw']} formulas of no size")
    if raw := TEX.search(page["text"]):
        found.append(f"shows TeX: {raw[0]}")
    found += [
        f"asks for {url}"
        for url in page["asked"]
        if not url.startswith((address, "data:"))
    ]
    return found


def main(folder: str) -> None:
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        print("The pages were not looked at: there is no chromium.")
        return
    root = pathlib.Path(folder)
    pages = sorted(str(p.relative_to(root)) for p in root.rglob("*.html"))
    serve = functools.partial(Handler, directory=folder)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), serve)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    wrong = [
        f"{page['page']}, {width} pixels, {theme}: {fault}"
        for width, theme in itertools.product(WIDTHS, THEMES)
        for page in seen(browser, address, pages, width, theme)
        for fault in faults(page, address)
    ]
    if wrong:
        raise SystemExit("\n".join(wrong))
    print(f"{len(pages)} pages are whole at {WIDTHS} pixels, in {THEMES}.")


if __name__ == "__main__":
    main(sys.argv[1])
