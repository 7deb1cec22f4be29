"""A gRPC server that is named, and its client.

grpc_server.py serve NAME PORT HEALTH    its health is what HEALTH's files say
grpc_server.py ask ADDRESS TIMES         prints the name of who answers, each time

HEALTH has a file for each service, `health.SERVICE`, with the number of its status; where
HEALTH is not there, the server has no health service. The messages are as they are on the
wire, so that no code has to be generated for them.
"""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc


def serve(name, port, health):
    health = Path(health)

    def check(request, context):
        # HealthCheckRequest: field 1, a string of less than 128 bytes, or nothing.
        service = request[2:].decode()
        try:
            status = int((health / f"health.{service}").read_text())
        except FileNotFoundError:
            context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
        # HealthCheckResponse: field 1, a number; 0 is left out.
        return bytes([1 << 3, status]) if status else b""

    def method(service, method, function):
        handler = grpc.unary_unary_rpc_method_handler(function)
        return grpc.method_handlers_generic_handler(service, {method: handler})

    server = grpc.server(ThreadPoolExecutor(max_workers=4))
    services = [method("lbd.test.Who", "Ask", lambda request, context: name.encode())]
    if health.is_dir():
        services.append(method("grpc.health.v1.Health", "Check", check))
    server.add_generic_rpc_handlers(services)
    server.add_insecure_port(f"0.0.0.0:{port}")
    server.start()
    server.wait_for_termination()


def ask(address, times):
    # A connection for each, and none by a proxy of the user's.
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)]
    for _ in range(int(times)):
        with grpc.insecure_channel(address, options=options) as channel:
            call = channel.unary_unary("/lbd.test.Who/Ask")
            print(call(b"", timeout=5).decode())


{"serve": serve, "ask": ask}[sys.argv[1]](*sys.argv[2:])
