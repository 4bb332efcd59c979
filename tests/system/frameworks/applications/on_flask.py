"""Flask."""

from flask import Flask, Response, request

app = Flask(__name__)


@app.get("/hello")
def hello():
    return "started"


@app.get("/stream")
def stream():
    return Response(f"piece {number}\n" for number in range(3))


@app.post("/upload")
def upload():
    return str(len(request.files["file"].read()))
