"""Engines on this machine, for checks."""

import os
import random
import subprocess
import time


class Node:
    def __init__(self, command, folder, port):
        self.command, self.folder, self.port = command, folder, port
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
            ["redis-cli", "-p", str(self.port), *words], capture_output=True, text=True, timeout=20)
        return done.stdout

    def wait(self):
        for _ in range(200):
            if "PONG" in self.cli("ping") or "NOAUTH" in self.cli("ping"):
                return
            time.sleep(0.05)
        raise AssertionError(f"the engine at port {self.port} does not start")

    def is_master(self):
        return "role:master" in self.cli("info", "replication")


class Engine:
    def __init__(self, nodes):
        self.nodes = nodes
        self.dead = []

    def url(self, password=None):
        login = f":{password}@" if password else ""
        return f"redis://{login}" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes[:3])

    def stop(self):
        for node in self.nodes:
            if node.process.poll() is None:
                node.kill()

    def masters(self):
        return [node for node in self.nodes if node.process.poll() is None and node.is_master()]

    def kill_master(self):
        node = self.masters()[0]
        node.kill()
        self.dead.append(node)

    def restart_dead(self):
        for node in self.dead:
            node.start()
            node.wait()
        self.dead = []
        time.sleep(1)

    def wipe_master(self):
        """Kill a master and start it again before its replica takes over: all its data is gone."""
        node = self.masters()[-1]
        node.kill()
        node.start()
        node.wait()


class Engines:
    def __init__(self, program, place, number):
        self.program, self.place = program, place
        # Below the ports that the system gives away; the bus of a cluster is at the port plus 10,000.
        self.next_port = 11_000 + number * 2_000 + random.randrange(1_900)
        self.all = []

    def node(self, *more):
        self.next_port += 1
        port = self.next_port
        folder = os.path.join(self.place, f"engine-{port}")
        # The defaults of a container: no file at all.
        command = [self.program, "--port", str(port), "--bind", "127.0.0.1", "--save", "",
                   "--appendonly", "no", *more]
        return Node(command, folder, port)

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
        for node in nodes:
            for _ in range(200):
                info = node.cli("cluster", "info")
                if "cluster_state:ok" in info and "cluster_slots_ok:16384" in info:
                    break
                time.sleep(0.05)
        for _ in range(200):
            if sum("master_link_status:up" in node.cli("info", "replication") for node in nodes) == 3:
                break
            time.sleep(0.05)
        return self.all[-1]

    def stop(self):
        for engine in self.all:
            engine.stop()
        self.all = []
