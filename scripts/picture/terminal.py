"""A terminal: runs programs on a pseudo-terminal and keeps the screen, with the few control sequences that cardume writes."""

import fcntl
import html
import os
import pty
import re
import shlex
import signal
import struct
import subprocess
import termios
import threading

COLUMNS, ROWS = 92, 40
SEQUENCE = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])")


class Screen:
    def __init__(self):
        self.lines, self.row, self.column, self.pending = [""], 0, 0, ""

    def write(self, text):
        text, self.pending = self.pending + text, ""
        at = 0
        while at < len(text):
            if text[at] == "\x1b":
                found = SEQUENCE.match(text, at)
                if not found:
                    if len(text) - at < 16:
                        self.pending = text[at:]  # incomplete sequence
                        return
                    at += 1
                    continue
                self.control(found[1], found[2])
                at = found.end()
                continue
            self.put(text[at])
            at += 1

    def put(self, sign):
        if sign == "\r":
            self.column = 0
        elif sign == "\n":
            self.row += 1
            if self.row == len(self.lines):
                self.lines.append("")
        elif sign == "\b":
            self.column = max(0, self.column - 1)
        elif sign == "\t":
            for _ in range(8 - self.column % 8):
                self.put(" ")
        elif sign >= " ":
            if self.column == COLUMNS:
                self.put("\r")
                self.put("\n")
            line = self.lines[self.row].ljust(self.column)
            self.lines[self.row] = line[:self.column] + sign + line[self.column + 1:]
            self.column += 1

    def control(self, numbers, letter):
        number = int(numbers) if numbers.isdigit() else None
        line = self.lines[self.row]
        if letter == "A":
            self.row = max(0, self.row - (number or 1))
        elif letter == "B":
            for _ in range(number or 1):
                self.put("\n")
        elif letter == "C":
            self.column = min(COLUMNS - 1, self.column + (number or 1))
        elif letter == "D":
            self.column = max(0, self.column - (number or 1))
        elif letter == "G":
            self.column = (number or 1) - 1
        elif letter == "K":
            self.lines[self.row] = "" if number == 2 else line[:self.column]
        elif letter == "J":
            self.lines[self.row] = line[:self.column]
            del self.lines[self.row + 1:]


class Terminal:
    def __init__(self, title, prompt, home, environment, inside=()):
        self.title, self.prompt, self.home, self.environment, self.inside = title, prompt, home, environment, inside
        self.screen, self.lock, self.process, self.reader = Screen(), threading.Lock(), None, None

    def export(self, name, value):
        """Sets a variable for the commands that follow, as a shell does."""
        self.screen.write(f"{self.prompt} export {name}={value}\r\n")
        self.environment[name] = value

    def start(self, command):
        """Types a command after the prompt, and runs it on a pseudo-terminal."""
        with self.lock:
            self.screen.write(f"{self.prompt} {command}\r\n")
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", ROWS, COLUMNS, 0, 0))
        self.process = subprocess.Popen([*self.inside, *shlex.split(command)], cwd=self.home, env=self.environment,
                                        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
        os.close(theirs)
        self.reader = threading.Thread(target=self.read, args=(ours,), daemon=True)
        self.reader.start()

    def read(self, ours):
        while True:
            try:
                got = os.read(ours, 65536)
            except OSError:  # EIO of Linux after the last program closed the other end
                got = b""
            if not got:
                os.close(ours)
                return
            with self.lock:
                self.screen.write(got.decode(errors="replace"))

    def run(self, command):
        """Runs a command to its end."""
        self.start(command)
        if self.process.wait(timeout=60):
            raise SystemExit(f"{command} ended with code {self.process.returncode}")
        self.reader.join()

    def shows(self, text):
        with self.lock:
            return text in "\n".join(self.screen.lines)

    def shows_like(self, pattern):
        with self.lock:
            return re.search(pattern, "\n".join(self.screen.lines))

    def as_html(self):
        with self.lock:
            lines = [line.rstrip() for line in self.screen.lines]
        while lines and not lines[-1]:
            lines.pop()
        told = []
        for line in lines:
            line = html.escape(line)
            if line.startswith(self.prompt):
                line = f"<b>{self.prompt}</b><i>{line[len(self.prompt):]}</i>"
            told.append(line)
        return "\n".join(told)

    def end(self):
        if self.process and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            self.process.wait()
