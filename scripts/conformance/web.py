"""Section 10: HTTP."""

import http.client
import random
import re
import time
import urllib.parse

from asking import alive
from basics import MAX_INT, MIB, PATIENCE, Failed, Skipped, demand, short
from checks import BOTH, check
from client import file_path, http_request, read_http


def check_file_headers(answer, length):
    demand(answer.get("Content-Length") == str(length), f"Content-Length must be {length}: {answer.headers}")
    demand(answer.get("Accept-Ranges") == "bytes", f"Accept-Ranges is missing: {answer.headers}")
    demand(re.fullmatch('"[0-9a-f]{16}"', answer.get("ETag") or ""), f"ETag is no tag in quotes: {answer.headers}")
    demand(answer.get("X-Content-Type-Options") == "nosniff", f"nosniff is missing: {answer.headers}")
    demand(answer.get("Content-Security-Policy") == "sandbox", f"sandbox is missing: {answer.headers}")
    kind = (answer.get("Content-Type") or "").lower()
    demand(re.match(r"[a-z0-9.+-]+/[a-z0-9.+-]+", kind), f"Content-Type is missing: {answer.headers}")
    shown = kind.startswith(("audio/", "video/", "image/")) and not kind.startswith("image/svg")
    place = (answer.get("Content-Disposition") or "").lower()
    if shown:
        demand(not place.startswith("attachment"), f"{kind} as attachment")
    else:
        demand(place.startswith("attachment"), f"{kind} without Content-Disposition: attachment")


@check("HTTP / HEAD of a file and its headers")
def http_head(run):
    file = run.need_file()
    link = run.raw(run.peer)
    for _ in range(2):
        link.send(http_request(file_path(file["name"]), method="HEAD"))
        answer = read_http(link, "HEAD")
        demand(answer.status == 200, f"status {answer.status}")
        check_file_headers(answer, file["size"])
    link.silent(0.1)  # no body


@check("HTTP / HEAD and GET give the same headers, the ETag is the tag")
def http_same_headers(run):
    file = run.need_file()
    tag = run.link(run.peer).fetch_ok(file["name"], length=1).tag
    head = run.http(run.peer, file_path(file["name"]), method="HEAD")
    get = run.http(run.peer, file_path(file["name"]), body=False)
    demand(get.status == 200, f"status {get.status}")
    check_file_headers(get, file["size"])
    demand(get.get("ETag") == f'"{tag}"', f"ETag {get.get('ETag')}, tag {tag}")
    volatile = ("date", "connection", "keep-alive")
    for name in set(get.headers) | set(head.headers):
        demand(name in volatile or get.get(name) == head.get(name), f"{name}: GET {get.get(name)!r}, "
               f"HEAD {head.get(name)!r}")


@check("HTTP / the same bytes as by FETCH, through http.client")
def http_same_bytes(run):
    file = run.need_file()
    span = min(file["size"], 300_000)
    start = random.randrange(file["size"] - span + 1)
    base = run.link(run.peer).fetch_ok(file["name"], **{"from": start, "length": span})
    client = http.client.HTTPConnection(str(run.peer.ip), run.peer.port, timeout=PATIENCE)
    try:
        for _ in range(2):
            client.request("GET", file_path(file["name"]), headers={"Range": f"bytes={start}-{start + span - 1}"})
            answer = client.getresponse()
            data = answer.read()
            demand(answer.status == 206, f"status {answer.status}")
            demand(data == bytes(base.data), "other bytes than by FETCH")
    except (OSError, http.client.HTTPException) as error:
        raise Failed(f"http.client: {error!r}") from None
    finally:
        client.close()


@check("HTTP / a whole small file")
def http_whole(run):
    run.need_file()
    small = [file for file in run.world.files if 0 < file["size"] <= MIB]
    if not small:
        raise Skipped("the peer shares no file of 1 MiB or less")
    base = run.link(run.peer).fetch_ok(small[0]["name"])
    answer = run.http(run.peer, file_path(small[0]["name"]))
    demand(answer.status == 200, f"status {answer.status}")
    demand(answer.body == bytes(base.data), "other bytes than by FETCH")


def ranged(run, file, value, headers=()):
    return run.http(run.peer, file_path(file["name"]), {"Range": value, **dict(headers)})


