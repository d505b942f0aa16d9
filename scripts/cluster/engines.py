"""Engines on this machine, for checks."""

import os
import random
import subprocess
import time


class Node:
    def __init__(self, command, folder, port, more=()):
        self.command, self.folder, self.port = command, folder, port
        # Words of redis-cli that this node needs.
        self.more = more
        os.makedirs(folder, exist_ok=True)
        self.start()

    def start(self):
        log = open(os.path.join(self.folder, "log"), "ab")
        self.process = subprocess.Popen(self.command, cwd=self.folder, stdout=log, stderr=log)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def cli(self, *words):
        done = subprocess.run(
            ["redis-cli", "-p", str(self.port), *self.more, *words], capture_output=True, text=True, timeout=20)
        return done.stdout

    def wait(self):
        for _ in range(200):
            if "PONG" in self.cli("ping") or "NOAUTH" in self.cli("ping"):
                return
            time.sleep(0.05)
        raise AssertionError(f"the engine at port {self.port} does not start")

    def is_master(self):
        return "role:master" in self.cli("info", "replication")

    def own_id(self):
        return self.cli("cluster", "myid").strip()

    def master_port(self):
        """The port of the master that this replica follows."""
        lines = dict(line.partition(":")[::2] for line in self.cli("info", "replication").splitlines())
        return int(lines.get("master_port", 0))


class Engine:
    def __init__(self, nodes):
        self.nodes = nodes
        self.dead = []

    def url(self, password=None, scheme="redis"):
        login = f":{password}@" if password else ""
        return f"{scheme}://{login}" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes[:3])

    def stop(self):
        for node in self.nodes:
            if node.process.poll() is None:
                node.kill()

    def alive(self):
        return [node for node in self.nodes if node.process.poll() is None]

    def masters(self):
        return [node for node in self.alive() if node.is_master()]

    def replicas_up(self):
        return sum("master_link_status:up" in node.cli("info", "replication") for node in self.alive())

    def replica_of(self, master):
        return next(node for node in self.alive() if node.master_port() == master.port)

    def kill(self, node):
        node.kill()
        self.dead.append(node)

    def kill_master(self):
        self.kill(self.masters()[0])

    def wait_whole(self):
        """Wait until all slots are served and each master has its replica."""
        for _ in range(600):
            infos = [node.cli("cluster", "info") for node in self.nodes]
            linked = sum("master_link_status:up" in node.cli("info", "replication") for node in self.nodes)
            if linked == 3 and all("cluster_state:ok" in info and "cluster_slots_ok:16384" in info for info in infos):
                return
            time.sleep(0.1)
        raise AssertionError("the cluster does not become whole")

    def restart_dead(self):
        for node in self.dead:
            node.start()
            node.wait()
        self.dead = []
        time.sleep(1)

    def wipe_master(self):
        """Kill a master and start it again before its replica takes over: all its data is gone."""
        self.wipe(self.masters()[-1])

    def wipe(self, node):
        node.kill()
        node.start()
        node.wait()


class Engines:
    def __init__(self, program, place, number):
        self.program, self.place = program, place
        # Below the ports that the system gives away; the bus of a cluster is at the port plus 10,000.
        self.next_port = 11_000 + number * 900 + random.randrange(800)
        self.all = []

    def node(self, *more):
        self.next_port += 1
        port = self.next_port
        folder = os.path.join(self.place, f"engine-{port}")
        # The defaults of a container: no file at all.
        command = [self.program, "--port", str(port), "--bind", "127.0.0.1", "--save", "",
                   "--appendonly", "no", *more]
        return Node(command, folder, port)

    def has_tls(self):
        """False for a build of the engine without TLS."""
        done = subprocess.run([self.program, "--port", "0", "--tls-port", "1", "--tls-cert-file", "/nowhere"],
                              capture_output=True, text=True, timeout=10)
        return "Failed to configure TLS" in done.stdout + done.stderr

    def by_tls(self, certificate, key):
        """A single engine that takes TLS alone."""
        self.next_port += 1
        port = self.next_port
        command = [self.program, "--port", "0", "--tls-port", str(port), "--bind", "127.0.0.1", "--save", "",
                   "--appendonly", "no", "--tls-cert-file", certificate, "--tls-key-file", key,
                   "--tls-auth-clients", "no", "--tls-ca-cert-file", certificate]
        node = Node(command, os.path.join(self.place, f"engine-{port}"), port, ("--tls", "--insecure"))
        node.wait()
        self.all.append(Engine([node]))
        return self.all[-1]

    def single(self, *more):
        node = self.node(*more)
        node.wait()
        self.all.append(Engine([node]))
        return self.all[-1]

    def cluster(self):
        more = ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000",
                "--cluster-require-full-coverage", "no", "--repl-diskless-sync-delay", "0"]
        nodes = [self.node(*more) for _ in range(6)]
        self.all.append(Engine(nodes))
        for node in nodes:
            node.wait()
        done = subprocess.run(
            ["redis-cli", "--cluster", "create", *(f"127.0.0.1:{node.port}" for node in nodes),
             "--cluster-replicas", "1", "--cluster-yes"], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
        self.all[-1].wait_whole()
        return self.all[-1]

    def stop(self):
        for engine in self.all:
            engine.stop()
        self.all = []
