"""The application of the tests: threads and sockets only, so that it starts in milliseconds.

/ says its release, and so does any other path; /slow?0.5&file answers after so many seconds, and makes file.begun and
file.done; /wait?file makes file.begun and answers once there is file.go; /echo sends the body back; /env?NAME says a
variable, /environ all of them; /status?404 has this status; /pid; /headers sends the request's head back; /exit ends
the process; /drop?file notes the request in the file, and drops the connection; /bye drops it under the next request;
/short, /stream and /until-close have bodies of their own kinds.
"""

import contextlib
import os
import socket
import sys
import threading
import time

TYPE_CHECKING = False  # typing takes milliseconds
if TYPE_CHECKING:
    from typing import BinaryIO

with open("release", encoding="ascii") as file:  # noqa: PTH123 (pathlib takes milliseconds)
    RELEASE = file.read()


def read_body(file: "BinaryIO", headers: dict[str, str]) -> bytes:
    if headers.get("transfer-encoding") == "chunked":
        body = b""
        while size := int(file.readline().split(b";")[0], 16):
            body += file.read(size)
            file.readline()
        file.readline()
        return body
    return file.read(int(headers.get("content-length", 0)))


def note(path: str) -> None:
    file = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    os.write(file, b"asked ")
    os.close(file)


def touch(path: str) -> None:
    with contextlib.suppress(OSError):
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY))


def answer(path: str, query: str, head: bytes, body: bytes) -> tuple[int, bytes]:
    if path == "/slow":
        seconds, _, file = query.partition("&")
        touch(f"{file}.begun")
        time.sleep(float(seconds))
        touch(f"{file}.done")
    if path == "/wait":
        touch(f"{query}.begun")
        while not os.path.exists(f"{query}.go"):  # noqa: PTH110 (pathlib takes milliseconds)
            time.sleep(0.01)
    if path == "/exit":
        os._exit(int(query or 3))
    if path == "/status":
        return int(query), b"as asked"
    environ = "\0".join(f"{name}={value}" for name, value in os.environ.items())
    said = {
        "/echo": body,
        "/env": os.environ.get(query, "").encode(),
        "/environ": environ.encode(),
        "/pid": str(os.getpid()).encode(),
        "/headers": head,
    }
    return 200, said.get(path, RELEASE.encode())


def serve(connection: socket.socket) -> None:
    with connection, connection.makefile("rb") as file:
        while line := file.readline():
            method, target, _ = line.decode("latin-1").split(" ")
            head = line
            headers: dict[str, str] = {}
            while (line := file.readline()) not in (b"\r\n", b""):
                head += line
                name, _, value = line.decode("latin-1").partition(":")
                headers[name.lower()] = value.strip()
            body = read_body(file, headers)
            path, _, query = target.partition("?")
            if path == "/drop":
                if query:
                    note(query)
                return
            if path == "/short":
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nnot a hundred")
                return
            if path == "/stream":
                connection.sendall(
                    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"
                )
                continue
            if path == "/until-close":
                connection.sendall(b"HTTP/1.0 200 OK\r\n\r\nuntil the end")
                return
            status, content = answer(path, query, head, body)
            lines = f"HTTP/1.1 {status} OK\r\nContent-Length: {len(content)}\r\nX-Release: {RELEASE}\r\n"
            lines += f"X-Server: {os.environ['EDGEGUARD_SERVER']}\r\nEdgeguard-Release: forged\r\n\r\n"
            connection.sendall(lines.encode() + (b"" if method == "HEAD" else content))
            if path == "/bye":
                file.readline()
                return


if "PORT" in os.environ:
    listener = socket.create_server(("127.0.0.1", int(os.environ["PORT"])), backlog=200)
else:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(os.environ["SOCKET"])
    listener.listen(200)
sys.stderr.write("listening\n")
while True:
    connection, _ = listener.accept()
    if connection.family == socket.AF_INET:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    threading.Thread(target=serve, args=(connection,), daemon=True).start()