def expect_206(answer, base, start, data, size):
    demand(answer.status == 206, f"status {answer.status}, expected 206")
    check_file_headers(answer, len(data))
    wanted = f"bytes {start}-{start + len(data) - 1}/{size}"
    demand(answer.get("Content-Range") == wanted, f"Content-Range {answer.get('Content-Range')}, expected {wanted}")
    demand(answer.body == bytes(data), "other bytes than by FETCH")
    demand(answer.get("ETag") == f'"{base.tag}"', "the ETag is not the tag")


@check("HTTP / Range a-b")
def http_range(run):
    file = run.need_file()
    base = run.link(run.peer).fetch_ok(file["name"], length=min(file["size"], 1000))
    count = len(base.data)
    for start, end in {(0, 0), (0, count - 1), (count // 2, count - 1), (count // 3, count // 2)}:
        expect_206(ranged(run, file, f"bytes={start}-{end}"), base, start, base.data[start:end + 1], file["size"])


@check("HTTP / Range a-, -n, and an end beyond the end")
def http_range_open(run):
    file = run.need_file()
    size = file["size"]
    start = max(0, size - 1000)
    base = run.link(run.peer).fetch_ok(file["name"], **{"from": start})
    expect_206(ranged(run, file, f"bytes={start}-"), base, start, base.data, size)
    expect_206(ranged(run, file, f"bytes=-{size - start}"), base, start, base.data, size)
    expect_206(ranged(run, file, "bytes=-1"), base, size - 1, base.data[-1:], size)
    expect_206(ranged(run, file, f"bytes={size - 1}-{size + 1000}"), base, size - 1, base.data[-1:], size)
    expect_206(ranged(run, file, f"bytes={size - 1}-{MAX_INT}"), base, size - 1, base.data[-1:], size)


@check("HTTP / 416")
def http_416(run):
    file = run.need_file()
    size = file["size"]
    for value in (f"bytes={size}-", f"bytes={size}-{size + 5}", f"bytes={size + 10**9}-", f"bytes={MAX_INT}-"):
        answer = ranged(run, file, value)
        demand(answer.status == 416, f"{value}: status {answer.status}")
        demand(answer.get("Content-Range") == f"bytes */{size}", f"Content-Range {answer.get('Content-Range')}")


@check("HTTP / several ranges or other units: the whole file")
def http_range_ignored(run):
    file = run.need_file()
    for value in ("bytes=0-0,2-3", "bytes=0-0, -1", "lines=1-2", "bits=0-7"):
        answer = run.http(run.peer, file_path(file["name"]), {"Range": value}, body=False)
        demand(answer.status == 200, f"{value}: status {answer.status}")
        check_file_headers(answer, file["size"])
        demand(answer.get("Content-Range") is None, f"{value}: 200 with Content-Range")


@check("HTTP / broken ranges are no 206 and no crash")
def http_range_broken(run):
    file = run.need_file()
    for value in ("bytes=5-1", "bytes=-", "bytes=", "bytes", "bytes=a-b", "bytes=0x0-0x1", "bytes=--1", "=0-1",
                  "bytes=1" + "0" * 40 + "-", "bytes=-0", "bytes=18446744073709551616-", "bytes=+0-+1", "b" * 3000):
        answer = run.http(run.peer, file_path(file["name"]), {"Range": value}, body=False)
        demand(answer.status in (200, 400, 416), f"{value[:60]!r}: status {answer.status}")
    alive(run, run.peer)


@check("HTTP / If-Range")
def http_if_range(run):
    file = run.need_file()
    base = run.link(run.peer).fetch_ok(file["name"], length=1)
    same = ranged(run, file, "bytes=0-0", {"If-Range": f'"{base.tag}"'})
    expect_206(same, base, 0, base.data, file["size"])
    other = "%016x" % (int(base.tag, 16) ^ 1)
    headers = {"Range": "bytes=0-0", "If-Range": f'"{other}"'}
    answer = run.http(run.peer, file_path(file["name"]), headers, body=False)
    demand(answer.status == 200, f"status {answer.status} with another ETag")
    check_file_headers(answer, file["size"])


@check("HTTP / If-None-Match")
def http_none_match(run):
    file = run.need_file()
    tag = run.link(run.peer).fetch_ok(file["name"], length=1).tag
    link = run.raw(run.peer)
    for method in ("GET", "HEAD"):
        link.send(http_request(file_path(file["name"]), {"If-None-Match": f'"{tag}"'}, method))
        answer = read_http(link, method)
        demand(answer.status == 304, f"{method}: status {answer.status}")
    link.silent(0.1)  # a 304 has no body
    other = "%016x" % (int(tag, 16) ^ 1)
    answer = run.http(run.peer, file_path(file["name"]), {"If-None-Match": f'"{other}"'}, "HEAD")
    demand(answer.status == 200, f"status {answer.status} with another ETag")


@check("HTTP / every byte of NAME percent-encoded")
def http_encoded(run):
    file = run.need_file()
    data = file["name"].encode("utf-8")
    for spelling in ("".join(f"%{byte:02X}" for byte in data), "".join(f"%{byte:02x}" for byte in data)):
        answer = run.http(run.peer, "/files/" + spelling, method="HEAD")
        demand(answer.status == 200, f"status {answer.status}")
        check_file_headers(answer, file["size"])


@check("HTTP / 404", BOTH)
def http_404(run, side):
    link = run.raw(side)
    for path in ("/files/" + run.name(), "/nothing", "/files", "/files/", "/FILES/x", "/index.html", "/favicon.ico"):
        link.send(http_request(path))
        answer = read_http(link)
        demand(answer.status == 404, f"{path}: status {answer.status}")


@check("HTTP / files are no business of the server")
def http_server_files(run):
    for file in run.world.files[:3]:
        answer = run.http(run.server, file_path(file["name"]))
        demand(answer.status == 404, f"status {answer.status}")


@check("HTTP / the list at /", BOTH)
def http_root(run, side):
    answer = run.http(side, "/")
    demand(answer.status == 200, f"status {answer.status}")
    demand((answer.get("Content-Type") or "").startswith("text/plain"), f"type {answer.get('Content-Type')}")
    lines = answer.body.decode("utf-8").splitlines()
    if side.role == "server":
        demand(len(lines) == 1 and lines[0], f"{len(lines)} lines")
        return
    demand(all(line.startswith("/files/") for line in lines), f"a line that is no path: {short(lines)}")
    if len(run.world.files) < 256:  # otherwise this script may have truncated the list
        paths = {urllib.parse.unquote(line) for line in lines} | set(lines)
        for file in run.world.files:
            demand("/files/" + file["name"] in paths, f"{file['name']!r} is not in the list")
    for line in lines[:3]:
        demand(run.http(side, line, method="HEAD").status == 200, f"{line} is listed and not there")


@check("HTTP / other methods are 405 with Allow", BOTH)
def http_405(run, side):
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH"):
        answer = run.http(side, "/", method=method)
        demand(answer.status == 405, f"{method}: status {answer.status}")
        allow = {word.strip() for word in (answer.get("Allow") or "").split(",")}
        demand({"GET", "HEAD"} <= allow and method not in allow, f"{method}: Allow is {answer.get('Allow')!r}")


def no_second_answer(link):
    """The bytes of a body must not be parsed as a request."""
    said = link.swallow(1.5)
    demand(link.over, "the link stays open")
    demand(b"HTTP/1." not in said, f"the body was read as a request: {short(said)}")


@check("HTTP / a request body is 400 and ends the link", BOTH)
def http_body(run, side):
    hidden = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
    chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(hidden), hidden)
    for headers, body in (({"Content-Length": str(len(hidden))}, hidden), ({"Transfer-Encoding": "chunked"}, chunked)):
        link = run.raw(side)
        link.send(http_request("/", headers) + body)
        answer = read_http(link)
        demand(answer.status == 400, f"GET with {headers}: status {answer.status}")
        no_second_answer(link)
    link = run.raw(side)
    link.send(http_request("/", {"Content-Length": str(len(hidden))}, "POST") + hidden)
    answer = read_http(link)
    demand(answer.status in (400, 405), f"POST: status {answer.status}")
    no_second_answer(link)


@check("HTTP / two lengths, or length and chunks, are no way to hide a request", BOTH)
def http_smuggling(run, side):
    hidden = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
    for lines in ("Content-Length: 0\r\nContent-Length: %d" % len(hidden), "Content-Length: +5", "Content-Length: x",
                  "Content-Length: 0\r\nTransfer-Encoding: chunked", "Transfer-Encoding: identity, chunked"):
        link = run.raw(side)
        link.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n" + lines.encode() + b"\r\n\r\n" + hidden)
        answer = read_http(link)
        demand(answer.status == 400, f"{lines!r}: status {answer.status}")
        no_second_answer(link)


@check("HTTP / keep-alive", BOTH)
def http_keep_alive(run, side):
    link = run.raw(side)
    for _ in range(4):
        link.send(http_request("/"))
        demand(read_http(link).status == 200, "not 200")
        link.send(http_request("/nothing", method="HEAD"))
        demand(read_http(link, "HEAD").status == 404, "not 404")
    link.silent(0.1)


@check("HTTP / pipelining", BOTH)
def http_pipelining(run, side):
    link = run.raw(side)
    paths = ["/", "/nothing", "/"] * 5
    link.send(b"".join(http_request(path) for path in paths))
    for path in paths:
        status = read_http(link).status
        demand(status == (200 if path == "/" else 404), f"{path}: status {status}, answers are out of order")


@check("HTTP / pipelined ranges come in order")
def http_pipelined_ranges(run):
    file = run.need_file()
    base = run.link(run.peer).fetch_ok(file["name"], length=min(file["size"], 5000))
    count = len(base.data)
    link = run.raw(run.peer)
    starts = [random.randrange(count) for _ in range(12)]
    link.send(b"".join(http_request(file_path(file["name"]), {"Range": f"bytes={start}-{count - 1}"})
                       for start in starts))
    for start in starts:
        expect_206(read_http(link), base, start, base.data[start:], file["size"])


@check("HTTP / 1.0 and Connection: close end the link", BOTH)
def http_close(run, side):
    for version, headers in (("1.0", {}), ("1.1", {"Connection": "close"})):
        link = run.raw(side)
        link.send(http_request("/", headers, version=version))
        answer = read_http(link)
        demand(answer.status == 200, f"status {answer.status}")
        demand((answer.get("Connection") or "").lower() == "close", f"Connection: {answer.get('Connection')}")
        link.ends()


@check("HTTP / in single bytes", BOTH)
def http_bytes(run, side):
    link = run.raw(side)
    for byte in b"HEAD / HTTP/1.1\r\nHost: localhost\r\nX-Any: a:b\r\n\r\n":
        link.send(bytes([byte]))
        time.sleep(0.001)
    demand(read_http(link, "HEAD").status == 200, "not 200")


@check("HTTP / without Host, or with two or a foreign one: no answer but a no", BOTH)
def http_host(run, side):
    for lines, status in (("", 400), ("Host: localhost\r\nHost: localhost\r\n", 400), ("Host: a b\r\n", 400),
                          ("Host: evil.example\r\n", 403), ("Host: 127.0.0.1.evil.example\r\n", 403)):
        for path in ("/", "/api/live", "/metrics", "/favicon.svg", "/nothing"):
            link = run.raw(side)
            link.send(f"GET {path} HTTP/1.1\r\n{lines}\r\n".encode())
            answer = read_http(link)
            demand(answer.status == status, f"{path} with {lines!r}: status {answer.status}")


@check("HTTP / methods that nobody knows are 501", BOTH)
def http_501(run, side):
    for method in ("PROPFIND", "get", "GETX"):
        answer = run.http(side, "/", method=method)
        demand(answer.status == 501, f"{method}: status {answer.status}")


@check("HTTP / If-Match")
def http_if_match(run):
    file = run.need_file()
    tag = run.link(run.peer).fetch_ok(file["name"], length=1).tag
    for value, status in ((f'"{tag}"', 200), ("*", 200), (f'"x", "{tag}"', 200), ('"x"', 412), (f'W/"{tag}"', 412)):
        answer = run.http(run.peer, file_path(file["name"]), {"If-Match": value}, "HEAD")
        demand(answer.status == status, f"{value}: status {answer.status}")


@check("HTTP / names of headers in any case")
def http_header_case(run):
    file = run.need_file()
    answer = run.http(run.peer, file_path(file["name"]), {"rAnGe": "bytes=0-0"})
    demand(answer.status == 206, f"status {answer.status}")


@check("HTTP / half-close is still answered", BOTH)
def http_half_close(run, side):
    link = run.raw(side)
    link.send(http_request("/") + http_request("/nothing"))
    link.stop_sending()
    demand([read_http(link).status for _ in range(2)] == [200, 404], "other answers")
    link.ends()


TRAVERSAL = [
    "/files/../../../../../../etc/passwd", "/files/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
    "/files/%2e%2e%2f%2e%2e%2f%2e%2e%2f%2e%2e%2f%2e%2e%2f%2e%2e%2fetc%2fpasswd", "/files/%2Fetc%2Fpasswd",
    "/files//etc/passwd", "//etc/passwd", "/etc/passwd", "/../../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd",
    "/files/..%5c..%5cwindows%5cwin.ini", "/files/C:%5cwindows%5cwin.ini", "/files/..%252f..%252fetc%252fpasswd",
    "/files/%c0%ae%c0%ae%c0%af%c0%ae%c0%ae%c0%afetc%c0%afpasswd", "/files/%00", "/files/%00/etc/passwd", "/files/%",
    "/files/%2", "/files/%zz", "/files/%ff%fe", "/files/.", "/files/..", "/files/%2e", "/files/%2e%2e",
    "/files/%2e%2e%2f", "/files/%e2%80%ae", "/files/%0d%0aSet-Cookie:%20a=b", "/files/a.part", "/files/a.part.record",
    "/files/a//b", "/files/a/../b", "/files/a%2f..%2f..%2fetc/passwd", "/files/a/%2e%2e/%2e%2e/etc/passwd",
    "/files/a.part/b", "/files/etc/passwd", "/files/" + "a/" * 16 + "a",
    "/files/%EF%BC%8E%EF%BC%8E",
    "file:///etc/passwd", "etc/passwd", "../etc/passwd", "*", "/files/" + "%2e%2e%2f" * 1000 + "etc/passwd",
    "/files/" + "x" * 256, "/files/" + "x" * 8000, "/proc/self/environ", "/files/%2fproc%2fself%2fenviron",
]


@check("HTTP / paths that lead elsewhere are 404 or 400", BOTH)
def http_traversal(run, side):
    for path in TRAVERSAL:
        answer = run.http(side, path)
        # 414 is the code for a too long path.
        demand(answer.status in (400, 404) or (len(path) > 1000 and answer.status == 414),
               f"{path[:80]}: status {answer.status}")
        demand(b"root:" not in answer.body and b"PATH=" not in answer.body, f"{path[:80]} gives a file")
        demand("set-cookie" not in answer.headers, f"{path[:80]} writes headers")
    alive(run, side)


@check("HTTP / a real name with something before or behind it is 404 or 400")
def http_almost(run):
    name = run.need_file()["name"]
    path = file_path(name)
    for other in (path + "%00", path + "/", path + "%2f", "/files/%2e/" + path[7:], "/files/%2e%2f" + path[7:],
                  "/files/x/../" + path[7:], "/files%2f" + path[7:], path[6:], "/x" + path, path + "%20", path + "."):
        answer = run.http(run.peer, other, method="HEAD")
        demand(answer.status in (400, 404), f"{other}: status {answer.status}")


@check("HTTP / broken requests are refused or end the link", BOTH)
def http_broken(run, side):
    for data in (b"GET\r\n\r\n", b"GET /\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
                 b"GET / HTTP/1.1\r\n: x\r\n\r\n", b"GET  /  HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nX: \x00\r\n\r\n",
                 b"GET /\xff\x00 HTTP/1.1\r\n\r\n", b"GET / XTTP/1.1\r\n\r\n", b"GETX / HTTP/1.1\r\n\r\n",
                 b"POST", b"GET / HTTP/1.1\r\nContent-Length: 5"):
        link = run.raw(side)
        link.send(data)
        link.stop_sending()
        said = link.swallow()
        demand(link.over, f"{data!r}: the link stays open")
        demand(not said or said.startswith((b"HTTP/1.1 ", b"HTTP/1.0 ")), f"{data!r} got {short(said)}")


@check("HTTP / an endless head ends the link", BOTH)
def http_endless(run, side):
    for data in (b"GET /" + b"x" * 300_000, b"GET / HTTP/1.1\r\nX: " + b"x" * 300_000,
                 b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 60_000):
        link = run.raw(side)
        link.send(data)
        said = link.swallow()
        demand(link.over, "the link stays open after 300,000 bytes of head")
        demand(not said or re.match(rb"HTTP/1\.[01] 4", said), f"got {short(said)}")


@check("HTTP / a link keeps its language", BOTH)
def http_language(run, side):
    link = run.raw(side)
    link.send(http_request("/"))
    demand(read_http(link).status == 200, "not 200")
    link.send(b'{"cardume":1}\n{"id":1,"method":"PING"}\n')
    link.stop_sending()
    demand(b'"role"' not in link.swallow(), "an opening was answered on an HTTP link")
    link = run.link(side)
    link.send(http_request("/"))
    link.refused_and_closed("bad_request")
