"""Asks a server what trtgate asks it, and keeps request and answer byte by byte: record.py PORT FOLDER."""
import json
import pathlib
import socket
import struct
import sys

port, folder = int(sys.argv[1]), pathlib.Path(sys.argv[2])
folder.mkdir(parents=True, exist_ok=True)
# As long as any that a test sends: it stands in its place.
ID = "the-id-of-the-recording"


def ask(name, method, path, body=b"", json_length=None):
    kind = "application/json" if json_length is None else "application/octet-stream"
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUser-Agent: trtgate\r\nAccept: */*\r\n"
    if method == "POST":
        head += f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
    if json_length is not None:
        head += f"Inference-Header-Content-Length: {json_length}\r\n"
    request = head.encode() + b"\r\n" + body
    answer = b""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(request)
        connection.settimeout(1)
        try:
            while part := connection.recv(1 << 16):
                answer += part
        except TimeoutError:
            pass
    (folder / f"{name}.request").write_bytes(request.replace(str(port).encode(), b"PORT"))
    (folder / f"{name}.answer").write_bytes(answer)
    print(name, answer[:60])


def infer(name, values):
    data = struct.pack(f"<{len(values)}f", *values)
    shape = [len(values) // 4, 4]
    inputs = {"datatype": "FP32", "name": "x", "parameters": {"binary_data_size": len(data)}, "shape": shape}
    outputs = [{"name": "y", "parameters": {"binary_data": True}}]
    head = json.dumps({"id": ID, "inputs": [inputs], "outputs": outputs}, separators=(",", ":")).encode()
    ask(f"{name}-binary", "POST", "/v2/models/net/infer", head + data, len(head))
    inputs = {"name": "x", "datatype": "FP32", "shape": shape, "data": values}
    body = json.dumps({"id": ID, "inputs": [inputs], "outputs": [{"name": "y"}]}, separators=(",", ":")).encode()
    ask(f"{name}-json", "POST", "/v2/models/net/infer", body)


ask("server", "GET", "/v2")
ask("live", "GET", "/v2/health/live")
ask("ready", "GET", "/v2/health/ready")
ask("model-ready", "GET", "/v2/models/net/ready")
ask("metadata", "GET", "/v2/models/net")
ask("configuration", "GET", "/v2/models/net/config")
ask("statistics", "GET", "/v2/models/net/stats")
infer("infer", [0.1, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.5])
infer("nan", [1.0, 2.0, 3.0, 400.0])
