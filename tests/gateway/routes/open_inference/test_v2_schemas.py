"""The request schema of the Open Inference Protocol."""

import pytest
from pydantic import ValidationError

from service.gateway.routes.open_inference.v2_schemas import TensorRequest

IMAGE = {"name": "image", "shape": [1], "datatype": "BYTES", "data": ["AAAA"]}


def test_members_of_other_servers_are_ignored() -> None:
    request = TensorRequest.model_validate(
        {
            "inputs": [{**IMAGE, "parameters": {"content_type": "base64"}}],
            "model_name": "m",
            "parameters": {"timeout": 5},
        }
    )

    assert request.inputs[0].data == ["AAAA"]
    assert request.outputs is None


@pytest.mark.parametrize(
    "changes",
    [{"shape": ["1"]}, {"shape": [1.5]}, {"shape": [1] * 9}, {"data": [1]}, {"data": "AAAA"}, {"name": None}],
)
def test_no_type_is_taken_for_another(changes: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        TensorRequest.model_validate({"inputs": [{**IMAGE, **changes}]})
