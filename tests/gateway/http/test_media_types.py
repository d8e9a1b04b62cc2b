"""The media types of requests and responses."""

from service.gateway.http.media_types import JSON, MULTIPART, OCTETS, accepted, media_type


def test_a_format_of_the_decoder_is_a_media_type_in_lower_case() -> None:
    assert media_type("JPEG") == "image/jpeg"


def test_a_body_may_be_an_image_bytes_a_form_or_json() -> None:
    assert {"image/jpeg", "image/png", OCTETS, MULTIPART, JSON} <= set(accepted())
