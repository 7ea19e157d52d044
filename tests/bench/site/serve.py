"""A site that starts fast and answers cheaply, so that a benchmark measures those who restart it."""

import os
import socket

ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n"
    b"Surrogate-Control: max-age=60\r\nSurrogate-Key: page\r\n\r\nok\n"
)


def main() -> None:
    """Answer one connection after the other."""
    with socket.create_server(("127.0.0.1", int(os.environ["PORT"])), backlog=1000) as listener:
        while True:
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(1)
                try:
                    if connection.recv(65536):
                        connection.sendall(ANSWER)
                except OSError:
                    pass


if __name__ == "__main__":
    main()
