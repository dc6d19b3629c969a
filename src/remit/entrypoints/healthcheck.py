"""A container's health check: `python -m remit.entrypoints.healthcheck`, with exit status 0 or 1.

It calls `GET /live` of the process in its container, on $PORT. It runs every few seconds, so it
imports only the standard library and starts quickly.
"""

import http.client
import os
import sys

TIMEOUT_SECONDS = 3.0
PORT = 8000


def is_live(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", "/live")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(0 if is_live(int(os.environ.get("PORT") or PORT)) else 1)
