"""`python -m tools.mock_ai [port]`: until it is interrupted."""

from __future__ import annotations

import sys
import threading

from tools.mock_ai import PORT
from tools.mock_ai.server import MockAi


def main() -> None:
    mock = MockAi(int(sys.argv[1]) if len(sys.argv) > 1 else PORT).start()
    print(f"Mock providers: {mock.urls().replace(',', '  ')}")
    print(
        f"""Let one fail:  curl 127.0.0.1:{mock.port}/_order -d '{{"provider": "claude", "does": "529"}}'"""
    )
    print(f"Make all well:  curl 127.0.0.1:{mock.port}/_order -d '{{}}'", flush=True)
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        mock.close()


main()
