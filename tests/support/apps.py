"""The smallest programs for gunicorn, uvicorn and the like: each answers with the number of its replica."""

WSGI = """
import os
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [os.environ["HASUP_REPLICA"].encode()]
"""
ASGI = """
import os
async def app(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": os.environ["HASUP_REPLICA"].encode()})
"""
