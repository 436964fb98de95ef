"""The daemon tells a service manager when it is ready, and when it stops."""

import os
import signal
import socket
import subprocess
import tempfile

DEADLINE = 20


def receive(manager):
    return manager.recv(4096).decode().split("\n")


def wait_for(manager, assignment):
    """Reads messages until one has the assignment. Returns those that came before."""
    before = []
    while True:
        message = receive(manager)
        if assignment in message:
            return before
        before += message


def main():
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "default.sock")
        manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        manager.settimeout(DEADLINE)
        manager.bind(os.path.join(directory, "notify"))

        environment = dict(os.environ, NOTIFY_SOCKET=manager.getsockname())
        daemon = subprocess.Popen([os.environ["FASTALLOCD"], "--socket", path], env=environment)
        try:
            assert "STOPPING=1" not in wait_for(manager, "READY=1")
            wait_for(manager, "STATUS=Serving instance default")
            # Ready means that a client is served now, not soon.
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
                client.connect(path)
            ctl = os.environ["FASTALLOCCTL"]
            subprocess.run([ctl, "--socket", path, "ping"], check=True, timeout=DEADLINE)

            daemon.send_signal(signal.SIGTERM)
            assert "READY=1" not in wait_for(manager, "STOPPING=1")
            assert daemon.wait(DEADLINE) == 0
        finally:
            if daemon.poll() is None:
                daemon.kill()
                daemon.wait()


main()
