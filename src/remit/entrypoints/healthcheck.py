"""A container's own health check: `python -m remit.entrypoints.healthcheck`, exit status 0 or 1.

Asks the process beside it at /live on $PORT. Runs every few seconds, and so starts quickly: nothing
but the standard library, and nothing of the service.
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
