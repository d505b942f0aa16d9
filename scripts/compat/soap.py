#!/usr/bin/env python3
"""Checks the date service of an index server from outside: soap.py HOST:PORT

It asks in raw HTTP, and through zeep where that is installed (pip install zeep), as the clients of the service do.
Prints one line for each check that fails, then "N checks, M failed"; the exit code is 1 when any failed.
"""

import http.client
import re
import socket
import sys
import time
import xml.etree.ElementTree as tree

SERVICE = "http://tests.python-zeep.org/"
ENVELOPE = "http://schemas.xmlsoap.org/soap/envelope/"
WSDL = "http://schemas.xmlsoap.org/wsdl/"
WSDL_SOAP = "http://schemas.xmlsoap.org/wsdl/soap/"
QUESTION = f"<e:Envelope xmlns:e='{ENVELOPE}'><e:Body><datetime xmlns='{SERVICE}'/></e:Body></e:Envelope>"
NAMES = ("datetime", "get_date", "get_datetime", "obtener_fecha_hora")
HEADERS = {"Content-Type": "text/xml; charset=utf-8", "SOAPAction": '"datetime"'}
BOMB = '<!DOCTYPE b [<!ENTITY a "aaaaaaaaaa">' + "".join(
    f'<!ENTITY {chr(98 + n)} "{f"&{chr(97 + n)};" * 10}">' for n in range(9)) + "]>" + QUESTION.replace("<datetime", "&j;<datetime")

if len(sys.argv) != 2 or ":" not in sys.argv[1]:
    sys.exit(__doc__)
HOST, PORT = sys.argv[1].rsplit(":", 1)
PORT = int(PORT)
CHECKS = []


def check(function):
    CHECKS.append(function)
    return function


def demand(truth, otherwise):
    if not truth:
        raise AssertionError(otherwise)


def ask(method, target, body=None, headers=None, link=None):
    """Sends one request; returns status, headers and body."""
    own = link or http.client.HTTPConnection(HOST, PORT, timeout=10)
    own.request(method, target, body=body, headers=headers or {})
    answer = own.getresponse()
    text = answer.read()
    if not link:
        own.close()
    return answer.status, answer.headers, text


def is_date(text):
    found = re.fullmatch(r"(\d\d/\d\d/\d{4} \d\d:\d\d:\d\d)", text or "")
    demand(found, f"{text!r} is no dd/mm/yyyy hh:mm:ss")
    return time.strptime(text, "%d/%m/%Y %H:%M:%S")


def date_in(text, name="datetime"):
    body = tree.fromstring(text).find(f"{{{ENVELOPE}}}Body")
    demand(body is not None and len(body) == 1 and body[0].tag == f"{{{SERVICE}}}{name}Response", f"no answer: {text!r}")
    demand([child.tag for child in body[0]] == [f"{{{SERVICE}}}{name}Result"], f"no result: {text!r}")
    return is_date(body[0][0].text)


def is_fault(answer, statuses=(400, 500)):
    status, headers, text = answer
    demand(status in statuses, f"status {status}")
    demand(headers["Content-Type"].startswith("text/xml"), f"a fault as {headers['Content-Type']}")
    fault = tree.fromstring(text).find(f"{{{ENVELOPE}}}Body/{{{ENVELOPE}}}Fault")
    demand(fault is not None and fault.find("faultcode") is not None and fault.find("faultstring") is not None, f"no fault: {text!r}")


def raw(data, pieces=None):
    """The response to these bytes, until the other side closes or stays silent for two seconds."""
    with socket.create_connection((HOST, PORT), timeout=10) as link:
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces or [data]:
            link.sendall(piece)
            if pieces:
                time.sleep(0.01)
        link.settimeout(2)
        said, over = b"", False
        try:
            while part := link.recv(65536):
                said += part
            over = True
        except TimeoutError:
            pass
        return said, over


def head(fields, body=""):
    return f"POST / HTTP/1.1\r\nHost: {HOST}\r\nSOAPAction: \"datetime\"\r\nContent-Type: text/xml\r\n{fields}\r\n{body}".encode()


def question(body=QUESTION, fields=""):
    return head(f"Content-Length: {len(body.encode())}\r\n{fields}", body)


@check
def the_question_is_answered_with_the_date_of_now():
    status, headers, text = ask("POST", "/", QUESTION, HEADERS)
    demand(status == 200 and headers["Content-Type"].startswith("text/xml"), f"status {status}, {headers['Content-Type']}")
    away = abs(time.mktime(date_in(text)) - time.time())
    demand(away < 24 * 3600, f"{away} seconds away")


@check
def each_name_of_the_operation_is_answered_under_its_name():
    for name in NAMES:
        for action in (f'"{name}"', f'"{SERVICE}{name}"', '""'):
            status, _, text = ask("POST", "/", QUESTION.replace("datetime", name), {**HEADERS, "SOAPAction": action})
            demand(status == 200, f"{name}, {action}: status {status}")
            date_in(text, name)
    is_fault(ask("POST", "/", QUESTION.replace("datetime", "get_date"), {**HEADERS, "SOAPAction": '"get_datetime"'}), (500,))


@check
def the_date_is_there_as_plain_text():
    status, headers, text = ask("GET", "/datetime")
    demand(status == 200 and headers["Content-Type"].startswith("text/plain"), f"status {status}, {headers['Content-Type']}")
    is_date(text.decode())
    demand(ask("POST", "/datetime")[0] == 405, "POST to it")
    demand(ask("GET", "/datetime", headers={"Host": "evil.example"})[0] == 403, "a foreign host")


