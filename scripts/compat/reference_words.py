"""Tiny index servers of music-udp and napster-ufabc, and a peer of music-udp, for the tests of the checkers, with faults to
switch on."""

import json
import socket
import threading
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


class MusicPeer:
    """A peer of one file, `m1`."""

    BUGS = ("loses-one", "long-datagrams", "no-error", "other-size", "unnumbered", "no-stop", "control-at-once", "answers-words")

    def __init__(self, content, bugs=()):
        self.content, self.bugs = content, set(bugs)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.waits, self.stopped = {}, set()
        threading.Thread(target=self.loop, daemon=True).start()

    def stop(self):
        self.socket.close()

    def loop(self):
        while True:
            try:
                said, asker = self.socket.recvfrom(4096)
            except OSError:
                return
            said = said.decode(errors="replace")
            if said in ("KILL", "S") and "no-stop" not in self.bugs:
                self.stopped.add(asker)
            if said in ("", "KILL", "CTRL", "S"):
                if asker in self.waits:
                    self.waits[asker].set()
                elif "answers-words" in self.bugs:
                    self.say(asker, "ERRO: pedido desconhecido.")
                continue
            if asker not in self.waits:
                self.waits[asker] = threading.Event()
                threading.Thread(target=self.answer, args=(said, asker), daemon=True).start()

    def say(self, asker, text):
        try:
            self.socket.sendto(text if isinstance(text, bytes) else text.encode(), asker)
        except OSError:
            pass

    def answer(self, said, asker):
        try:
            self.choose(said, asker)
        finally:
            self.stopped.discard(asker)
            del self.waits[asker]

    def choose(self, said, asker):
        word = next((word for word in ("GET FILE:", "GET ", "REQUISITAR|", "SLICE:") if said.startswith(word)), "")
        rest = said[len(word):]
        if said in ("PING", "POLICY"):
            self.say(asker, "PONG" if said == "PING" else "sequential")
        elif word == "SLICE:":
            first, last, name = rest.split(":") if rest.count(":") == 2 else (0, 0, "")
            self.slices(int(first), int(last), asker) if name == "m1" else self.say(asker, "FILE NOT FOUND")
        elif rest != "m1":
            missing = {"GET FILE:": "FILE NOT FOUND", "": "END_OF_FILE"}.get(word, "ERRO: Arquivo não encontrado.")
            self.say(asker, "END" if "no-error" in self.bugs else missing)
        elif word == "GET FILE:":
            self.say(asker, f"EXISTS:{len(self.content) + ('other-size' in self.bugs)}")
        else:
            self.file(asker, bool(word))

    def file(self, asker, is_paced):
        length = 1500 if "long-datagrams" in self.bugs else 1024
        parts = [self.content[at:at + length] for at in range(0, len(self.content), length)]
        if "loses-one" in self.bugs:
            del parts[2]
        for number, part in enumerate(parts):
            self.waits[asker].clear()
            self.say(asker, part)
            if is_paced and number % 32 == 31:
                time.sleep(0.004)
            elif not is_paced and "control-at-once" not in self.bugs and not self.waits[asker].wait(5):
                return
            if asker in self.stopped:
                return
        self.say(asker, "END" if is_paced else "END_OF_FILE")

    def slices(self, first, last, asker):
        for number in range(first, min(last, (len(self.content) - 1) // 320) + 1):
            head = f"{0 if 'unnumbered' in self.bugs else number:06}:{int(time.time() * 1000):013}"
            self.say(asker, head.encode() + self.content[number * 320:(number + 1) * 320])
            if number % 8 == 7:
                time.sleep(0.004)
            if asker in self.stopped:
                return


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
