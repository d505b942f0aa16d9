"""Two networks joined by a long lossy link: namespaces, two TUN devices, examples/delay_line, nftables.

Needs root, /dev/net/tun, iproute2 and nftables. Nothing outside the two namespaces is changed; both are gone when it is closed.
"""

import fcntl
import os
import struct
import subprocess

from tools import Trouble

TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000


def run(*command, **options):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)
    if done.returncode:
        raise Trouble(f"{' '.join(command)}: {done.stdout.decode().strip()}")
    return done.stdout.decode()


def can_be_made():
    """The reason why not; None when possible."""
    if os.geteuid() != 0:
        return "not root"
    if not os.path.exists("/dev/net/tun"):
        return "no /dev/net/tun"
    try:
        name = f"cardume-try-{os.getpid()}"
        run("ip", "netns", "add", name)
        try:
            run("ip", "netns", "exec", name, "nft", "list", "ruleset")
        finally:
            run("ip", "netns", "del", name)
    except (Trouble, OSError) as trouble:
        return str(trouble)
    return ""


class Wire:
    """A link with `delay` milliseconds each way that drops `loss` of a thousand packets in each direction."""

    ADDRESSES = ("10.77.0.1", "10.77.0.2")

    def __init__(self, line, delay, loss):
        self.names = [f"cardume-{os.getpid()}-{side}" for side in "ab"]
        self.line, self.devices = None, []
        try:
            self.make(line, delay, loss)
        except BaseException:
            self.close()
            raise

    def make(self, line, delay, loss):
        ends = []
        for name, own, other in zip(self.names, self.ADDRESSES, reversed(self.ADDRESSES)):
            run("ip", "netns", "add", name)
            device = "cw" + name[-1] + str(os.getpid())
            end = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
            fcntl.ioctl(end, TUNSETIFF, struct.pack("16sH22x", device.encode(), IFF_TUN | IFF_NO_PI))
            ends.append(end)
            run("ip", "link", "set", device, "netns", name)
            inside = ("ip", "netns", "exec", name)
            run(*inside, "ip", "link", "set", "lo", "up")
            run(*inside, "ip", "address", "add", own, "peer", other, "dev", device)
            run(*inside, "ip", "link", "set", device, "up", "mtu", "1500", "txqueuelen", "10000")
            if loss:
                rules = f"""table inet wire {{
                    chain lossy {{
                        type filter hook input priority 0;
                        iifname "{device}" numgen random mod 1000 < {loss} counter drop;
                    }}
                }}"""
                self.rules(inside, rules)
            self.devices.append(device)
        self.line = subprocess.Popen([line, str(delay)], stdin=ends[0], stdout=ends[1])
        for end in ends:
            os.close(end)

    @staticmethod
    def rules(inside, text):
        done = subprocess.run([*inside, "nft", "-f", "-"], input=text.encode(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if done.returncode:
            raise Trouble(f"nft: {done.stdout.decode().strip()}")

    def inside(self, side):
        """The prefix of a command that runs on this side, 0 or 1."""
        return ["ip", "netns", "exec", self.names[side]]

    def control(self, kind):
        """Sets the TCP congestion control of the route to the other side."""
        for name, device, own, other in zip(self.names, self.devices, self.ADDRESSES, reversed(self.ADDRESSES)):
            run("ip", "netns", "exec", name, "ip", "route", "replace", other, "dev", device, "src", own, "congctl", kind)

    def close(self):
        if self.line:
            self.line.terminate()
            self.line.wait()
            self.line = None
        for name in self.names:
            subprocess.run(["ip", "netns", "del", name], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