@check
def the_description_can_be_read_under_each_of_its_names():
    for target in ("/?wsdl", "/?WSDL", "/?wsdl=1"):
        status, headers, text = ask("GET", target)
        demand(status == 200 and "xml" in headers["Content-Type"], f"{target}: status {status}, {headers['Content-Type']}")
        root = tree.fromstring(text)
        demand(root.tag == f"{{{WSDL}}}definitions" and root.get("targetNamespace") == SERVICE, f"{target}: {root.tag}")
        places = [place.get("location") for place in root.iter(f"{{{WSDL_SOAP}}}address")]
        demand(places == [f"http://{HOST}:{PORT}/"], f"{target}: {places}")
        actions = [place.get("soapAction") for place in root.iter(f"{{{WSDL_SOAP}}}operation")]
        demand(sorted(actions) == sorted(NAMES), f"{target}: {actions}")


@check
def the_description_names_the_host_that_was_asked_and_nothing_else():
    status, _, text = ask("GET", "/?wsdl", headers={"Host": "192.0.2.7:8000"})
    demand(status == 200 and b"http://192.0.2.7:8000/" in text, f"status {status}")
    status, _, text = ask("GET", "/?wsdl", headers={"Host": "date.example.org:8000"})
    demand(status == 403 and b"date.example.org" not in text, f"a foreign host: status {status}")
    for host in ('"/><evil/><x y="', "a<b", "a b", "a/b"):
        status, _, text = ask("GET", "/?wsdl", headers={"Host": host})
        demand(status == 400 and host.encode() not in text, f"{host!r}: status {status}")


@check
def one_link_takes_one_question_after_the_other():
    link = http.client.HTTPConnection(HOST, PORT, timeout=10)
    for _ in range(5):
        demand(ask("GET", "/?wsdl", link=link)[0] == 200, "no description")
        date_in(ask("POST", "/", QUESTION, HEADERS, link)[2])
        is_fault(ask("POST", "/", "<x/>", HEADERS, link))
    link.close()


@check
def questions_may_come_in_pieces_and_all_at_once():
    said, _ = raw(None, [bytes([byte]) for byte in question(fields="Connection: close\r\n")])
    date_in(said.split(b"\r\n\r\n", 1)[1])
    said, over = raw(question() * 10 + question(fields="Connection: close\r\n"))
    demand(said.count(b"HTTP/1.1 200 ") == 11 and said.count(b"datetimeResult>") == 22 and over, f"{said.count(b'HTTP/1.1 200 ')} answers, over: {over}")


@check
def who_asks_for_leave_gets_it():
    with socket.create_connection((HOST, PORT), timeout=10) as link:
        link.sendall(head(f"Content-Length: {len(QUESTION)}\r\nExpect: 100-continue\r\n"))
        said = link.recv(65536)
        demand(said == b"HTTP/1.1 100 Continue\r\n\r\n", f"{said!r}")
        link.sendall(QUESTION.encode())
        demand(link.recv(65536).startswith(b"HTTP/1.1 200 "), "no answer after the leave")


@check
def an_unknown_operation_is_a_fault():
    is_fault(ask("POST", "/", QUESTION.replace("datetime", "shutdown"), {**HEADERS, "SOAPAction": '"shutdown"'}), (500,))
    is_fault(ask("POST", "/", QUESTION.replace("<datetime", "<shutdown"), HEADERS), (500,))
    is_fault(ask("POST", "/", QUESTION.replace(SERVICE, "urn:other"), HEADERS), (500,))
    is_fault(ask("POST", "/", QUESTION, {**HEADERS, "SOAPAction": '"shutdown"'}), (500,))


@check
def what_is_wrong_is_a_fault():
    for body in ("", "x", "{}", "<html/>", "<a><b></a></b>", QUESTION[:-5], QUESTION + "x", QUESTION.replace("soap/envelope", "soap12"),
                 QUESTION.replace("<datetime", "&x;<datetime"), "<a>" * 20000, "<!DOCTYPE a>" + QUESTION, BOMB,
                 '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>' + QUESTION.replace("<datetime", "&x;<datetime"),
                 "<?xml version='1.0' encoding='utf-16'?>" + QUESTION, "\0"):
        is_fault(ask("POST", "/", body.encode(), HEADERS))
    is_fault(ask("POST", "/", b"\xff\xfe<", HEADERS))


@check
def a_body_has_a_length_that_is_not_too_large():
    for fields, statuses in (("", (411,)), ("Transfer-Encoding: chunked\r\n", (411, 501)), ("Content-Length: 65537\r\n", (413,)),
                             ("Content-Length: 99999999999999999999999\r\n", (413,)), ("Content-Length: -1\r\n", (400,)),
                             ("Content-Length: 1\r\nContent-Length: 2\r\n", (400,)), ("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", (400,))):
        said, over = raw(head(fields))
        demand(said.startswith(b"HTTP/1.1 ") and int(said[9:12]) in statuses and over, f"{fields!r}: {said[:20]!r}, over: {over}")
    date_in(ask("POST", "/", QUESTION + " " * (65536 - len(QUESTION)), HEADERS)[2])


@check
def zeep_gets_the_date():
    try:
        import zeep
    except ImportError:
        print("zeep is not installed: its check is left out")
        return
    address = f"http://{HOST}:{PORT}/?wsdl"
    for name in NAMES * 2:
        is_date(getattr(zeep.Client(address).service, name)())
    try:
        zeep.Client(address).create_message(zeep.Client(address).service, "shutdown")
    except ValueError:
        pass
    else:
        raise AssertionError("there is an operation that is not there")


def main():
    failed = 0
    for function in CHECKS:
        try:
            function()
        except Exception as error:  # an exception is a failed check
            failed += 1
            print(f"{function.__name__}: {type(error).__name__}: {error}")
    print(f"{len(CHECKS)} checks, {failed} failed")
    sys.exit(1 if failed else 0)


main()
