"""Settings of Kafka clients."""

from mesh.events.producer import client_settings


def test_further_options_are_taken_as_they_are_and_win() -> None:
    settings = client_settings("b:1", "security.protocol=SASL_SSL; sasl.password=a=b;;client.id=mine", "audit")
    assert settings["security.protocol"] == "SASL_SSL"
    assert settings["sasl.password"] == "a=b"
    assert (settings["bootstrap.servers"], settings["client.id"]) == ("b:1", "mine")


def test_no_options_are_no_options() -> None:
    assert client_settings("b:1", "", "audit").keys() == client_settings("b:1", " ; ", "audit").keys()
