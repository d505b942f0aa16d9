"""Common tools: outcomes of a check, forms of fields, and rules for every response."""

import ipaddress
import json
import re

MAX_INT = 2**53 - 1
MAX_BODY = 1 << 20
HEAD_LIMIT = 64 * 1024
SERVER_HEAD_LIMIT = 1 << 20
MIB = 1 << 20

PATIENCE = 3.0  # limit of one response, in seconds
QUICK_BUDGET = 15.0  # no quick check starts after this
LAST_MOMENT = 18.5  # and none waits longer, so that a run ends within 20 s
HASHING = 30.0  # limit for hashing a file; these checks run last with their own time
PREFIX = b'{"cardume":1'

RETRY = {
    "bad_request": False, "bad_name": False, "unsupported": False, "version": False, "too_large": False,
    "not_joined": False, "address": False, "in_use": True, "not_found": False, "refused": False, "busy": True,
    "changed": False, "range": False, "cancelled": False, "io": True, "internal": True,
    "taken": False, "no_user": False, "no_remote_user": False, "connected": False, "not_connected": False,
    "published": False, "not_published": False, "bad_proof": False, "account_required": False,
}


class Failed(Exception):
    """The side under test broke a rule; the text is printed as the reason."""


class Ended(Failed):
    """The connection ended too early."""


class Skipped(Exception):
    """The check cannot run here; the text has the reason."""


def demand(condition, why):
    if not condition:
        raise Failed(why)


def short(value, limit=160):
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= limit else text[:limit] + "…"


def whole(value):
    """An integer as section 5 spells it. Python's True is an int, and 1.0 a float: neither passes."""
    return type(value) is int and 0 <= value <= MAX_INT


def compact(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8")


def parse_address(text):
    """(IP object, port) of `IP:PORT` or `[IPv6]:PORT`, None for another form."""
    if not isinstance(text, str):
        return None
    found = re.fullmatch(r"(?:\[([^\[\]]+)\]|([^:\[\]]+)):([0-9]{1,5})", text)
    if not found or not 1 <= int(found[3]) <= 65535:
        return None
    try:
        ip = ipaddress.ip_address(found[1] or found[2])
    except ValueError:
        return None
    if (ip.version == 6) != bool(found[1]) or (ip.version == 6 and ip.ipv4_mapped):
        return None
    return ip, int(found[3])


def spell_address(ip, port):
    return f"[{ip}]:{port}" if ipaddress.ip_address(ip).version == 6 else f"{ip}:{port}"


def is_root(value):
    return value is None or (isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None)


def is_name(text):
    """Checks the lengths of a name; characters are checked in names.py."""
    parts = [part.encode("utf-8", "replace") for part in text.split("/")]
    fits = len(parts) <= 16 and sum(map(len, parts)) + len(parts) - 1 <= 1024
    return fits and all(0 < len(part) <= 255 for part in parts)


def check_file(entry):
    demand(isinstance(entry, dict), f"a file is not an object: {short(entry)}")
    name = entry.get("name")
    demand(isinstance(name, str) and is_name(name), f"bad name in {short(entry)}")
    demand(whole(entry.get("size")), f"bad size in {short(entry)}")
    demand("root" in entry and is_root(entry["root"]), f"bad root in {short(entry)}")
    demand(type(entry.get("partial")) is bool, f"no partial in {short(entry)}")


def check_cursor(answer):
    demand("cursor" in answer, f"no cursor in the answer: {short(answer)}")
    cursor = answer["cursor"]
    demand(cursor is None or (isinstance(cursor, str) and len(cursor.encode()) <= 64),
           f"a cursor is a string of at most 64 bytes or null, got {short(cursor)}")
    return cursor


def check_refusal(answer, *codes):
    """`answer` is a refusal with one of `codes`, with all fields as in section 6.1."""
    error = answer.get("error")
    demand(isinstance(error, dict), f"expected a refusal ({' or '.join(codes)}), got {short(answer)}")
    demand("status" not in answer, f"a refusal with a status: {short(answer)}")
    code = error.get("code")
    demand(code in codes, f"expected {' or '.join(codes)}, got {short(error)}")
    demand(error.get("retry") is RETRY[code], f"retry of {code} must be {RETRY[code]}: {short(error)}")
    demand(isinstance(error.get("text"), str) and error["text"], f"a refusal without text: {short(error)}")
    return code


def check_ok(answer, status):
    demand(answer.get("status") == status, f"expected {status}, got {short(answer)}")
    demand("error" not in answer, f"an answer with status and error: {short(answer)}")
    return answer
