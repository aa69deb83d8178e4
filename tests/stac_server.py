"""A STAC API and a file server on loopback, for tests; it can be told to fail.

Range requests, item search by POST and GET with paging, and faults by path: a list of what the
first answers do (404, 500, "slow", "cut", None for a good one), then all is well.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections import Counter, defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

CONFORMS = [
    "https://api.stacspec.org/v1.0.0/core",
    "https://api.stacspec.org/v1.0.0/item-search",
    "https://api.stacspec.org/v1.0.0/collections",
]


class Server(ThreadingHTTPServer):
    """Serves ``root`` under /data and ``items`` (STAC, without addresses) under /search."""

    daemon_threads = True

    def __init__(self, root: Path, items=(), *, page=3, slow_s=3.0):
        super().__init__(("127.0.0.1", 0), Handler)
        self.root, self.stored, self.page, self.slow_s = Path(root), list(items), page, slow_s
        self.faults: dict[str, list] = defaultdict(list)
        self.asked: Counter = Counter()
        self.requests: list[tuple[str, str, str | None]] = []
        self.sent: Counter = Counter()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request, client_address):
        """A client that hangs up in the middle (GDAL does) is no news."""

    def __enter__(self):
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 20
    server: Server

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self._answer(b"")

    def do_GET(self):
        self._answer(b"")

    def do_POST(self):
        self._answer(self.rfile.read(int(self.headers["Content-Length"])))

    def _answer(self, body):
        parts = urlsplit(self.path)
        path = parts.path
        faults, number = self.server.faults[path], self.server.asked[path]
        self.server.asked[path] += 1
        self.server.requests.append((self.command, path, self.headers.get("Range")))
        fault = faults[number] if number < len(faults) else None
        if isinstance(fault, int):
            self._send(fault, b"{}", "application/json")
            return
        if fault == "slow":
            time.sleep(self.server.slow_s)
        if path == "/":
            self._json(self._landing(), fault)
        elif path == "/collections/landsat-c2l1":
            self._json(self._collection(), fault)
        elif path == "/search":
            query = json.loads(body) if body else self._query(parts.query)
            self._json(self._search(query), fault)
        elif path.startswith("/data/"):
            self._file(self.server.root / path.removeprefix("/data/"), fault)
        else:
            self._send(404, b"{}", "application/json")

    def _query(self, text):
        query = {key: values[0] for key, values in parse_qs(text).items()}
        if "bbox" in query:
            query["bbox"] = [float(number) for number in query["bbox"].split(",")]
        if "collections" in query:
            query["collections"] = query["collections"].split(",")
        return query

    def _landing(self):
        url = self.server.url
        links = [
            {"rel": "self", "href": f"{url}/"},
            {"rel": "root", "href": f"{url}/"},
            {"rel": "search", "href": f"{url}/search", "method": "POST",
             "type": "application/geo+json"},
        ]  # fmt: skip
        return {
            "type": "Catalog", "stac_version": "1.0.0", "id": "loopback", "description": "test",
            "conformsTo": CONFORMS, "links": links,
        }  # fmt: skip

    def _collection(self):
        url = self.server.url
        links = [
            {"rel": "root", "href": f"{url}/"},
            {"rel": "items", "href": f"{url}/collections/landsat-c2l1/items"},
        ]
        extent = {"spatial": {"bbox": [[-180, -90, 180, 90]]},
                  "temporal": {"interval": [["2013-01-01T00:00:00Z", None]]}}  # fmt: skip
        return {
            "type": "Collection", "stac_version": "1.0.0", "id": "landsat-c2l1",
            "description": "test", "license": "proprietary", "extent": extent, "links": links,
        }  # fmt: skip

    def _search(self, query):
        url, start = self.server.url, int(query.get("token", 0))
        found = [item for item in self.server.stored if _matches(item, query)]
        page = found[start : start + min(self.server.page, int(query.get("limit", 10)))]
        features = [served(item, url) for item in page]
        links = []
        if start + len(page) < len(found):
            links = [{
                "rel": "next", "href": f"{url}/search", "method": "POST", "merge": True,
                "type": "application/geo+json", "body": {"token": start + len(page)},
            }]  # fmt: skip
        return {"type": "FeatureCollection", "features": features, "links": links}

    def _json(self, content, fault):
        self._send(200, json.dumps(content).encode(), "application/json", fault)

    def _file(self, path, fault):
        if not path.is_file():
            self._send(404, b"", "text/plain")
            return
        data = path.read_bytes()
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        if wanted is None:
            self._send(200, data, "application/octet-stream", fault)
            return
        first, last = int(wanted[1]), min(int(wanted[2] or len(data) - 1), len(data) - 1)
        if first >= len(data):
            self._send(416, b"", "text/plain")
            return
        span = f"bytes {first}-{last}/{len(data)}"
        self._send(206, data[first : last + 1], "application/octet-stream", fault, span)

    def _send(self, status, data, kind, fault=None, span=None):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Accept-Ranges", "bytes")
        if span:
            self.send_header("Content-Range", span)
        self.end_headers()
        if self.command == "HEAD":
            return
        if fault == "cut":
            data = data[: len(data) // 2]
            self.close_connection = True
        self.server.sent[urlsplit(self.path).path] += len(data)  # before the client goes on
        self.wfile.write(data)


def _matches(item, query):
    if query.get("collections") and item["collection"] not in query["collections"]:
        return False
    if query.get("bbox"):
        west, south, east, north = query["bbox"]
        left, bottom, right, top = item["bbox"]
        if left > east or right < west or bottom > north or top < south:
            return False
    first, _, last = str(query.get("datetime", "../..")).partition("/")
    time = item["properties"]["datetime"]
    return (first in ("", "..") or first <= time) and (last in ("", "..") or time <= last)


def served(item, url):
    """Return the item as the server gives it: with the addresses of its files and itself."""
    item = json.loads(json.dumps(item))
    for asset in item["assets"].values():
        asset["href"] = f"{url}/data/{asset['href']}"
    address = f"{url}/collections/{item['collection']}/items/{item['id']}"
    item["links"] = [
        {"rel": "self", "href": address},
        {"rel": "root", "href": f"{url}/"},
        {"rel": "collection", "href": f"{url}/collections/{item['collection']}"},
    ]
    return item
