"""A machine that lets anybody in by SSH and then does what an honest one never does.

python -m tests.unit.hostile_host MODE …      prints a port for each, and serves until it is ended
"""

import socket
import sys
import threading
import time

import paramiko

MIB = 2**20
ASKS_FOR_A_PASSWORD = b"sudo: a password is required\n"


class Door(paramiko.ServerInterface):
    """Everybody may come in; what is to be run is noted and not run."""

    def __init__(self, mode: str) -> None:
        self.mode = mode

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        return paramiko.AUTH_SUCCESSFUL  # type: ignore[attr-defined, no-any-return]

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_channel_request(self, kind: str, chanid: int) -> int:
        if self.mode == "no session":
            time.sleep(600)
        return paramiko.OPEN_SUCCEEDED  # type: ignore[attr-defined, no-any-return]

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        threading.Thread(target=self.run, args=(channel,), daemon=True).start()
        return True

    def run(self, channel: paramiko.Channel) -> None:
        try:
            self.say(channel)
        except OSError:  # who asked is gone
            return

    def say(self, channel: paramiko.Channel) -> None:
        time.sleep(0.1)
        if self.mode == "endless":
            while True:
                channel.sendall(b"x" * 32768)
        elif self.mode == "endless stderr":
            while True:
                channel.sendall_stderr(b"x" * 32768)
        elif self.mode == "large":
            for _ in range(40):
                channel.sendall(b"y" * MIB)
        elif self.mode == "bytes":
            channel.sendall(b"\001a\n\xff\xfe\x00 here\n\n\0010\n\001end of answers\n")
        elif self.mode == "forged":
            channel.sendall(b"\001a\nhere\n\001no number\n\001end of answers\n")
        elif self.mode == "password":
            channel.sendall_stderr(ASKS_FOR_A_PASSWORD)
        elif self.mode == "silent":
            time.sleep(600)
        channel.send_exit_status(1)
        channel.close()


def _serve(client: socket.socket, key: paramiko.PKey, mode: str) -> None:
    if mode == "no banner":
        time.sleep(600)
    transport = paramiko.Transport(client)
    transport.add_server_key(key)
    transport.start_server(server=Door(mode))
    kept = []  # one that nobody holds is closed
    while transport.is_active():
        kept.append(transport.accept(1))


def _open(door: socket.socket, key: paramiko.PKey, mode: str) -> None:
    while True:
        args = (door.accept()[0], key, mode)
        threading.Thread(target=_serve, args=args, daemon=True).start()


def main() -> None:
    key = paramiko.ECDSAKey.generate()
    doors = [(socket.create_server(("127.0.0.1", 0)), mode) for mode in sys.argv[1:]]
    for door, mode in doors:
        threading.Thread(target=_open, args=(door, key, mode)).start()
    print(*(door.getsockname()[1] for door, _ in doors), flush=True)


if __name__ == "__main__":
    main()
