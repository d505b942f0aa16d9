"""Tiny index servers of music-udp and napster-ufabc for the tests of the checkers, with faults to switch on."""

import json
import time

from checks import Listener, until_quiet


def told(connection):
    """What came until a pause or the end."""
    return until_quiet(connection, 0.05, 5.0).decode(errors="replace").strip()


def inside(names):
    return [name for name in names if name and not name.startswith(("/", ".."))]


def is_own(place):
    ip, _, port = place.partition(":")
    return ip == "127.0.0.1" and port.isdigit() and int(port) < 65536


class MusicIndex:
    BUGS = ("registers-twice", "keeps-the-gone", "takes-others", "keeps-names-outside", "first-segment-only")

    def __init__(self, bugs=()):
        self.bugs, self.nodes = set(bugs), {}
        self.listener = Listener(self.handle)
        self.port = self.listener.port

    def stop(self):
        self.listener.stop()

    def handle(self, connection, _):
        if "first-segment-only" in self.bugs:
            connection.settimeout(5.0)
            said = connection.recv(1024).decode(errors="replace")
        else:
            said = told(connection)
        connection.sendall(self.answer(said).encode())

    def answer(self, said):
        if said in ("CONSULTAR", "LIST"):
            return "|".join(f"{place}:{','.join(files)}" for place, files in self.nodes.items())
        if said.startswith("ENCERRAR|"):
            place = said[9:]
            known = place in self.nodes if "keeps-the-gone" in self.bugs else self.nodes.pop(place, None) is not None
            return "CLIENTE_REMOVIDO" if known else ""
        if said.startswith("REGISTRAR|"):
            _, place, files = said.split("|")
        elif said.startswith("REGISTER "):
            _, place, files = said.split(" ", 2)
        else:
            return "ERRO: pedido desconhecido."
        if not is_own(place) and "takes-others" not in self.bugs:
            return "ERRO: o endereço é de outra máquina."
        files = files.split(",")
        new = place not in self.nodes or "registers-twice" in self.bugs
        self.nodes[place] = files if "keeps-names-outside" in self.bugs else inside(files)
        return "REGISTRO_SUCESSO" if new else "CLIENTE_JA_REGISTRADO"


class NapsterIndex:
    BUGS = ("update-replaces", "substring", "takes-others", "no-results", "forgets-closed")

    def __init__(self, bugs=()):
        self.bugs, self.peers = set(bugs), {}
        self.listener = Listener(self.handle)
        self.port = self.listener.port

    def stop(self):
        self.listener.stop()

    def handle(self, connection, _):
        own = None
        try:
            while said := told(connection):
                answer, own = self.answer(said, own)
                if not answer:
                    return
                connection.sendall(answer.encode())
        finally:
            if "forgets-closed" in self.bugs:
                time.sleep(0.01)
                self.peers.pop(own, None)

    def holders(self, name):
        has = (lambda files: any(name in file for file in files)) if "substring" in self.bugs else (lambda files: name in files)
        return [place for place, files in self.peers.items() if has(files)]

    def change(self, verb, place, files):
        if verb == "JOIN" and (is_own(place) or "takes-others" in self.bugs):
            self.peers[place] = files
        elif verb == "UPDATE" and place in self.peers:
            self.peers[place] = files if "update-replaces" in self.bugs else self.peers[place] + files
        else:
            return f"{verb}_FAIL"
        return f"{verb}_OK"

    def answer(self, said, own):
        verb = next((verb for verb in ("JOIN", "SEARCH", "UPDATE") if said.startswith(verb)), None)
        if said.startswith("{"):
            asked = json.loads(said)
            verb, data = asked.get("name") or asked["action"], asked.get("data", asked)
            place = f"{data.get('host', '127.0.0.1')}:{data.get('port') or data.get('client_port')}"
            files = data.get("files") or [data.get("file")]
            found = self.holders(files[0]) if verb == "SEARCH" and "no-results" not in self.bugs else []
            word = "SEARCH_OK" if verb == "SEARCH" else self.change(verb, place, files)
            pairs = [[at.split(":")[0], int(at.split(":")[1])] for at in found]
            return json.dumps({"name": word, "message": word, "files": files, "results": found, "data": {"peers": pairs}}), place
        if not verb:
            return "", own
        rest = said[len(verb):]
        if not rest.startswith(" "):
            if verb == "JOIN":
                object = json.loads(rest)
                own = "%s:%s" % tuple(object["addrs_peer"])
                return self.change(verb, own, object["files"]), own
            return (json.dumps(self.holders(rest)), own) if verb == "SEARCH" else (self.change(verb, own, [rest]), own)
        words = rest.split()
        if verb == "SEARCH":
            if len(words) == 1:
                return str({"matching_peers": self.holders(words[0]), "response": "SEARCH_OK"}), own
            return " ".join(self.holders(words[1])) or " ", own
        place, files = (words[0], words[1:]) if ":" in words[0] else (":".join(words[:2]), words[2:])
        return self.change(verb, place, files), place
