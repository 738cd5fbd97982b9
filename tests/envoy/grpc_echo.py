"""The gRPC traffic of the test with a real Envoy: grpc_echo.py serve COUNT | call RUN ADDRESS...

serve listens on COUNT free ports of 127.0.0.1, prints them on one line, and ends when its standard input ends.
call makes calls to each address: small and large unary calls, a bidirectional stream, and a call that fails.

Messages are protobuf with one string, so no generated code is needed: field 1, a length, the text.
"""

import sys
from concurrent import futures

import grpc

SERVICE = "/echo.Echo/"


def message(text):
    length, varint = len(text), b""
    while length >= 0x80:
        varint += bytes([length & 0x7F | 0x80])
        length >>= 7
    return b"\x0a" + varint + bytes([length]) + text.encode()


class Echo(grpc.GenericRpcHandler):
    def service(self, details):
        if details.method == SERVICE + "Unary":
            return grpc.unary_unary_rpc_method_handler(self.unary)
        if details.method == SERVICE + "Both":
            return grpc.stream_stream_rpc_method_handler(self.both)
        return None  # UNIMPLEMENTED

    def unary(self, request, context):
        context.set_trailing_metadata([("x-trailer", "unary")])
        return request

    def both(self, requests, context):
        yield from requests
        context.set_trailing_metadata([("x-trailer", "both")])


def serve(count):
    server = grpc.server(futures.ThreadPoolExecutor(16))
    server.add_generic_rpc_handlers([Echo()])
    ports = [server.add_insecure_port("127.0.0.1:0") for _ in range(count)]
    server.start()
    print(*ports, flush=True)
    sys.stdin.read()
    server.stop(None).wait()


def call(run, addresses):
    for address in addresses:
        # A proxy of the environment is not used, because the tap has to record gRPC itself.
        with grpc.insecure_channel(address, [("grpc.enable_http_proxy", 0)]) as channel:
            def sent(what):
                return {"metadata": [("x-run", f"{run}-{what}")], "timeout": 60, "wait_for_ready": True}

            unary = channel.unary_unary(SERVICE + "Unary")
            asked = {size: message("u" * size) for size in [100, 40_000]}
            # All at once, so that the streams of a connection overlap.
            answers = {size: unary.future(text, **sent(size)) for size, text in asked.items()}
            assert {size: answer.result() for size, answer in answers.items()} == asked
            asked = [message(f"{n} of 5 " + "b" * 500 * n) for n in range(5)]
            assert list(channel.stream_stream(SERVICE + "Both")(iter(asked), **sent("both"))) == asked
            try:
                channel.unary_unary(SERVICE + "None")(message("none"), **sent("none"))
            except grpc.RpcError as error:
                assert error.code() == grpc.StatusCode.UNIMPLEMENTED, error
            else:
                raise AssertionError("an answer from a method that is not there")


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(int(sys.argv[2]))
    else:
        call(sys.argv[2], sys.argv[3:])
