"""The generated messages are those of the description beside them."""

from pathlib import Path

import grpc_tools
from google.protobuf import descriptor_pb2
from grpc_tools import protoc

from service.gateway.server.grpc_server.generated import open_inference_pb2

FOLDER = Path(open_inference_pb2.__file__).parents[1]


def test_the_messages_are_those_of_the_description(tmp_path: Path) -> None:
    out = tmp_path / "described"
    arguments = ["protoc", f"-I{FOLDER}", f"--descriptor_set_out={out}", "open_inference.proto"]
    assert protoc.main([*arguments, f"-I{Path(grpc_tools.__file__).parent / '_proto'}"]) == 0
    (described,) = descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes()).file
    generated = descriptor_pb2.FileDescriptorProto()
    open_inference_pb2.DESCRIPTOR.CopyToProto(generated)
    described.ClearField("source_code_info")
    for message in (described, generated):  # names that protoc derives for JSON
        _without_json_names(message)
    assert generated == described


def _without_json_names(part: object) -> None:
    for field in getattr(part, "field", ()):
        field.ClearField("json_name")
    for name in ("message_type", "nested_type"):
        for each in getattr(part, name, ()):
            _without_json_names(each)
