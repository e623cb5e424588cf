"""A Redis server of the test's own, to kill and to start again: what it said it has, it has."""

import shutil
import socket
import subprocess
import time

import redis


class Server:
    """One server on a free port, its data in a folder, each write on the disk before the answer."""

    def __init__(self, folder):
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.start()

    def start(self):
        program = shutil.which("redis-server") or shutil.which("valkey-server")
        assert program, "no redis-server: make services installs it"
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        options += ["--appendonly", "yes", "--appendfsync", "always", "--dir", str(self.folder)]
        self.process = subprocess.Popen([program, *options], stdout=subprocess.DEVNULL)
        with redis.Redis(port=self.port) as client:
            for _ in range(600):
                try:
                    client.ping()
                except redis.ConnectionError:
                    time.sleep(0.05)
                else:
                    return
        self.kill()
        raise AssertionError("no answer within 30 s")

    def kill(self):
        self.process.kill()
        self.process.wait(10)
